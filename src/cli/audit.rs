use std::path::Path;

use super::{Failure, load, say};
use crate::audit::Reader;

/// Look at the audit trail
#[derive(clap::Subcommand)]
pub(super) enum Audit {
    /// Print every record, oldest first, as JSON Lines
    List,
    /// Recompute every hash and walk every chain; 1 if a record was changed, moved or is missing
    Verify,
}

pub(super) fn run(arguments: &Audit, file: &Path) -> Result<(), Failure> {
    let reader = open(&load(file)?.audit.path)?;
    match arguments {
        Audit::List => {
            let mut told = Ok(());
            let read = reader.records(|record| {
                told = say(record);
                told.is_ok()
            });
            read.map_err(Failure::finding).and(told)
        }
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

/// The trail of this path, to be read.
pub(super) fn open(path: &Path) -> Result<Reader, Failure> {
    Reader::open(path)
        .map_err(|e| Failure::Finding(format!("the trail {} cannot be read: {e}", path.display())))
}
