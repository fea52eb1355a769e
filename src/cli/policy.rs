use std::path::Path;

use super::Failure;

mod check;
mod sources;

/// Look at the policies before they are rolled out
#[derive(clap::Subcommand)]
pub(super) enum Policy {
    /// Check the policies folder and show every fault where it stands
    Check(check::Check),
}

/// `config` is what `--config` says, if it was given.
pub(super) fn run(arguments: &Policy, config: Option<&Path>) -> Result<(), Failure> {
    match arguments {
        Policy::Check(arguments) => check::run(arguments, config),
    }
}
