//! The seam between the trail and what keeps it. A store moves data; [`super::Trail`] around it makes the proofs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::claim::{Claim, Claimed};
use super::record::Kind;
use super::{Position, Reset, postgres, sqlite};
use crate::config;
use crate::domain::{InstanceId, Outcome, RequestId, ResetId, Status, TeamName};

/// What a record changes in the projection.
pub(super) enum Projection {
    None,
    /// A reset begins as it is here, sent or queued.
    Open(Box<Reset>),
    /// One that is queued is sent.
    Send(Box<Reset>),
    Close {
        id: ResetId,
        outcome: Outcome,
        at: Timestamp,
        /// Why nothing was sent.
        cause: Option<&'static str>,
        /// It is only that the reset's writer is gone: it counts where nothing else does.
        gone: bool,
        /// What gives its idempotency key back, if it has one.
        releases: Option<ResetId>,
    },
}

impl Projection {
    /// The reset that is asked for, and that comes to nothing if nobody waits for it any more.
    pub(super) fn asked(&self) -> Option<&Reset> {
        match self {
            Self::Open(reset) | Self::Send(reset) => Some(reset),
            Self::None | Self::Close { .. } => None,
        }
    }
}

/// A record with its place, ready to be kept.
pub(super) struct Row<'r> {
    pub(super) position: Position,
    pub(super) record: String,
    pub(super) projection: &'r Projection,
    /// None of the rows is kept where another has the key.
    pub(super) claim: Option<&'r Claim>,
}

/// A record as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub position: Position,
    /// Its canonical bytes.
    pub record: String,
}

/// Where a record stands in the order of time: of all chains together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the record writes it.
    pub time: String,
    pub writer: String,
    pub sequence: u64,
}

/// Which records are wanted: those that every given part fits.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub kind: Option<Kind>,
    pub team: Option<TeamName>,
    pub instance: Option<InstanceId>,
    /// Issuer and subject: `corp|alice`.
    pub user: Option<String>,
    pub reset: Option<ResetId>,
    pub request: Option<RequestId>,
    pub writer: Option<String>,
    /// This time and later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// Resets that lie side by side in a store, in the order of `(created_at, id)`.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) shelf: Shelf,
    /// Of this time and later.
    pub(super) since: Option<Timestamp>,
    /// Of before this time; with an id, those of this very time that have a smaller one too.
    pub(super) before: Option<(Timestamp, Option<ResetId>)>,
}

