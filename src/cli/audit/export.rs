use std::io::{IsTerminal, stdout};

use super::filter::Filters;
use crate::audit::{Order, ReadError, Reader};
use crate::cli::lines::Lines;
use crate::cli::{Failure, progress};

/// Print records as JSON Lines
#[derive(clap::Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    filters: Filters,
}

/// A line is a record's canonical bytes.
pub(super) fn run(arguments: &Export, reader: &Reader) -> Result<(), Failure> {
    // A bar among the records on one terminal would spoil both.
    if stdout().is_terminal() {
        return export(arguments, reader, &|| {});
    }
    let of =
        if arguments.filters.is_empty() { Some(records(reader).map_err(Failure::finding)?) } else { None };
    progress::one_by_one("exporting", of, |done| export(arguments, reader, done))
}

fn export(arguments: &Export, reader: &Reader, done: &dyn Fn()) -> Result<(), Failure> {
    let mut lines = Lines::new();
    let read = reader.each(&arguments.filters.filter(), Order::OldestFirst, |stored| {
        done();
        lines.put(stored.record)
    });
    // What was read before a failure is told all the same.
    lines.end().and(read.map_err(Failure::finding))
}

/// How many there are, as far as sequences tell.
fn records(reader: &Reader) -> Result<u64, ReadError> {
    let chains = reader.chains()?;
    Ok(chains.iter().map(|chain| (chain.last.sequence + 1).saturating_sub(chain.first)).sum())
}
