use std::path::Path;

use super::counted;
use super::sources::Sources;
use crate::authz::{PolicyFault, PolicyFaults, PolicyRevision};
use crate::cli::{Failure, progress, say, tell};
use crate::inventory::Attributes;

/// Check the policies folder
#[derive(clap::Args)]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    sources: Sources,
    /// Exit with 1 for a warning too
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(arguments: &Check, config: Option<&Path>) -> Result<(), Failure> {
    let opened = arguments.sources.open(config)?;
    let folder = opened.folder().display();
    let revision = load(opened.folder())?;
    let (tried, warnings) = match opened.instances()? {
        None => ("not tried on instances (see --inventory)".to_owned(), Vec::new()),
        Some(instances) => {
            let tried = format!("tried on {}", counted(instances.len(), "instance"));
            (tried, warnings(&revision, &instances))
        }
    };
    warnings.iter().for_each(|warning| tell(format!("warning: {warning}")));
    let warned = counted(warnings.len(), "warning");
    if arguments.strict && !warnings.is_empty() {
        return Err(Failure::Finding(format!("{folder}: {warned}")));
    }
    let verdict = if warnings.is_empty() { "good".to_owned() } else { format!("good, with {warned}") };
    let teams = counted(revision.team_count(), "team");
    let policies = counted(revision.policy_count(), "policy");
    say(format!("{folder}: {verdict}; {teams}, {policies}, revision {}; {tried}", revision.id()))
}

fn warnings(revision: &PolicyRevision, instances: &[Attributes]) -> Vec<String> {
    if instances.is_empty() {
        return vec!["the inventory has no instance, so no permit can be tried".to_owned()];
    }
    let idle = progress::shown("trying the permits", |progress| revision.idle(instances, progress));
    idle.iter().map(PolicyFault::pictured).collect()
}

/// The folder, or every fault of it on stderr.
pub(super) fn load(folder: &Path) -> Result<PolicyRevision, Failure> {
    PolicyRevision::load(folder).map_err(|faults| faulty(folder, &faults))
}

/// Tells every fault of a folder on stderr.
pub(super) fn faulty(folder: &Path, faults: &PolicyFaults) -> Failure {
    tell(faults.pictured());
    Failure::Finding(format!("{}: {}", folder.display(), counted(faults.0.len(), "fault")))
}
