//! Groups of records -> the store, as the next links of one chain.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::event::Event;
use super::record::Chain;
use super::store::{Projection, Row, Store, StoreError};
use super::writer::Draft;
use super::{About, Position, Reset, SigningKey};
use crate::config;

/// The chain of this writer and the store it grows in.
pub(super) struct Committer {
    pub(super) store: Box<dyn Store>,
    chain: Chain,
    key: SigningKey,
    checkpoints: Checkpoints,
    /// Commits that failed, and may have happened all the same.
    doubts: Vec<Doubt>,
}

/// When the next checkpoint is due.
struct Checkpoints {
    every: u64,
    interval: Duration,
    /// Records since the last one.
    records: u64,
    last: Instant,
    newest: Option<String>,
}

/// A commit of which nobody knows whether it happened.
pub(super) struct Doubt {
    /// The chain, had it happened.
    chain: Chain,
    /// How many drafts of those that must land it held: they are the first that wait.
    pub(super) landed: usize,
    /// Its intents, whose callers were refused.
    pub(super) intents: Vec<About>,
}

impl Committer {
    pub(super) fn new(store: Box<dyn Store>, key: SigningKey, settings: &config::Audit) -> Self {
        let checkpoints = Checkpoints {
            every: settings.checkpoint_records,
            interval: settings.checkpoint_interval,
            records: 0,
            last: Instant::now(),
            newest: None,
        };
        Self { store, chain: new_chain(), key, checkpoints, doubts: Vec::new() }
    }

    /// Says that this writer lives.
    pub(super) fn renew(&mut self) -> Result<(), StoreError> {
        self.store.renew(self.chain.writer())
    }

    /// The last record that is committed.
    pub(super) fn head(&self) -> &Position {
        self.chain.head()
    }

    /// The resets that dead writers left open, for this one to close.
    pub(super) fn orphans(&mut self) -> Result<Vec<Reset>, StoreError> {
        self.store.orphans(self.chain.writer())
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Whose chain grows.
    pub(super) fn writer(&self) -> &str {
        self.chain.writer()
    }

    /// The last checkpoint that it signed.
    pub(super) fn newest_checkpoint(&self) -> Option<&str> {
        self.checkpoints.newest.as_deref()
    }

    /// How long until a checkpoint is due by time alone.
    pub(super) fn due_in(&self) -> Duration {
        match self.checkpoints.records {
            0 => self.checkpoints.interval,
            _ => self.checkpoints.interval.saturating_sub(self.checkpoints.last.elapsed()),
        }
    }

    /// Leaves a chain that others have closed.
    pub(super) fn begin_anew(&mut self) {
        self.chain = new_chain();
        self.doubts.clear();
        self.checkpoints.records = 0;
    }

    /// A commit of before that happened after all. Until this says none, nothing can follow.
    pub(super) fn resolve(&mut self) -> Result<Option<Doubt>, StoreError> {
        if self.doubts.is_empty() {
            return Ok(None);
        }
        let head = self.store.head(self.chain.writer())?;
        if head.as_ref().map_or(0, |head| head.sequence) == self.chain.head().sequence {
            return Ok(None);
        }
        let happened = self.doubts.drain(..).find(|doubt| Some(doubt.chain.head()) == head.as_ref());
        let happened = happened.ok_or(StoreError::Fenced)?;
        self.chain = happened.chain.clone();
        Ok(Some(happened))
    }

    /// All drafts in one transaction, synced, with a checkpoint behind them where one is due; or none, with the
    /// chain where it was.
    pub(super) fn commit(
        &mut self,
        drafts: &[&Draft],
        exported: &BTreeMap<String, u64>,
        last: bool,
    ) -> Result<Vec<Position>, StoreError> {
        let mut chain = self.chain.clone();
        let mut rows = Vec::with_capacity(drafts.len() + 1);
        for draft in drafts {
            let (position, record) = chain.append(&draft.rest);
            rows.push(Row { position, record, projection: &draft.projection });
        }
        let due = last || self.checkpoints.due(drafts.len() as u64);
        let checkpoint = due.then(|| self.key.sign(chain.head().clone(), Timestamp::now()).to_string());
        if let Some(checkpoint) = &checkpoint {
            let draft = Draft::event(&Event::Checkpoint { checkpoint });
            let (position, record) = chain.append(&draft.rest);
            rows.push(Row { position, record, projection: &Projection::None });
        }
        match self.store.append(&rows, exported) {
            Ok(()) => {}
            // What is damaged says nothing to rely on.
            Err(plain @ (StoreError::Refused(_) | StoreError::Damaged(_))) => return Err(plain),
            Err(error) => self.happened(error, drafts, &chain)?,
        }
        self.doubts.clear();
        self.chain = chain;
        self.checkpoints.records += drafts.len() as u64;
        if let Some(checkpoint) = checkpoint {
            (self.checkpoints.records, self.checkpoints.last) = (0, Instant::now());
            // Outside of the store it is what a cut-off tail is found out by.
            tracing::info!(audit.checkpoint = checkpoint, "the trail has come this far");
            self.checkpoints.newest = Some(checkpoint);
        }
        Ok(rows.into_iter().take(drafts.len()).map(|row| row.position).collect())
    }

    /// Takes the records up to each position out of the store, and puts this one on record, in one transaction.
    pub(super) fn remove(&mut self, up_to: &[Position], draft: &Draft) -> Result<(), StoreError> {
        let mut chain = self.chain.clone();
        let (position, record) = chain.append(&draft.rest);
        let row = Row { position, record, projection: &draft.projection };
        if let Err(error) = self.store.remove(up_to, &[row])
            && !self.is_there(&chain)
        {
            return Err(error);
        }
        self.chain = chain;
        self.checkpoints.records += 1;
        Ok(())
    }

    /// Whether a commit that seemed to fail is there.
    fn is_there(&mut self, chain: &Chain) -> bool {
        self.store.head(chain.writer()).is_ok_and(|head| head.as_ref() == Some(chain.head()))
    }

    /// A connection may break after the commit and before its answer; and a commit that was given up may land late,
    /// where this one belongs.
    fn happened(&mut self, error: StoreError, drafts: &[&Draft], chain: &Chain) -> Result<(), StoreError> {
        let head = self.store.head(chain.writer());
        if head.as_ref().is_ok_and(|head| head.as_ref() == Some(chain.head())) {
            return Ok(());
        }
        let ours = match &head {
            Ok(head) => self.doubts.iter().any(|doubt| Some(doubt.chain.head()) == head.as_ref()),
            Err(_) => true,
        };
        self.doubts.push(Doubt::of(drafts, chain.clone()));
        Err(match error {
            StoreError::Fenced if ours => {
                StoreError::Unavailable("a commit that was given up may have landed".to_owned())
            }
            error => error,
        })
    }
}

impl Checkpoints {
    fn due(&self, more: u64) -> bool {
        let records = self.records + more;
        records >= self.every || (records > 0 && self.last.elapsed() >= self.interval)
    }
}

impl Doubt {
    fn of(drafts: &[&Draft], chain: Chain) -> Self {
        let intents = drafts.iter().filter_map(|draft| match &draft.projection {
            Projection::Open(reset) => Some(About::of(reset, None)),
            Projection::None | Projection::Close { .. } => None,
        });
        let landed = drafts.iter().filter(|draft| draft.must_land).count();
        Self { chain, landed, intents: intents.collect() }
    }
}

fn new_chain() -> Chain {
    Chain::new(Uuid::now_v7().to_string())
}
