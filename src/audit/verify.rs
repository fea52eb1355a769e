//! Whether the trail holds: every hash, link, signature and named record, and the projection beside it.

mod chain;
mod claims;
mod finding;
mod marks;
mod resets;
mod witness;

use std::collections::{BTreeMap, BTreeSet};

use super::read::{ReadError, Reader};
use super::store::{ChainEnds, Source, StoreError};
use super::{Position, PublicKeys};

pub use finding::{Finding, Lack, Named, Told, What};
pub use witness::{Witness, WitnessFault};

use claims::Claims;
use marks::Marks;

/// Told now and then how many records, or how many resets, are looked at, and of how many.
pub type Progress<'p> = dyn Fn(Part, u64, u64) + 'p;

/// What is being verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Records,
    Resets,
}

/// What a verification went over.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verified {
    pub records: u64,
    pub chains: u64,
    pub resets: u64,
    /// Records that a checkpoint vouches for, itself or through the chains that its own names.
    pub covered: u64,
    pub findings: u64,
}

/// Why a trail cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Witness(#[from] WitnessFault),
}

impl From<StoreError> for Unverified {
    fn from(error: StoreError) -> Self {
        Self::Read(error.into())
    }
}

impl Reader {
    /// Goes over the whole trail as it is now, beside whoever writes it, and tells what it finds as it goes. What is
    /// written meanwhile is left to the next time. Blocks.
    pub fn verify(
        &self,
        keys: &PublicKeys,
        witnesses: &[Witness],
        tell: &mut dyn FnMut(Told),
        progress: &Progress<'_>,
    ) -> Result<Verified, Unverified> {
        let source = self.source();
        let mut verifier = Verifier::begin(source, keys, tell)?;
        verifier.beneath()?;
        witnesses.iter().try_for_each(|witness| verifier.hear(witness))?;
        verifier.walk(progress)?;
        verifier.behind_the_ends();
        verifier.judge_heads()?;
        verifier.cover();
        verifier.rows(progress)?;
        Ok(verifier.verified)
    }
}

struct Verifier<'v> {
    source: &'v dyn Source,
    keys: &'v PublicKeys,
    tell: &'v mut dyn FnMut(Told),
    /// The ends of the chains as this began.
    ends: BTreeMap<String, ChainEnds>,
    marks: Marks,
    /// What records of the store name.
    heads: Claims,
    /// Where each chain had ended when a later start named it.
    named: BTreeMap<String, u64>,
    /// How far checkpoints vouch for each chain.
    covered: BTreeMap<String, u64>,
    /// The writers that have not stopped.
    open: BTreeSet<String>,
    /// Records that excuse what is missing.
    excuses: Vec<(String, u64)>,
    /// Checkpoints of the store by the key that signed them.
    signed: BTreeMap<String, u64>,
    /// Records that begin a reset.
    beginnings: u64,
    verified: Verified,
}

impl<'v> Verifier<'v> {
    fn begin(
        source: &'v dyn Source,
        keys: &'v PublicKeys,
        tell: &'v mut dyn FnMut(Told),
    ) -> Result<Self, StoreError> {
        // The ends first: whatever they were made of is there by then, as is what was pruned before.
        let ends = source.chains()?.into_iter().map(|ends| (ends.last.writer.clone(), ends)).collect();
        let marks = Marks::load(source)?;
        for restore in &marks.restores {
            let (writer, sequence) = (restore.writer.clone(), restore.sequence);
            let (time, reason) = (restore.time.clone(), restore.reason.clone());
            tell(Told::Restored { writer, sequence, time, reason });
        }
        Ok(Self {
            source,
            keys,
            tell,
            ends,
            marks,
            heads: Claims::default(),
            named: BTreeMap::new(),
            covered: BTreeMap::new(),
            open: BTreeSet::new(),
            excuses: Vec::new(),
            signed: BTreeMap::new(),
            beginnings: 0,
            verified: Verified::default(),
        })
    }

    fn find(&mut self, writer: &str, sequence: u64, what: What) {
        self.verified.findings += 1;
        (self.tell)(Told::Finding(Finding { writer: writer.to_owned(), sequence, what }));
    }

    /// Tells what is wrong with the store itself: what reads by a false index does not see all.
    fn beneath(&mut self) -> Result<(), StoreError> {
        for why in self.source.unsound()? {
            self.verified.findings += 1;
            (self.tell)(Told::Store(why));
        }
        Ok(())
    }

    /// Where one process writes at a time, nothing comes into a chain once a later one has begun.
    fn behind_the_ends(&mut self) {
        if !self.source.one_writes() {
            return;
        }
        for (writer, end) in std::mem::take(&mut self.named) {
            if self.ends.get(&writer).is_some_and(|ends| ends.last.sequence > end) {
                self.find(&writer, end + 1, What::BehindTheEnd);
            }
        }
    }

