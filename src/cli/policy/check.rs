use std::path::Path;

use super::sources::Sources;
use crate::authz::PolicyRevision;
use crate::cli::{Failure, say};

/// Check the policies folder
#[derive(clap::Args)]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(arguments: &Check, config: Option<&Path>) -> Result<(), Failure> {
    let opened = arguments.sources.open(config)?;
    let revision = PolicyRevision::load(opened.folder()).map_err(Failure::finding)?;
    let teams = revision.team_count();
    say(format!("policies: good; {teams} teams, revision {}", revision.id()))
}
