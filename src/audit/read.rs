use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::store::{self, ChainEnds, Filter, OpenError, Order, Place, Source, StoreError, Stored};
use super::{Claimed, Reset};
use crate::config;
use crate::domain::ResetId;

/// Records that are read at a time: reading never holds many in memory, nor a transaction open.
pub(super) const BATCH: usize = 500;

/// Reads the trail beside whoever writes it.
#[derive(Clone)]
pub struct Reader {
    source: Arc<dyn Source>,
}

/// Why the trail cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the trail cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("a record that names the id is not as zengate writes it: {0}")]
    Record(#[from] serde_json::Error),
    #[error("the read was cut short by a stop")]
    Stopped,
}

impl Reader {
    /// Opens the trail for reading; it must exist.
    pub fn open(settings: &config::Audit) -> Result<Self, OpenError> {
        Ok(Self { source: store::open_source(settings)? })
    }

    pub(super) fn source(&self) -> &dyn Source {
        &*self.source
    }

    pub(super) fn shared_source(&self) -> Arc<dyn Source> {
        self.source.clone()
    }

    /// The reset of this id, from the projection. Reads off the worker threads.
    pub async fn reset(&self, id: ResetId) -> Result<Option<Reset>, ReadError> {
        self.off(move |source| source.reset(id)).await
    }

    /// The resets of the batch of this id, from the projection. Reads off the worker threads.
    pub async fn batch(&self, id: ResetId) -> Result<Vec<Reset>, ReadError> {
        self.off(move |source| source.batch(id)).await
    }

    /// Who has this caller's idempotency key since then or later. Reads off the worker threads.
    pub(super) async fn claimed(
        &self,
        caller: String,
        key: String,
        since: Timestamp,
    ) -> Result<Option<Claimed>, ReadError> {
        self.off(move |source| source.claimed(&caller, &key, since)).await
    }

    /// Up to `limit` records that fit, on from `after`. Reads off the worker threads.
    pub async fn page(
        &self,
        filter: Filter,
        order: Order,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        self.off(move |source| source.page(&filter, order, after.as_ref(), limit)).await
    }

    pub(super) async fn off<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Source) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || read(&*source));
        Ok(read.await.map_err(|_| ReadError::Stopped)??)
    }

    /// Gives every record that fits, until `each` says enough. Blocks.
    pub fn each(
        &self,
        filter: &Filter,
        order: Order,
        each: impl FnMut(Stored) -> bool,
    ) -> Result<(), ReadError> {
        Ok(self::each(&*self.source, filter, order, each)?)
    }

    /// The same, on from `after`. Blocks.
    pub fn each_after(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Place>,
        each: impl FnMut(Stored) -> bool,
    ) -> Result<(), ReadError> {
        Ok(self::each_after(&*self.source, filter, order, after, each)?)
    }

    /// The ends of every chain. Blocks.
    pub fn chains(&self) -> Result<Vec<ChainEnds>, ReadError> {
        Ok(self.source.chains()?)
    }

    /// Gives the records of one chain after this sequence, until `each` says enough. Blocks.
    pub fn each_since(
        &self,
        writer: &str,
        sequence: u64,
        each: impl FnMut(Stored) -> bool,
    ) -> Result<(), ReadError> {
        Ok(each_since(&*self.source, writer, sequence, each)?)
    }
}

/// Gives every record that fits, until `each` says enough, batch by batch.
pub(super) fn each(
    source: &dyn Source,
    filter: &Filter,
    order: Order,
    each: impl FnMut(Stored) -> bool,
) -> Result<(), StoreError> {
    each_after(source, filter, order, None, each)
}

/// The same, on from `after`.
fn each_after(
    source: &dyn Source,
    filter: &Filter,
    order: Order,
    mut after: Option<Place>,
    mut each: impl FnMut(Stored) -> bool,
) -> Result<(), StoreError> {
    loop {
        let page = source.page(filter, order, after.as_ref(), BATCH)?;
        let full = page.len() == BATCH;
        after = page.last().map(Stored::place);
        if !page.into_iter().all(&mut each) || !full {
            return Ok(());
        }
    }
}

/// Gives the records of one chain after this sequence, until `each` says enough, batch by batch.
pub(super) fn each_since(
    source: &dyn Source,
    writer: &str,
    mut sequence: u64,
    mut each: impl FnMut(Stored) -> bool,
) -> Result<(), StoreError> {
    loop {
        let batch = source.since(writer, sequence, BATCH)?;
        let full = batch.len() == BATCH;
        sequence = batch.last().map_or(sequence, |stored| stored.position.sequence);
        if !batch.into_iter().all(&mut each) || !full {
            return Ok(());
        }
    }
}

impl Stored {
    /// Where it stands in the order of time.
    pub fn place(&self) -> Place {
        #[derive(Deserialize)]
        struct Timed {
            time: String,
        }
        // What is no record has no time, and stands first.
        let time = serde_json::from_str(&self.record).map_or_else(|_| String::new(), |Timed { time }| time);
        Place { time, writer: self.position.writer.clone(), sequence: self.position.sequence }
    }
}