    fn walk(&mut self, progress: &Progress<'_>) -> Result<(), StoreError> {
        let length = |ends: &ChainEnds| ends.last.sequence.saturating_sub(ends.first.saturating_sub(1));
        let chains: Vec<ChainEnds> = self.ends.values().cloned().collect();
        let all = chains.iter().map(length).fold(0, u64::saturating_add);
        for ends in chains {
            self.verified.chains += 1;
            self.chain(&ends, &mut |done| progress(Part::Records, done, all))?;
        }
        Ok(())
    }

    /// Holds the trail against what was kept outside of it.
    fn hear(&mut self, witness: &Witness) -> Result<(), Unverified> {
        match witness {
            Witness::Receipts(file) => witness::receipts(file, |position| {
                Ok::<_, Unverified>(self.claim(&position, Named::Receipt)?)
            }),
            Witness::Checkpoints(file) => {
                let mut unknown = BTreeSet::new();
                let mut lacking = claims::Furthest::default();
                witness::checkpoints(file, |checkpoint| {
                    let Position { writer, sequence, .. } = &checkpoint.position;
                    if !self.keys.has(&checkpoint.key) {
                        // A log may hold thousands of them.
                        if unknown.insert(checkpoint.key.clone()) {
                            self.find(writer, *sequence, What::UnknownKey(checkpoint.key.clone()));
                        }
                    } else if !self.keys.signed(&checkpoint) {
                        self.find(writer, *sequence, What::BadSignature);
                    } else {
                        lacking.add(self.judge(&checkpoint.position)?, checkpoint);
                    }
                    Ok::<_, Unverified>(())
                })?;
                for (judged, position, named) in lacking.into_all() {
                    self.pronounce(judged, &position, named);
                }
                Ok(())
            }
        }
    }

    /// Looks whether this record is there, and tells of it if not.
    fn claim(&mut self, position: &Position, named: Named) -> Result<(), StoreError> {
        let judged = self.judge(position)?;
        self.pronounce(judged, position, named);
        Ok(())
    }

    fn pronounce(&mut self, judged: claims::Judged, position: &Position, named: Named) {
        let Position { writer, sequence, .. } = position;
        match judged {
            claims::Judged::Held | claims::Judged::Pruned => {}
            claims::Judged::Lacking(lack) => self.find(writer, *sequence, What::Lacking(lack, named)),
            claims::Judged::Declared { time, reason } => {
                let (writer, sequence) = (writer.clone(), *sequence);
                (self.tell)(Told::Declared { writer, sequence, time, reason, named });
            }
        }
    }

    /// What records of the store name must be there. What vouches for a record vouches for what it names.
    fn judge_heads(&mut self) -> Result<(), StoreError> {
        let mut by_namer: BTreeMap<String, Vec<(u64, Position)>> = BTreeMap::new();
        for (position, named) in std::mem::take(&mut self.heads).into_all() {
            let judged = self.judge(&position)?;
            if let (claims::Judged::Held, Named::Record { writer, sequence, .. }) = (&judged, &named) {
                by_namer.entry(writer.clone()).or_default().push((*sequence, position.clone()));
            }
            self.pronounce(judged, &position, named);
        }
        let mut reached: Vec<String> = self.covered.keys().cloned().collect();
        while let Some(namer) = reached.pop() {
            let up_to = self.covered.get(&namer).copied().unwrap_or(0);
            for (at, named) in by_namer.get(&namer).into_iter().flatten() {
                let covered = self.covered.entry(named.writer.clone()).or_insert(0);
                if *at <= up_to && *covered < named.sequence {
                    *covered = named.sequence;
                    reached.push(named.writer.clone());
                }
            }
        }
        Ok(())
    }

    /// Tells what no checkpoint vouches for.
    fn cover(&mut self) {
        for (writer, ends) in &self.ends {
            let covered = self.covered.get(writer).copied().unwrap_or(0).min(ends.last.sequence);
            self.verified.covered += (covered + 1).saturating_sub(ends.first);
            if covered < ends.last.sequence && self.open.contains(writer) {
                let records = ends.last.sequence.saturating_sub(covered.max(ends.first.saturating_sub(1)));
                (self.tell)(Told::Open { writer: writer.clone(), records });
            }
        }
        for (writer, sequence) in std::mem::take(&mut self.excuses) {
            if self.covered.get(&writer).is_none_or(|covered| *covered < sequence) {
                self.find(&writer, sequence, What::Unvouched);
            }
        }
        for (key, checkpoints) in std::mem::take(&mut self.signed) {
            (self.tell)(Told::Signed { key, checkpoints });
        }
    }
}

#[cfg(test)]
mod tests;