/// What the resets of a stretch have in common: each has an index of its own.
#[derive(Debug, Clone)]
pub(super) enum Shelf {
    All,
    Status(Status),
    Team(TeamName),
    TeamAndStatus(TeamName, Status),
    Instance(InstanceId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

/// Why a store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It is full, locked, away: it may work again by itself.
    #[error("{0}")]
    Unavailable(String),
    /// It is damaged: writing on would bury what can still be saved.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It never takes these rows, however often it is asked.
    #[error("it does not take the record: {0}")]
    Refused(String),
    /// Another has an idempotency key that one of the rows claims.
    #[error("the idempotency key is claimed already")]
    Claimed,
    /// Others have declared this writer dead, or its place in the chain is taken.
    #[error("this writer's chain was closed by another")]
    Fenced,
}

/// What the one writer of a process does with its store. Blocks.
pub(super) trait Store: Send {
    /// Keeps all rows, which are of one writer, and what they change in one transaction, synced; or none.
    /// `exported` says how far each writer's records have reached the second sink.
    fn append(&mut self, rows: &[Row<'_>], exported: &BTreeMap<String, u64>) -> Result<(), StoreError>;

    /// The last record that it has of this writer. What an append before this has not brought by now, it never will,
    /// or this fails.
    fn head(&mut self, writer: &str) -> Result<Option<Position>, StoreError>;

    /// Says that this writer lives. Nothing to do where a lock says it.
    fn renew(&mut self, writer: &str) -> Result<(), StoreError>;

    /// How often it must be said.
    fn lease(&self) -> Option<Duration>;

    /// The resets without an outcome, sent or queued, whose writer is gone; no other process gets the same, while this writer lives.
    fn orphans(&mut self, writer: &str) -> Result<Vec<Reset>, StoreError>;

    /// Takes the records up to each position, and the resets that they began, out of the store, and keeps `rows` in
    /// the same transaction.
    fn remove(&mut self, up_to: &[Position], rows: &[Row<'_>]) -> Result<u64, StoreError>;

    /// Writes the projection anew from `resets`; it stays as it was if one of them cannot be had.
    fn replace_projection(&mut self, resets: &mut Resets<'_>) -> Result<(), StoreError>;

    /// Forgets idempotency keys that were claimed before this, so many at the most; how many it were.
    fn expire_keys(&mut self, before: Timestamp, most: usize) -> Result<usize, StoreError>;

    /// Bytes that are free where it writes; None where that cannot be known.
    fn free_bytes(&self) -> Option<u64>;
}

/// Resets one after the other, or why there are no more.
pub(super) type Resets<'r> = dyn Iterator<Item = Result<Reset, StoreError>> + 'r;

/// What anybody may read of a trail, beside whoever writes it. Blocks.
pub(super) trait Source: Send + Sync {
    /// The reset of this id, from the projection.
    fn reset(&self, id: ResetId) -> Result<Option<Reset>, StoreError>;

    /// The resets of this batch, in the order in which it names them; none: there is no such batch.
    fn batch(&self, id: ResetId) -> Result<Vec<Reset>, StoreError>;

    /// Who has this caller's idempotency key since then or later, and what became of it by now.
    fn claimed(&self, caller: &str, key: &str, since: Timestamp) -> Result<Option<Claimed>, StoreError>;

    /// Up to `limit` resets whose id comes after this one, in the order of their ids.
    fn resets_after(&self, id: Option<ResetId>, limit: usize) -> Result<Vec<Reset>, StoreError>;

    /// Up to `limit` resets of this stretch, newest first. It looks at no others.
    fn history(&self, stretch: &Stretch, limit: usize) -> Result<Vec<Reset>, StoreError>;

    /// The first and the last record of every chain, in the order of the writers' names, which is that of their
    /// starts.
    fn chains(&self) -> Result<Vec<ChainEnds>, StoreError>;

    /// Up to `limit` records of one chain, after this sequence.
    fn since(&self, writer: &str, sequence: u64, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// Up to `limit` records of all chains that fit, on from `after`.
    fn page(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError>;

    /// What is wrong with what keeps the trail, beneath its records. It takes as long as reading all of it.
    fn unsound(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Only one process can write at a time, so that a chain ends before the next begins.
    fn one_writes(&self) -> bool {
        false
    }

    /// The last record of each writer that the second sink has.
    fn exported(&self) -> Result<BTreeMap<String, u64>, StoreError>;
}

/// The ends of one writer's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainEnds {
    /// The sequence of its first record here: 1, unless its beginning was pruned.
    pub first: u64,
    pub last: Position,
    /// Another process may still write to it.
    pub live: bool,
}

/// Why a trail cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Locked(#[from] super::Locked),
    #[error("the trail {trail} cannot be opened: {source}")]
    Store { trail: String, source: StoreError },
    #[error("the trail {trail} cannot be created: {source}")]
    Io { trail: String, source: std::io::Error },
    #[error(
        "the trail {trail} needs a zengate of schema version {needs} or later; this one has version {has}"
    )]
    Version { trail: String, needs: i64, has: i64 },
    #[error("the audit sink cannot be opened: {source}")]
    Sink { source: std::io::Error },
    #[error("the key that signs checkpoints: {0}")]
    Key(#[from] super::KeyFault),
}

/// What keeps it, with all that it must know.
enum Backend<'s> {
    File(&'s Path),
    Server(postgres::Settings<'s>),
}

impl<'s> Backend<'s> {
    fn of(settings: &'s config::Audit) -> Self {
        match &settings.store {
            config::AuditStore::Sqlite { path } => Self::File(path),
            config::AuditStore::Postgres { url, url_file, connections, lease } => {
                let (connections, lease, timeout) = (*connections, *lease, settings.timeout);
                Self::Server(postgres::Settings { url, url_file, connections, lease, timeout })
            }
        }
    }
}

/// Opens the store for a writer, and brings its schema up to date.
pub(super) fn open(settings: &config::Audit) -> Result<Box<dyn Store>, OpenError> {
    Ok(match Backend::of(settings) {
        Backend::File(path) => Box::new(sqlite::Writing::open(path)?),
        Backend::Server(server) => Box::new(postgres::Writing::open(&server)?),
    })
}

/// Both sides of an open store.
pub(super) struct Opened {
    pub(super) store: Box<dyn Store>,
    pub(super) source: Arc<dyn Source>,
}

/// Opens the store for reading; it must exist.
pub(super) fn open_source(settings: &config::Audit) -> Result<Arc<dyn Source>, OpenError> {
    Ok(match Backend::of(settings) {
        Backend::File(path) => Arc::new(sqlite::Reading::open(path)?),
        Backend::Server(server) => Arc::new(postgres::Reading::open(&server)?),
    })
}

/// Whether there is anything to be opened, good or not.
pub(super) fn exists(settings: &config::Audit) -> bool {
    match &settings.store {
        config::AuditStore::Sqlite { path } => path.exists(),
        // Asked when it is opened.
        config::AuditStore::Postgres { .. } => true,
    }
}

/// How messages name the trail.
pub(super) fn name(settings: &config::Audit) -> String {
    match &settings.store {
        config::AuditStore::Sqlite { path } => path.display().to_string(),
        config::AuditStore::Postgres { url, .. } => url.to_string(),
    }
}

#[cfg(test)]
mod contract;
