//! What the trail itself says is missing: what was pruned, and what a backup did not have.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::audit::Position;
use crate::audit::read::each;
use crate::audit::record::Kind;
use crate::audit::store::{Filter, Order, Source, StoreError, Stored};
use crate::domain::ResetId;

/// Of the `pruned` and `restored` records.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The last record that was taken out of each chain.
    pruned: BTreeMap<String, Position>,
    /// What is older may have been.
    pruned_before: Option<Timestamp>,
    pub(super) restores: Vec<Restore>,
}

/// A backup was put back.
#[derive(Debug)]
pub(super) struct Restore {
    pub(super) writer: String,
    pub(super) sequence: u64,
    pub(super) time: String,
    pub(super) reason: String,
    /// Where the chains of the backup ended.
    heads: BTreeMap<String, u64>,
    /// From the backup's last record until the restore.
    gap: Option<(Timestamp, Timestamp)>,
}

#[derive(Deserialize)]
struct Pruned {
    kind: String,
    before: String,
    pruned: Vec<Position>,
}

#[derive(Deserialize)]
struct Restored {
    kind: String,
    time: String,
    reason: String,
    heads: Vec<Position>,
}

impl Marks {
    pub(super) fn load(source: &dyn Source) -> Result<Self, StoreError> {
        let mut marks = Self::default();
        marks.load_pruned(source)?;
        let mut found = Vec::new();
        each(source, &of(Kind::Restored), Order::OldestFirst, |stored| {
            found.push(stored);
            true
        })?;
        for Stored { position, record } in found {
            // What cannot be read is found where it stands, and declares nothing.
            let Ok(restored) = serde_json::from_str::<Restored>(&record) else { continue };
            if restored.kind == Kind::Restored.as_str() {
                marks.restores.push(Restore::new(source, position, restored)?);
            }
        }
        Ok(marks)
    }

    /// It may be pruned while it is read.
    pub(super) fn load_pruned(&mut self, source: &dyn Source) -> Result<(), StoreError> {
        each(source, &of(Kind::Pruned), Order::OldestFirst, |stored| {
            let Ok(pruned) = serde_json::from_str::<Pruned>(&stored.record) else { return true };
            if pruned.kind == Kind::Pruned.as_str() {
                self.pruned_before = self.pruned_before.max(pruned.before.parse().ok());
                for position in pruned.pruned {
                    let known = self.pruned.entry(position.writer.clone()).or_insert(position.clone());
                    if known.sequence < position.sequence {
                        *known = position;
                    }
                }
            }
            true
        })
    }

    /// The last record that was taken out of this writer's chain.
    pub(super) fn pruned(&self, writer: &str) -> Option<&Position> {
        self.pruned.get(writer)
    }

    /// Whether the intent of this reset, whose id is as old, can have been taken out. One outcome of it may have come
    /// later than that.
    pub(super) fn may_have_pruned(&self, reset: ResetId) -> bool {
        begun(&reset.to_string()).zip(self.pruned_before).is_some_and(|(begun, before)| begun < before)
    }

    /// The restore that declares that the record is missing; `end` is the last that its chain has.
    pub(super) fn declared(&self, position: &Position, end: Option<u64>) -> Option<&Restore> {
        self.restores.iter().find(|restore| restore.declares(position, end))
    }
}

impl Restore {
    fn new(source: &dyn Source, position: Position, restored: Restored) -> Result<Self, StoreError> {
        let mut last: Option<Timestamp> = None;
        for head in &restored.heads {
            let found = source.since(&head.writer, head.sequence.saturating_sub(1), 1)?;
            let found = found.into_iter().find(|stored| stored.position == *head);
            let time = found.and_then(|stored| stored.place().time.parse().ok());
            last = last.max(time.or_else(|| begun(&head.writer)));
        }
        let until = restored.time.parse().ok();
        Ok(Self {
            writer: position.writer,
            sequence: position.sequence,
            time: restored.time,
            reason: restored.reason,
            heads: restored.heads.into_iter().map(|head| (head.writer, head.sequence)).collect(),
            gap: last.zip(until),
        })
    }

    fn declares(&self, position: &Position, end: Option<u64>) -> bool {
        match (self.heads.get(&position.writer), end) {
            // A chain that went on after the restore has lost what it lost in another way.
            (Some(head), Some(end)) => end == *head && position.sequence > *head,
            (None, None) => {
                let begun = begun(&position.writer);
                begun.zip(self.gap).is_some_and(|(begun, (from, until))| (from..=until).contains(&begun))
            }
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// When a writer or a reset began, which its name tells.
fn begun(name: &str) -> Option<Timestamp> {
    let (seconds, nanoseconds) = Uuid::try_parse(name).ok()?.get_timestamp()?.to_unix();
    Timestamp::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?).ok()
}

fn of(kind: Kind) -> Filter {
    Filter { kind: Some(kind), ..Filter::default() }
}
