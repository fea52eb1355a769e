//! Records that something names: they must be there, unless the trail itself says why they are not.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Lack, Named, Verifier};
use crate::audit::store::StoreError;
use crate::audit::{Checkpoint, Position, record};

/// Whether a named record is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    Held,
    Pruned,
    /// By a restore of this time and reason.
    Declared {
        time: String,
        reason: String,
    },
    Lacking(Lack),
}

/// Named records, each once, with the first that names it.
#[derive(Default)]
pub(super) struct Claims(BTreeMap<(String, u64, String), Named>);

/// Of each writer's checkpoints those that tell most: a log may hold thousands.
#[derive(Default)]
pub(super) struct Furthest(BTreeMap<(String, Class), Seen>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Declared,
    Missing,
    Another,
}

struct Seen {
    judged: Judged,
    position: Position,
    time: String,
    others: u64,
}

impl Claims {
    pub(super) fn add(&mut self, position: Position, named: impl FnOnce() -> Named) {
        let Position { writer, sequence, hash } = position;
        self.0.entry((writer, sequence, hash)).or_insert_with(named);
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = (Position, Named)> {
        let position = |(writer, sequence, hash)| Position { writer, sequence, hash };
        self.0.into_iter().map(move |(at, named)| (position(at), named))
    }
}

impl Furthest {
    pub(super) fn add(&mut self, judged: Judged, checkpoint: Checkpoint) {
        let class = match &judged {
            Judged::Held | Judged::Pruned => return,
            Judged::Declared { .. } => Class::Declared,
            Judged::Lacking(Lack::Another) => Class::Another,
            Judged::Lacking(Lack::CutOff(_) | Lack::Gone | Lack::Removed) => Class::Missing,
        };
        let Checkpoint { position, time, .. } = checkpoint;
        match self.0.entry((position.writer.clone(), class)) {
            Entry::Vacant(entry) => _ = entry.insert(Seen { judged, position, time, others: 0 }),
            Entry::Occupied(entry) if entry.get().position == position => {}
            Entry::Occupied(entry) => {
                let seen = entry.into_mut();
                seen.others += 1;
                // The first that is another shows where that begins, the last that is missing how much is.
                let further = match class {
                    Class::Another => position.sequence < seen.position.sequence,
                    Class::Declared | Class::Missing => position.sequence > seen.position.sequence,
                };
                if further {
                    *seen = Seen { judged, position, time, others: seen.others };
                }
            }
        }
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = (Judged, Position, Named)> {
        let told =
            |Seen { judged, position, time, others }| (judged, position, Named::Checkpoint { time, others });
        self.0.into_values().map(told)
    }
}

impl Verifier<'_> {
    /// Whether this record is in the store as it is now.
    pub(super) fn judge(&self, position: &Position) -> Result<Judged, StoreError> {
        let Position { writer, sequence, hash } = position;
        let next = self.source.since(writer, sequence.saturating_sub(1), 1)?.pop();
        if let Some(there) = next.as_ref().filter(|next| next.position.sequence == *sequence) {
            let held = record::hash(&there.record) == *hash;
            return Ok(if held { Judged::Held } else { Judged::Lacking(Lack::Another) });
        }
        let pruned = self.marks.pruned(writer);
        if let Some(pruned) = pruned.filter(|pruned| pruned.sequence >= *sequence) {
            let other = pruned.sequence == *sequence && pruned.hash != *hash;
            return Ok(if other { Judged::Lacking(Lack::Another) } else { Judged::Pruned });
        }
        if next.is_some() {
            return Ok(Judged::Lacking(Lack::Removed));
        }
        let end = self.ends.get(writer).map(|ends| ends.last.sequence);
        let end = end.max(pruned.map(|pruned| pruned.sequence));
        if let Some(restore) = self.marks.declared(position, end) {
            return Ok(Judged::Declared { time: restore.time.clone(), reason: restore.reason.clone() });
        }
        Ok(Judged::Lacking(end.map_or(Lack::Gone, Lack::CutOff)))
    }
}
