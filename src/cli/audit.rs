mod export;
mod filter;
mod line;
mod list;
mod show;
mod tail;

use std::path::Path;

use super::{Failure, load, say};
use crate::audit::Reader;
use crate::config;

/// Look at the audit trail
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
    /// Recompute every hash and walk every chain; 1 if a record was changed, moved or is missing
    Verify,
}

pub(super) fn run(arguments: &Audit, file: &Path) -> Result<(), Failure> {
    let reader = open(&load(file)?.audit)?;
    match arguments {
        Audit::List(arguments) => list::run(arguments, &reader),
        Audit::Export(arguments) => export::run(arguments, &reader),
        Audit::Show(arguments) => show::run(arguments, &reader),
        Audit::Tail(arguments) => tail::run(arguments, reader),
        Audit::Verify => {
            let verified = reader.verify().map_err(Failure::finding)?;
            verified.findings.iter().try_for_each(say)?;
            let counts = format!("{} records in {} chains", verified.records, verified.chains);
            match verified.findings.len() {
                0 => say(format!("{counts}: good")),
                found => Err(Failure::Finding(format!("{counts}: {found} findings"))),
            }
        }
    }
}

/// The trail, to be read.
pub(super) fn open(settings: &config::Audit) -> Result<Reader, Failure> {
    Reader::open(settings).map_err(Failure::finding)
}
