use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::claim::Claim;
use super::event::Event;
use super::record::{self, Facts, Kind};
use super::store::{Opened, Projection};
use super::thread::Thread;
use super::{About, OpenError, Position, Reset, SigningKey, store};
use crate::config;
use crate::domain::{Effort, Outcome, Status};
use crate::metrics::Metrics;

/// Records that may wait for the disk at a time; past them new resets are refused.
const QUEUE: usize = 4096;

/// The cause of an outcome that others have written.
pub(super) const WRITER_GONE: &str = "writer gone";

/// A record without its place in the chain.
pub(super) struct Draft {
    pub(super) rest: String,
    pub(super) projection: Projection,
    pub(super) claim: Option<Box<Claim>>,
    /// What has happened must be written, however late; what was only asked for need not.
    pub(super) must_land: bool,
}

/// Why a record is not on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("{QUEUE} records wait for the disk already")]
    Full,
    #[error("the idempotency key is claimed already")]
    Claimed,
    #[error("the trail is closed")]
    Closed,
    #[error("the commit took longer than {0:?}")]
    Late(Duration),
    #[error("the commit failed: {0}")]
    Commit(String),
}

/// Records that go together: all of them, or none.
pub(super) type Group = Vec<Draft>;

/// Who waits for a group's places; nobody for what is only posted.
pub(super) type Reply = Option<oneshot::Sender<Result<Vec<Position>, WriteError>>>;

pub(super) enum Job {
    Write {
        group: Group,
        reply: Reply,
    },
    /// How far the second sink has come.
    Exported {
        writer: String,
        sequence: u64,
    },
    /// Idempotency keys that were claimed before this are forgotten.
    ExpireKeys(Timestamp),
    Stop,
}

/// What the thread tells of itself.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) queued: AtomicUsize,
    /// The last commit succeeded.
    pub(super) healthy: AtomicBool,
    /// Free space is below the reserve.
    pub(super) scarce: AtomicBool,
    pub(super) life: Mutex<Life>,
}

/// Whose chain grows, and until when no other may take that writer for dead.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) writer: String,
    /// None: in a file nobody else may at all.
    pub(super) until: Option<Instant>,
}

/// The handle of the one thread that writes.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    standing: Arc<Standing>,
    /// Longest wait for an intent.
    timeout: Duration,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    metrics: Arc<Metrics>,
}

impl Draft {
    pub(super) fn queued(
        time: Timestamp,
        facts: &Facts<'_>,
        reset: &Reset,
        claim: Option<Box<Claim>>,
    ) -> Self {
        let projection = Projection::Open(Box::new(reset.clone()));
        Self { rest: record::rest(Kind::Queued, time, facts), projection, claim, must_land: false }
    }

    pub(super) fn intent(
        time: Timestamp,
        facts: &Facts<'_>,
        reset: &Reset,
        claim: Option<Box<Claim>>,
    ) -> Self {
        let reset = Box::new(reset.clone());
        let projection =
            if reset.batch.is_some() { Projection::Send(reset) } else { Projection::Open(reset) };
        Self { rest: record::rest(Kind::Intent, time, facts), projection, claim, must_land: false }
    }

    pub(super) fn refused(time: Timestamp, facts: &Facts<'_>) -> Self {
        Self { must_land: false, ..Self::plain(record::rest(Kind::Refused, time, facts)) }
    }

    pub(super) fn read(time: Timestamp, facts: &Facts<'_>) -> Self {
        Self { must_land: false, ..Self::plain(record::rest(Kind::Read, time, facts)) }
    }

    pub(super) fn outcome(
        about: &About,
        outcome: &Outcome,
        effort: Option<Effort>,
        at: Timestamp,
        cause: Option<&'static str>,
    ) -> Self {
        let cause = cause.or(outcome.cause());
        let facts = Facts::of_outcome(about, outcome, effort, cause);
        let (id, gone) = (about.reset, cause == Some(WRITER_GONE));
        let unsent = cause.filter(|_| outcome.status() == Status::NotSent);
        // Surely nothing came of it: whoever asks again with its key is served. A batch keeps its key.
        let nothing = matches!(outcome, Outcome::Rejected { .. } | Outcome::NotSent(_));
        let releases = (nothing && about.batch.is_none()).then_some(id);
        let projection =
            Projection::Close { id, outcome: outcome.clone(), at, cause: unsent, gone, releases };
        Self { projection, ..Self::plain(record::rest(Kind::Outcome, at, &facts)) }
    }

    pub(super) fn event(event: &Event<'_>) -> Self {
        Self::plain(record::rest(event.kind(), Timestamp::now(), event))
    }

