use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::audit::projection;
use crate::audit::read::{each, each_since};
use crate::audit::store::{ChainEnds, Filter, Order, Source, StoreError, Stored};
use crate::audit::{Kind, Position, ReadError, Reader};
use crate::config;
use crate::domain::ResetId;

/// What goes of one chain: its longest beginning of which every record may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruning {
    /// The last record that goes; of the sequence before the chain's first if none does.
    pub(super) up_to: Position,
    /// The sequence of its first record.
    pub first: u64,
    /// The sequence of its last record.
    pub last: u64,
    /// The earliest and the latest time of what goes.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Why no more of it goes; None where all of it does.
    pub held: Option<Held>,
}

/// Why a record stays, and with it all that follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is not old enough.
    Recent,
    /// Its reset has no outcome yet, or has one that is not old enough.
    Open,
    /// It does not say when it was made.
    Timeless,
    /// It is the last one of a writer that may still go on.
    Live,
    /// It declares what a backup lacked: without it, that would be taken for cut off.
    Restore,
    /// It is an outcome, and what began its reset stays: without it, that would not be closed.
    Outcome,
    /// The second sink does not have it yet, as far as the store knows.
    Unsunk,
}

impl Pruning {
    pub fn writer(&self) -> &str {
        &self.up_to.writer
    }

    /// The last record that goes, if one does.
    pub fn removed_up_to(&self) -> Option<&Position> {
        (self.removed() > 0).then_some(&self.up_to)
    }

    /// How many records go.
    pub fn removed(&self) -> u64 {
        (self.up_to.sequence + 1).saturating_sub(self.first)
    }
}

impl Reader {
    /// What [`super::Maintenance::prune`] would take out of a trail with these settings; `done` is told of each record
    /// that is looked at. Blocks.
    pub fn prunable(
        &self,
        settings: &config::Audit,
        before: Timestamp,
        done: &dyn Fn(),
    ) -> Result<Vec<Pruning>, ReadError> {
        Ok(planned(self.source(), settings.sink.is_some(), before, done)?)
    }
}

/// An outcome, and what began its reset in another chain.
struct Away {
    outcome: u64,
    beginning: Position,
}

/// The first records of a chain that stay whatever they say.
struct Bounds {
    /// Behind what the sink has.
    sunk: u64,
    /// An outcome of a reset whose beginning stays.
    outcome: u64,
}

/// What goes of every chain; of those that are `sunk`, no more than the sink has.
pub(super) fn planned(
    source: &dyn Source,
    sunk: bool,
    before: Timestamp,
    done: &dyn Fn(),
) -> Result<Vec<Pruning>, StoreError> {
    // In the precision that records have.
    let before = Timestamp::from_millisecond(before.as_millisecond()).unwrap_or(before);
    let exported = if sunk { Some(source.exported()?) } else { None };
    let plan = |chain: &ChainEnds, outcome: u64| {
        let sunk = exported.as_ref().map(|exported| exported.get(&chain.last.writer).copied().unwrap_or(0));
        let bounds = Bounds { sunk: sunk.map_or(u64::MAX, |sunk| sunk + 1), outcome };
        planned_of(source, chain, &bounds, before, done)
    };
    let chains = source.chains()?;
    let mut plans = chains.iter().map(|chain| plan(chain, u64::MAX)).collect::<Result<Vec<_>, _>>()?;
    // What stays for a beginning may be the beginning of outcomes elsewhere.
    loop {
        let goes: BTreeMap<_, _> =
            plans.iter().map(|(pruning, _)| (pruning.up_to.writer.clone(), pruning.up_to.sequence)).collect();
        let goes = |at: &Position| goes.get(&at.writer).is_some_and(|up_to| at.sequence <= *up_to);
        let mut settled = true;
        for (chain, (pruning, away)) in chains.iter().zip(&mut plans) {
            let left = away.iter().find(|away| !goes(&away.beginning));
            if let Some(Away { outcome, .. }) = left {
                (*pruning, *away) = plan(chain, *outcome)?;
                settled = false;
            }
        }
        if settled {
            return Ok(plans.into_iter().map(|(pruning, _)| pruning).collect());
        }
    }
}

