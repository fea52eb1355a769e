use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::lock::Lock;
use super::record::{self, Chain, Facts, Kind};
use super::{OpenError, Position, Reset, close_draft, sqlite};
use crate::domain::{Outcome, ResetId};
use crate::metrics::Metrics;

/// Records that may wait for the disk at a time; past them new resets are refused.
const QUEUE: usize = 4096;
/// Most records of one commit.
const GROUP: usize = 256;
/// Pause before what could not be written is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// A record without its place in the chain.
pub(super) struct Draft {
    rest: String,
    projection: Projection,
}

/// What a record changes in the projection.
pub(super) enum Projection {
    None,
    Open(Box<Reset>),
    Close { id: ResetId, outcome: Outcome, at: Timestamp },
}

/// Why a record is not on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("{QUEUE} records wait for the disk already")]
    Full,
    #[error("the trail is closed")]
    Closed,
    #[error("the commit failed: {0}")]
    Commit(String),
}

/// Who waits for a record's place; nobody for what is only posted.
type Reply = Option<oneshot::Sender<Result<Position, WriteError>>>;

enum Job {
    Write { draft: Draft, reply: Reply },
    Stop,
}

/// The handle of the one thread that writes.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    queued: Arc<AtomicUsize>,
    healthy: Arc<AtomicBool>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    metrics: Arc<Metrics>,
}

impl Draft {
    pub(super) fn new(kind: Kind, time: Timestamp, facts: &Facts<'_>, projection: Projection) -> Self {
        Self { rest: record::rest(kind, time, facts), projection }
    }

    /// What has happened must be written, however late; what was only asked for need not.
    fn must_land(&self) -> bool {
        matches!(self.projection, Projection::Close { .. })
    }
}

impl Writer {
    pub(super) fn start(path: &Path, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let lock = Lock::take(path)?;
        let store = |source| OpenError::Store { path: path.display().to_string(), source };
        let connection = sqlite::open(path)?;
        let heads = sqlite::heads(&connection).map_err(store)?;
        let left_open = sqlite::open_resets(&connection).map_err(store)?;
        let healthy = Arc::new(AtomicBool::new(true));
        let queued = Arc::new(AtomicUsize::new(0));
        let mut thread = Thread {
            connection,
            queued: queued.clone(),
            chain: Chain::new(Uuid::now_v7().to_string()),
            waiting: Vec::new(),
            healthy: healthy.clone(),
            metrics: metrics.clone(),
            _lock: lock,
        };
        let mut first =
            vec![Draft::new(Kind::Start, Timestamp::now(), &Facts::of_start(heads), Projection::None)];
        let unknown = Outcome::Unknown { upstream_code: None, upstream_request_id: None };
        first.extend(
            left_open.iter().map(|id| close_draft(*id, &unknown, Timestamp::now(), Some("writer gone"))),
        );
        if !left_open.is_empty() {
            tracing::warn!(
                resets = left_open.len(),
                "resets were in flight when the last writer of the trail ended: they are recorded as unknown"
            );
        }
        thread.commit(&first).map_err(store)?;
        left_open.iter().for_each(|_| metrics.reset(unknown.status().as_str()));
        let (jobs, queue) = channel();
        let spawned = std::thread::Builder::new().name("audit".to_owned()).spawn(move || thread.run(&queue));
        let spawned = spawned.map_err(|source| OpenError::Io { path: path.display().to_string(), source })?;
        Ok(Self { jobs, queued, healthy, thread: Arc::new(Mutex::new(Some(spawned))), metrics })
    }

    /// Returns once the record is on the disk, or will not be.
    pub(super) async fn write(&self, draft: Draft) -> Result<Position, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.send(draft, Some(reply))?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Returns at once.
    pub(super) fn post(&self, draft: Draft) {
        if let Err(error) = self.send(draft, None) {
            self.metrics.records_lost(1);
            tracing::error!("a record of the trail is lost: {error}");
        }
    }