    /// A record that must land, and changes nothing beside it.
    fn plain(rest: String) -> Self {
        Self { rest, projection: Projection::None, claim: None, must_land: true }
    }
}

/// What has happened never goes together with what was only asked for.
pub(super) fn must_land(group: &[Draft]) -> bool {
    group.iter().all(|draft| draft.must_land)
}

impl Writer {
    /// Opens the store and starts a chain in it.
    pub(super) fn start(
        settings: &config::Audit,
        key: SigningKey,
        committed: impl Fn(&Position) + Send + 'static,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let store = store::open(settings)?;
        let opened = Opened { store, source: store::open_source(settings)? };
        Self::over(opened, settings, key, committed, metrics)
    }

    pub(super) fn over(
        opened: Opened,
        settings: &config::Audit,
        key: SigningKey,
        committed: impl Fn(&Position) + Send + 'static,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let standing = Arc::new(Standing {
            queued: AtomicUsize::new(0),
            healthy: AtomicBool::new(true),
            scarce: AtomicBool::new(false),
            life: Mutex::default(),
        });
        let (committed, told) = (Box::new(committed), standing.clone());
        let thread = Thread::start(opened, settings, key, committed, told, metrics.clone());
        let trail = || store::name(settings);
        let thread = thread.map_err(|source| OpenError::Store { trail: trail(), source })?;
        let (jobs, queue) = channel();
        let spawned = std::thread::Builder::new().name("audit".to_owned()).spawn(move || thread.run(&queue));
        let spawned = spawned.map_err(|source| OpenError::Io { trail: trail(), source })?;
        let thread = Arc::new(Mutex::new(Some(spawned)));
        Ok(Self { jobs, standing, timeout: settings.timeout, thread, metrics })
    }

    /// Returns once the record is on the disk, or will not be. What must land is waited for as long as it takes to
    /// know that it has to be tried again.
    pub(super) async fn write(&self, draft: Draft) -> Result<Position, WriteError> {
        let mut places = self.write_together(vec![draft]).await?;
        Ok(places.pop().expect("as many as drafts"))
    }

    /// The same of several, in one transaction.
    pub(super) async fn write_together(&self, group: Group) -> Result<Vec<Position>, WriteError> {
        let bound = (!must_land(&group)).then_some(self.timeout);
        let (reply, mut answer) = oneshot::channel();
        self.send(group, Some(reply))?;
        let Some(bound) = bound else { return answer.await.unwrap_or(Err(WriteError::Closed)) };
        match tokio::time::timeout(bound, &mut answer).await {
            Ok(answered) => answered.unwrap_or(Err(WriteError::Closed)),
            Err(_) => {
                // What was answered before this is kept; after it the thread sees that nobody listens, and closes.
                answer.close();
                answer.try_recv().unwrap_or(Err(WriteError::Late(bound)))
            }
        }
    }

    /// Returns at once.
    pub(super) fn post(&self, draft: Draft) {
        if let Err(error) = self.send(vec![draft], None) {
            self.metrics.records_lost(1);
            tracing::error!("a record of the trail is lost: {error}");
        }
    }

    /// Says how far the second sink has come.
    pub(super) fn exported(&self, writer: String, sequence: u64) {
        // A thread that has gone needs it no more: what the sink has seen twice is no harm.
        _ = self.jobs.send(Job::Exported { writer, sequence });
    }

    /// Has idempotency keys forgotten that were claimed before this. Returns at once.
    pub(super) fn expire_keys(&self, before: Timestamp) {
        // A thread that has gone forgets none: the next one does.
        _ = self.jobs.send(Job::ExpireKeys(before));
    }

    fn send(&self, group: Group, reply: Reply) -> Result<(), WriteError> {
        // Outcomes are as many as intents, so bounding what is asked for bounds them too.
        if self.standing.queued.load(Ordering::Relaxed) >= QUEUE && !must_land(&group) {
            return Err(WriteError::Full);
        }
        self.standing.queued.fetch_add(group.len(), Ordering::Relaxed);
        self.jobs.send(Job::Write { group, reply }).map_err(|_| WriteError::Closed)
    }

    pub(super) fn healthy(&self) -> bool {
        self.standing.healthy.load(Ordering::Relaxed)
    }

    /// Whether it still writes under this name, and nobody can have declared that one gone.
    pub(super) fn lives_as(&self, writer: &str) -> bool {
        let life = self.standing.life.lock().expect("nothing panics while it holds the lock");
        life.writer == writer && life.until.is_none_or(|until| Instant::now() < until)
    }

    pub(super) fn scarce(&self) -> bool {
        self.standing.scarce.load(Ordering::Relaxed)
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