/// What goes of one chain, and which outcomes go with it whose resets began in others.
fn planned_of(
    source: &dyn Source,
    ChainEnds { first, last, live }: &ChainEnds,
    bounds: &Bounds,
    before: Timestamp,
    done: &dyn Fn(),
) -> Result<(Pruning, Vec<Away>), StoreError> {
    let mut up_to = Position { sequence: first - 1, hash: String::new(), ..last.clone() };
    let (mut times, mut held, mut failed) = (None, None, None);
    let mut abroad = Vec::new();
    each_since(source, &last.writer, first - 1, |Stored { position, record }| {
        done();
        let may = old(source, &record, before).and_then(|old| match old {
            _ if *live && position.sequence >= last.sequence => Ok(Err(Held::Live)),
            Ok(_) if position.sequence >= bounds.sunk => Ok(Err(Held::Unsunk)),
            Ok(_) if position.sequence >= bounds.outcome => Ok(Err(Held::Outcome)),
            Ok(at) => away(source, &position, &record).map(|away| Ok((at, away))),
            Err(why) => Ok(Err(why)),
        });
        match may {
            Ok(Ok((at, away))) => {
                let (earliest, latest) = times.unwrap_or((at, at));
                times = Some((earliest.min(at), latest.max(at)));
                abroad.extend(away);
                up_to = position;
            }
            Ok(Err(why)) => held = Some(why),
            Err(error) => failed = Some(error),
        }
        held.is_none() && failed.is_none()
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok((Pruning { up_to, first: *first, last: last.sequence, times, held }, abroad)),
    }
}

/// What is in other chains of what an outcome ends: it was queued, sent, or both.
fn away(source: &dyn Source, at: &Position, record: &str) -> Result<Vec<Away>, StoreError> {
    let Some(reset) = projection::ended_by(record) else { return Ok(Vec::new()) };
    let mut away = Vec::new();
    for kind in projection::BEGINNINGS {
        let beginnings = Filter { kind: Some(kind), reset: Some(reset), ..Filter::default() };
        let begun =
            source.page(&beginnings, Order::OldestFirst, None, 1)?.pop().map(|stored| stored.position);
        let elsewhere = begun.filter(|begun| begun.writer != at.writer);
        away.extend(elsewhere.map(|beginning| Away { outcome: at.sequence, beginning }));
    }
    Ok(away)
}

/// When a record was made that may go.
fn old(source: &dyn Source, record: &str, before: Timestamp) -> Result<Result<Timestamp, Held>, StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        time: String,
        kind: String,
        reset_id: Option<String>,
    }
    let Ok(Said { time, kind, reset_id }) = serde_json::from_str(record) else {
        return Ok(Err(Held::Timeless));
    };
    let Ok(time) = time.parse::<Timestamp>() else { return Ok(Err(Held::Timeless)) };
    if time >= before {
        return Ok(Err(Held::Recent));
    }
    if kind == Kind::Restored.as_str() {
        return Ok(Err(Held::Restore));
    }
    if kind != Kind::Intent.as_str() && kind != Kind::Queued.as_str() {
        return Ok(Ok(time));
    }
    let Some(reset) = reset_id.and_then(|id| id.parse().ok()) else { return Ok(Err(Held::Open)) };
    Ok(if closed(source, reset, before)? { Ok(time) } else { Err(Held::Open) })
}

/// Whether it has an outcome, and none that stays for its time.
fn closed(source: &dyn Source, reset: ResetId, before: Timestamp) -> Result<bool, StoreError> {
    let outcomes = Filter { kind: Some(Kind::Outcome), reset: Some(reset), ..Filter::default() };
    let recent = Filter { since: Some(before), ..outcomes.clone() };
    let none = |filter: &Filter| source.page(filter, Order::OldestFirst, None, 1).map(|page| page.is_empty());
    Ok(!none(&outcomes)? && none(&recent)?)
}

/// What these and all prunings before them have taken out, together.
pub(super) fn all_pruned(source: &dyn Source, up_to: &[Position]) -> Result<Vec<Position>, StoreError> {
    #[derive(Deserialize)]
    struct Said {
        pruned: Vec<Position>,
    }
    let mut all: BTreeMap<String, Position> = BTreeMap::new();
    let mut add = |position: Position| {
        let furthest = all.entry(position.writer.clone()).or_insert_with(|| position.clone());
        if furthest.sequence < position.sequence {
            *furthest = position;
        }
    };
    let before = Filter { kind: Some(Kind::Pruned), ..Filter::default() };
    each(source, &before, Order::OldestFirst, |stored| {
        // What cannot be read is for `verify` to find, and proves nothing.
        let said = serde_json::from_str::<Said>(&stored.record);
        said.into_iter().flat_map(|said| said.pruned).for_each(&mut add);
        true
    })?;
    up_to.iter().cloned().for_each(add);
    Ok(all.into_values().collect())
}
