use jiff::Timestamp;

use super::filter::moment;
use super::maintain::{failed, finish};
use super::open;
use crate::audit::{Held, Maintenance, Pruning};
use crate::cli::{Failure, progress, say};
use crate::config;
use crate::domain::rfc3339;

/// Take old records out
#[derive(clap::Args)]
pub(in crate::cli) struct Prune {
    /// Take out what is older: RFC 3339, or a date for its beginning in UTC
    #[arg(long, value_name = "TIME", value_parser = moment)]
    before: Timestamp,
    /// Do it; without this it is only told what would go
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Prune, settings: &config::Audit) -> Result<(), Failure> {
    let Prune { before, yes } = *arguments;
    if before > Timestamp::now() {
        return Err(Failure::Usage(format!("--before {} is in the future", rfc3339(before))));
    }
    let reader = open(settings)?;
    let prunable = progress::one_by_one("reading", None, |done| reader.prunable(settings, before, done));
    let prunable = prunable.map_err(Failure::finding)?;
    if prunable.iter().all(|pruning| pruning.removed() == 0) {
        return told(&prunable, "may go");
    }
    if !yes {
        told(&prunable, "may go")?;
        return say("nothing was changed: --yes takes them out");
    }
    let mut maintenance = Maintenance::open(settings).map_err(failed)?;
    let pruned = progress::one_by_one("reading", None, |done| maintenance.prune(before, done));
    let pruned = pruned.map_err(failed)?;
    told(&pruned, "are gone")?;
    finish(maintenance)
}

fn told(prunings: &[Pruning], how: &str) -> Result<(), Failure> {
    let removed: u64 = prunings.iter().map(Pruning::removed).sum();
    let all: u64 = prunings.iter().map(|pruning| (pruning.last + 1).saturating_sub(pruning.first)).sum();
    say(format!("{removed} of {all} records {how}"))?;
    prunings.iter().try_for_each(told_of)
}

/// A chain that goes in part or whole, or would if a record that is old enough did not stay.
fn told_of(pruning: &Pruning) -> Result<(), Failure> {
    let Pruning { first, last, times, held, .. } = pruning;
    let stays = first + pruning.removed();
    let why = match held {
        Some(Held::Recent) if times.is_none() => return Ok(()),
        None | Some(Held::Recent) => String::new(),
        Some(Held::Open) => format!("; {stays} stays, its reset has no outcome yet or a more recent one"),
        Some(Held::Timeless) => format!("; {stays} stays, it does not say when it was made"),
        Some(Held::Live) => format!("; {stays} stays, its writer may go on"),
        Some(Held::Restore) => format!("; {stays} stays, it declares what a backup lacked"),
        Some(Held::Outcome) => format!("; {stays} stays, what began its reset does"),
        Some(Held::Unsunk) => format!("; {stays} stays, the audit sink does not have it yet"),
    };
    let what = match times {
        Some((earliest, latest)) => {
            let times = format!("from {} to {}", rfc3339(*earliest), rfc3339(*latest));
            format!("{first} to {} of {last}, {times}", stays - 1)
        }
        None => format!("none of {last}"),
    };
    say(format!("  writer {}: {what}{why}", pruning.writer()))
}
