//! One chain, record by record.

use serde::Deserialize;

use super::{Named, Verifier, What};
use crate::audit::read::BATCH;
use crate::audit::store::{ChainEnds, StoreError, Stored};
use crate::audit::{Checkpoint, Position, record};

/// What the bytes of every record say, of whatever version and kind.
#[derive(Deserialize)]
struct Shape {
    v: u64,
    writer: String,
    sequence: u64,
    previous: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    #[serde(default)]
    heads: Vec<Position>,
    /// Since the second version.
    signing_key: Option<String>,
}

#[derive(Deserialize)]
struct Signed {
    checkpoint: String,
}

/// How far a chain was walked.
struct Link {
    sequence: u64,
    hash: String,
    /// Its writer signs checkpoints.
    signs: bool,
    stopped: Option<u64>,
    /// The last checkpoint that is good.
    covered: u64,
    unknown_key: bool,
}

impl Verifier<'_> {
    /// From its first record to the end that it had when this began.
    pub(super) fn chain(&mut self, ends: &ChainEnds, done: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        let Position { writer, sequence: end, .. } = &ends.last;
        let odd = ends.first == 0 || ends.first > *end || i64::try_from(*end).is_err();
        if odd {
            self.find(writer, ends.first, What::NoPlace);
        }
        let mut link = Link {
            sequence: 0,
            hash: "0".repeat(64),
            signs: false,
            stopped: None,
            covered: 0,
            unknown_key: false,
        };
        'chain: loop {
            let batch = self.source.since(writer, link.sequence, BATCH)?;
            let full = batch.len() == BATCH;
            for stored in batch {
                if stored.position.sequence > *end {
                    break 'chain;
                }
                self.verified.records += 1;
                self.record(&mut link, stored)?;
            }
            done(self.verified.records);
            if !full {
                break;
            }
        }
        if let Some(stop) = link.stopped.filter(|stop| link.signs && link.sequence == *stop) {
            self.find(writer, stop, What::Unclosed);
        }
        if link.stopped.is_none() {
            self.open.insert(writer.clone());
        }
        if link.covered > 0 {
            let covered = self.covered.entry(writer.clone()).or_insert(0);
            *covered = link.covered.max(*covered);
        }
        if link.sequence < *end && !odd {
            self.claim(&ends.last, Named::Beginning)?;
        }
        Ok(())
    }

    fn record(&mut self, link: &mut Link, Stored { position, record }: Stored) -> Result<(), StoreError> {
        let Position { writer, sequence, hash } = &position;
        let last = std::mem::replace(&mut link.sequence, *sequence);
        let previous = std::mem::replace(&mut link.hash, hash.clone());
        let whole = record::hash(&record) == *hash;
        if !whole {
            self.find(writer, *sequence, What::Changed);
        }
        let Ok(shape) = serde_json::from_str::<Shape>(&record) else {
            if *sequence != last + 1 {
                self.find(writer, *sequence, What::Missing);
            }
            self.find(writer, *sequence, What::NoRecord);
            return Ok(());
        };
        let moved = shape.writer != *writer || shape.sequence != *sequence;
        match self.joint(&position, last, &previous, &shape.previous)? {
            Some(What::DoesNotFollow) if moved => {}
            Some(what) => self.find(writer, *sequence, what),
            None => {}
        }
        if moved {
            self.find(writer, *sequence, What::Moved);
        }
        if whole && !moved { self.content(link, &position, &record, &shape) } else { Ok(()) }
    }

    /// What is wrong between a record and the one before it.
    fn joint(
        &mut self,
        at: &Position,
        last: u64,
        previous: &str,
        claimed: &str,
    ) -> Result<Option<What>, StoreError> {
        let Position { writer, sequence, .. } = at;
        if *sequence == last + 1 {
            let put_back = last == 0 && self.marks.pruned(writer).is_some();
            return Ok(match claimed == previous {
                false => Some(What::DoesNotFollow),
                true if put_back => Some(What::PutBack),
                true => None,
            });
        }
        let before = sequence - 1;
        if self.marks.pruned(writer).is_none_or(|pruned| pruned.sequence != before) {
            self.marks.load_pruned(self.source)?;
        }
        Ok(match self.marks.pruned(writer) {
            Some(pruned) if pruned.sequence == before && pruned.hash == claimed => None,
            Some(pruned) if pruned.sequence == before => Some(What::NotThePruned),
            Some(pruned) if pruned.sequence > before => Some(What::PutBack),
            Some(_) | None => Some(What::Missing),
        })
    }

    fn content(
        &mut self,
        link: &mut Link,
        position: &Position,
        record: &str,
        shape: &Shape,
    ) -> Result<(), StoreError> {
        let Position { writer, sequence, .. } = position;
        let closing = |stop: u64| shape.kind == "checkpoint" && *sequence == stop + 1;
        if link.stopped.is_some_and(|stop| !closing(stop)) {
            self.find(writer, *sequence, What::BehindTheEnd);
        }
        match shape.kind.as_str() {
            "start" => match serde_json::from_str::<Start>(record) {
                Ok(start) => {
                    link.signs |= start.signing_key.is_some();
                    for head in &start.heads {
                        let end = self.named.entry(head.writer.clone()).or_insert(head.sequence);
                        *end = head.sequence.min(*end);
                    }
                    self.name_heads("start", position, start.heads);
                }
                Err(_) => self.find(writer, *sequence, What::NoRecord),
            },
            "stop" => {
                link.signs |= shape.v >= 2;
                link.stopped = Some(*sequence);
            }
            "checkpoint" => match self.checkpoint(shape, record) {
                Ok(key) => {
                    link.covered = *sequence;
                    *self.signed.entry(key).or_insert(0) += 1;
                }
                // One of a key is enough to tell.
                Err(What::UnknownKey(_)) if std::mem::replace(&mut link.unknown_key, true) => {}
                Err(what) => self.find(writer, *sequence, what),
            },
            "pruned" => self.excuses.push((writer.clone(), *sequence)),
            "restored" => {
                self.excuses.push((writer.clone(), *sequence));
                match serde_json::from_str::<Start>(record) {
                    Ok(restored) => self.name_heads("restored", position, restored.heads),
                    Err(_) => self.find(writer, *sequence, What::NoRecord),
                }
            }
            "queued" => self.beginning(position, record, true)?,
            "intent" => self.beginning(position, record, false)?,
            "outcome" => self.outcome(position, record)?,
            _ => {}
        }
        Ok(())
    }

    fn name_heads(&mut self, kind: &'static str, by: &Position, heads: Vec<Position>) {
        for head in heads {
            let named = || Named::Record { kind, writer: by.writer.clone(), sequence: by.sequence };
            self.heads.add(head, named);
        }
    }

    /// The key that signed it.
    fn checkpoint(&self, shape: &Shape, record: &str) -> Result<String, What> {
        let Signed { checkpoint } = serde_json::from_str(record).map_err(|_| What::NoCheckpoint)?;
        let checkpoint: Checkpoint = checkpoint.parse().map_err(|_| What::NoCheckpoint)?;
        let Position { writer, sequence, hash } = &checkpoint.position;
        if *writer != shape.writer || sequence + 1 != shape.sequence || *hash != shape.previous {
            return Err(What::OtherCheckpoint);
        }
        match self.keys.signed(&checkpoint) {
            true => Ok(checkpoint.key),
            false if self.keys.has(&checkpoint.key) => Err(What::BadSignature),
            false => Err(What::UnknownKey(checkpoint.key)),
        }
    }
}
