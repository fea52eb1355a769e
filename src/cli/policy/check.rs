use std::path::Path;

use super::counted;
use super::sources::Sources;
use crate::authz::{PolicyFaults, PolicyRevision};
use crate::cli::{Failure, say, tell};

/// Check the policies folder
#[derive(clap::Args)]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(arguments: &Check, config: Option<&Path>) -> Result<(), Failure> {
    let opened = arguments.sources.open(config)?;
    let revision = load(opened.folder())?;
    let teams = revision.team_count();
    say(format!("policies: good; {teams} teams, revision {}", revision.id()))
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
