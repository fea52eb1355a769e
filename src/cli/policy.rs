use std::path::Path;

use super::{Failure, counted};

mod check;
mod diff;
mod explain;
mod inventory;
mod junit;
mod sources;
mod test;

/// Look at the policies before they are rolled out
#[derive(clap::Subcommand)]
pub(super) enum Policy {
    /// Check the policies folder and show every fault where it stands
    Check(check::Check),
    /// Decide the cases of the folder's tests/*.toml and show those that come out otherwise
    Test(test::Test),
    /// Show which team gains or loses what by a change of the policies; 1 if there is a difference, 78 if that cannot
    /// be told
    Diff(diff::Diff),
    /// Show everything about one decision: each policy, each condition; 0 if it is allowed, 1 if not
    Explain(Box<explain::Explain>),
    /// Print all instances that Zenlayer tells of, as --inventory of the other commands reads them
    Inventory,
}

/// `config` is what `--config` says, if it was given.
pub(super) fn run(arguments: &Policy, config: Option<&Path>) -> Result<(), Failure> {
    match arguments {
        Policy::Check(arguments) => check::run(arguments, config),
        Policy::Test(arguments) => test::run(arguments, config),
        Policy::Diff(arguments) => diff::run(arguments, config),
        Policy::Explain(arguments) => explain::run(arguments, config),
        Policy::Inventory => inventory::run(config),
    }
}
