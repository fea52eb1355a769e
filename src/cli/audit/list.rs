use super::filter::Filters;
use super::line::{Line, Widths};
use crate::audit::{Order, Reader};
use crate::cli::lines::Lines;
use crate::cli::{Failure, tell};

/// Show the newest records
#[derive(clap::Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Show so many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
}

pub(super) fn run(arguments: &List, reader: &Reader) -> Result<(), Failure> {
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let mut table = vec![Line::head()];
    let read = reader.each(&arguments.filters.filter(), Order::NewestFirst, |stored| {
        table.push(Line::of(&stored));
        table.len() <= limit
    });
    read.map_err(Failure::finding)?;
    if table.len() == 1 {
        tell("no record fits");
        return Ok(());
    }
    let widths = Widths::of(&table);
    let mut lines = Lines::new();
    let _all_told = table.iter().all(|line| lines.put(line.padded(&widths)));
    lines.end()
}