    fn send(&self, draft: Draft, reply: Reply) -> Result<(), WriteError> {
        // Outcomes are as many as intents, so bounding what is asked for bounds them too.
        if self.queued.load(Ordering::Relaxed) >= QUEUE && !draft.must_land() {
            return Err(WriteError::Full);
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.jobs.send(Job::Write { draft, reply }).map_err(|_| WriteError::Closed)
    }

    /// A reset whose handler ended without an outcome.
    pub(super) fn abandon(&self, id: ResetId) {
        let unknown = Outcome::Unknown { upstream_code: None, upstream_request_id: None };
        self.metrics.reset(unknown.status().as_str());
        self.post(close_draft(id, &unknown, Timestamp::now(), Some("abandoned")));
    }

    pub(super) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        let thread = self.thread.lock().expect("nothing panics while it holds the lock").take();
        if let Some(thread) = thread {
            // A thread that is gone already cannot be told to stop, and need not.
            _ = self.jobs.send(Job::Stop);
            _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

struct Thread {
    connection: Connection,
    queued: Arc<AtomicUsize>,
    chain: Chain,
    /// What must land and has not.
    waiting: Vec<Draft>,
    healthy: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    _lock: Lock,
}

impl Thread {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let first = if self.waiting.is_empty() {
                queue.recv().ok()
            } else {
                match queue.recv_timeout(RETRY) {
                    Ok(job) => Some(job),
                    Err(RecvTimeoutError::Timeout) => {
                        self.write_group(Vec::new());
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => None,
                }
            };
            let mut group = Vec::new();
            let mut stopping = first.is_none();
            for job in first.into_iter().chain(queue.try_iter().take(GROUP - 1)) {
                match job {
                    Job::Write { draft, reply } => group.push((draft, reply)),
                    Job::Stop => stopping = true,
                }
            }
            if !group.is_empty() {
                self.queued.fetch_sub(group.len(), Ordering::Relaxed);
                self.write_group(group);
            }
            if stopping {
                let stop = Draft::new(Kind::Stop, Timestamp::now(), &Facts::default(), Projection::None);
                self.write_group(vec![(stop, None)]);
                if !self.waiting.is_empty() {
                    tracing::error!(
                        records = self.waiting.len(),
                        "outcomes are not in the trail: their resets will be recorded as unknown"
                    );
                }
                return;
            }
        }
    }

    /// Commits the group with what waits; each gets its answer.
    fn write_group(&mut self, group: Vec<(Draft, Reply)>) {
        let waited = self.waiting.len();
        let mut drafts = std::mem::take(&mut self.waiting);
        let (new, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        drafts.extend(new);
        let result = self.commit(&drafts);
        if let Err(error) = &result {
            let lost = drafts
                .iter()
                .skip(waited)
                .zip(&replies)
                .filter(|(draft, reply)| reply.is_none() && !draft.must_land());
            self.metrics.records_lost(lost.count());
            drafts.retain(Draft::must_land);
            self.waiting = drafts;
            self.metrics.commit_failed(self.waiting.len());
            // One line a change, not one a failure.
            if self.healthy.swap(false, Ordering::Relaxed) {
                tracing::error!("the trail cannot be written, so resets are refused until it can: {error}");
            }
        } else {
            self.metrics.pending(0);
            if !self.healthy.swap(true, Ordering::Relaxed) {
                tracing::info!("the trail can be written again");
            }
        }
        let result = result.map_err(|error| WriteError::Commit(error.to_string()));
        for (index, reply) in replies.into_iter().enumerate() {
            let Some(reply) = reply else { continue };
            // Whoever asked may have gone; the record stands all the same.
            _ = reply.send(
                result.as_ref().map(|positions| positions[waited + index].clone()).map_err(Clone::clone),
            );
        }
    }

    /// All of them in one transaction, synced; or none, with the chain where it was.
    fn commit(&mut self, drafts: &[Draft]) -> Result<Vec<Position>, rusqlite::Error> {
        let started = Instant::now();
        let mut chain = self.chain.clone();
        let transaction = self.connection.transaction()?;
        let mut positions = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let (position, record) = chain.append(&draft.rest);
            sqlite::insert(&transaction, &position, &record, &draft.projection)?;
            positions.push(position);
        }
        transaction.commit()?;
        self.chain = chain;
        self.metrics.committed(started.elapsed());
        Ok(positions)
    }
}
