mod export;
mod filter;
mod line;
mod list;
mod maintain;
mod prune;
mod show;
mod tail;
mod verify;

use std::path::Path;

use super::{Failure, load};
use crate::audit::Reader;
use crate::config;

/// Look at the audit trail, and look after it
#[derive(clap::Subcommand)]
pub(super) enum Audit {
    /// Show the newest records, one a line
    List(list::List),
    /// Print records, oldest first, as JSON Lines
    Export(export::Export),
    /// Show all records of a reset or a call, whole
    Show(show::Show),
    /// Show records as they are written, until stopped
    Tail(tail::Tail),
    /// Check every hash, link, signature and row; 1 if anything was changed, moved or is missing
    Verify(verify::Verify),
    /// Print the public half of the key that signs checkpoints
    PublicKey,
    /// Take old records out, with the gateway stopped, so that what stays can still be verified
    Prune(prune::Prune),
    /// Put on record, with the gateway stopped, that the trail was put back from a backup
    Restored(maintain::Restored),
    /// Write the table of resets anew from the records, with the gateway stopped
    Rebuild,
}

pub(super) fn run(arguments: &Audit, file: &Path) -> Result<(), Failure> {
    let settings = load(file)?.audit;
    match arguments {
        Audit::List(arguments) => list::run(arguments, &open(&settings)?),
        Audit::Export(arguments) => export::run(arguments, &open(&settings)?),
        Audit::Show(arguments) => show::run(arguments, &open(&settings)?),
        Audit::Tail(arguments) => tail::run(arguments, open(&settings)?),
        Audit::Prune(arguments) => prune::run(arguments, &settings),
        Audit::Restored(arguments) => maintain::restored(arguments, &settings),
        Audit::Rebuild => maintain::rebuild(&settings),
        Audit::Verify(arguments) => verify::run(arguments, file),
        Audit::PublicKey => verify::public_key(file),
    }
}

/// The trail, to be read.
pub(super) fn open(settings: &config::Audit) -> Result<Reader, Failure> {
    Reader::open(settings).map_err(Failure::finding)
}
