//! What is done to a trail while no gateway writes it. It is put on record like all else.

mod prune;

use std::sync::Arc;

use jiff::Timestamp;

use super::commit::Committer;
use super::event::Event;
use super::projection::{self, Untold};
use super::store::{self, Source, StoreError};
use super::writer::Draft;
use super::{OpenError, Position, SigningKey, opening};
use crate::config;
use crate::domain::{Reason, rfc3339};

pub use prune::{Held, Pruning};

/// The right to write a trail, and a chain of its own in it: until it is finished, which dropping does too.
pub struct Maintenance {
    /// Dropped first: the last one to leave an SQLite file tidies it up, and must be able to write it.
    source: Arc<dyn Source>,
    committer: Committer,
    /// Resets that dead writers left open, which were closed as `unknown`.
    orphans: usize,
    /// A second sink is written, and must have a record before it goes.
    sunk: bool,
    begun: bool,
}

/// Why a trail is not maintained.
#[derive(Debug, thiserror::Error)]
pub enum NotMaintained {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("there is no trail {trail}")]
    Missing { trail: String },
    #[error("other gateways write the trail {trail}: stop them first")]
    Alive { trail: String },
    #[error("the trail cannot be maintained: {0}")]
    Store(#[from] StoreError),
}

impl Maintenance {
    /// Takes the lock, begins a chain, and closes what dead writers left open.
    pub fn open(settings: &config::Audit) -> Result<Self, NotMaintained> {
        let mut new = Self::locked(settings)?;
        new.begin()?;
        Ok(new)
    }

    /// The same where nobody else may write meanwhile, in stores that more than one process writes too.
    pub fn alone(settings: &config::Audit) -> Result<Self, NotMaintained> {
        let mut new = Self::locked_alone(settings)?;
        new.begin()?;
        Ok(new)
    }

    /// Takes the lock, writes the table of resets anew from the records, `done` being told of each, and begins a
    /// chain: what dead writers left open is read from that table.
    pub fn rebuild(settings: &config::Audit, done: &dyn Fn()) -> Result<Self, NotMaintained> {
        let mut new = Self::locked_alone(settings)?;
        let mut resets = projection::rebuilt(&*new.source).map(|reset| {
            done();
            reset.map_err(|error| match error {
                Untold::Store(error) => error,
                Untold::Record(_) => StoreError::Damaged(error.to_string()),
            })
        });
        new.committer.store.replace_projection(&mut resets)?;
        drop(resets);
        new.begin()?;
        Ok(new)
    }

    fn locked_alone(settings: &config::Audit) -> Result<Self, NotMaintained> {
        let new = Self::locked(settings)?;
        match new.source.chains()?.iter().any(|chain| chain.live) {
            true => Err(NotMaintained::Alive { trail: store::name(settings) }),
            false => Ok(new),
        }
    }

    fn locked(settings: &config::Audit) -> Result<Self, NotMaintained> {
        if !store::exists(settings) {
            return Err(NotMaintained::Missing { trail: store::name(settings) });
        }
        let key = SigningKey::load(&settings.signing_key_file, settings.make_signing_key);
        let key = key.map_err(OpenError::from)?;
        let committer = Committer::new(store::open(settings)?, key, settings);
        let (source, sunk) = (store::open_source(settings)?, settings.sink.is_some());
        Ok(Self { source, committer, orphans: 0, sunk, begun: false })
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        let closed = opening::closed_orphans(&mut self.committer)?;
        self.orphans = closed.len();
        let mut first = vec![opening::start(&self.committer, &*self.source)?];
        first.extend(closed);
        self.committer.commit(&first.iter().collect::<Vec<_>>(), &Default::default(), false)?;
        self.begun = true;
        Ok(())
    }

    /// Resets that were in flight when their writer ended: they are recorded as `unknown` now.
    pub fn orphans(&self) -> usize {
        self.orphans
    }

    /// Takes out what may go of the records before this time, and puts on record up to where.
    pub fn prune(&mut self, before: Timestamp, done: &dyn Fn()) -> Result<Vec<Pruning>, NotMaintained> {
        let mut prunings = prune::planned(&*self.source, self.sunk, before, done)?;
        prunings.retain(|pruning| pruning.up_to.writer != self.committer.writer());
        let up_to: Vec<Position> = prunings.iter().filter_map(Pruning::removed_up_to).cloned().collect();
        if !up_to.is_empty() {
            let pruned = prune::all_pruned(&*self.source, &up_to)?;
            let event = Event::Pruned { before: &rfc3339(before), pruned: &pruned };
            self.committer.remove(&up_to, &Draft::event(&event))?;
        }
        Ok(prunings)
    }

    /// Puts on record that the store was put back from a backup, and where that ended.
    pub fn restored(&mut self, reason: &Reason) -> Result<(), NotMaintained> {
        let ends = self.source.chains()?.into_iter().map(|chain| chain.last);
        let heads: Vec<Position> = ends.filter(|end| end.writer != self.committer.writer()).collect();
        let event = Event::Restored { reason: reason.as_str(), heads: &heads };
        // With its checkpoint: unsigned, it would declare nothing.
        self.committer.commit(&[&Draft::event(&event)], &Default::default(), true)?;
        Ok(())
    }

    /// Ends the chain, gives the lock up, and tells the checkpoint behind it.
    pub fn finish(mut self) -> Result<String, NotMaintained> {
        self.end()?;
        Ok(self.committer.newest_checkpoint().unwrap_or_default().to_owned())
    }

    fn end(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.begun) {
            let stop = Draft::event(&Event::Stop {});
            self.committer.commit(&[&stop], &Default::default(), true)?;
        }
        Ok(())
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!("the chain of the maintenance has no stop record: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
