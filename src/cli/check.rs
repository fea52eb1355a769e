use std::path::Path;

use super::{Failure, load, say};
use crate::app;

/// Check the configuration and everything that it names
#[derive(clap::Args)]
pub(super) struct Check {
    /// Print the settings in force as TOML; secrets are named by file, so none is in it
    #[arg(long)]
    show: bool,
}

/// Goes the way of a start, and ends before it binds or writes anything.
pub(super) fn run(arguments: &Check, file: &Path) -> Result<(), Failure> {
    let config = load(file)?;
    let loaded = app::load(&config).map_err(Failure::unusable)?;
    if arguments.show {
        return say(config.show().trim_end());
    }
    let (issuers, teams) = (config.issuers.len(), loaded.revision.team_count());
    say(format!(
        "{}: good; issuers: {issuers}, teams with policies: {teams}, policy revision {}",
        file.display(),
        loaded.revision.id()
    ))
}
