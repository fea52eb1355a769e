use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::server::{CONNECT, Driver, Server, StartFault, Unconnected};
use super::{Away, Call, Names, Script};
use crate::config::{OnRedisLoss, RedisLimits};
use crate::metrics::Metrics;

/// Pause between two tries to connect: at first none, then from the one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that held for so long was good.
const HELD: Duration = Duration::from_secs(5);
/// Posted calls under way at a time.
const AT_A_TIME: usize = 64;
/// Posted calls that wait; more come to nothing.
const MOST_POSTED: usize = 4096;

/// The one connection of this process, which a thread of its own keeps. Nobody waits for it: while it is away that is
/// told at once.
pub struct Link {
    line: Arc<Line>,
    /// The thread ends with it.
    posted: mpsc::Sender<Call>,
    thread: Handle,
    replicas: NonZeroU32,
}

/// What the thread has of it.
struct Line {
    connection: ArcSwapOption<Connection>,
    state: AtomicU8,
    prefix: String,
    timeout: Duration,
    on_loss: OnRedisLoss,
    metrics: Arc<Metrics>,
}

struct Connection {
    redis: MultiplexedConnection,
    names: Names,
    lost: Notify,
}

/// What the log last said.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum State {
    Unknown,
    Up,
    Away,
    /// It was reached, and said no.
    Refused,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// Connects, or goes on trying: returns after the first try. Only a Redis that refuses the login is a fault.
    pub fn start(settings: &RedisLimits, metrics: Arc<Metrics>) -> Result<Self, StartFault> {
        let server = Server::new(settings)?;
        let line = Arc::new(Line {
            connection: ArcSwapOption::empty(),
            state: AtomicU8::new(State::Unknown as u8),
            prefix: settings.prefix.clone(),
            timeout: settings.timeout,
            on_loss: settings.on_loss,
            metrics,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (posted, posts) = mpsc::channel(MOST_POSTED);
        let (tried, first) = blocking::sync_channel(1);
        let (kept, handle) = (line.clone(), runtime.handle().clone());
        thread::Builder::new()
            .name("redis".to_owned())
            .spawn(move || runtime.block_on(kept.keep(server, posts, tried)))?;
        match first.recv() {
            Ok(Err(fault)) => Err(fault),
            _ => Ok(Self { line, posted, thread: handle, replicas: settings.replicas }),
        }
    }

    /// Before the name of every key.
    pub fn prefix(&self) -> &str {
        &self.line.prefix
    }

    pub fn on_loss(&self) -> OnRedisLoss {
        self.line.on_loss
    }

    /// The most that share this Redis at once.
    pub fn replicas(&self) -> NonZeroU32 {
        self.replicas
    }

    /// Longest wait for an answer.
    pub fn timeout(&self) -> Duration {
        self.line.timeout
    }

    /// Redis can be asked, as far as is known.
    pub fn is_up(&self) -> bool {
        self.line.connection.load().is_some()
    }

    /// `ok`, or what is wrong and what comes of it.
    pub fn health(&self) -> &'static str {
        match (self.is_up(), self.line.on_loss) {
            (true, _) => "ok",
            (false, OnRedisLoss::Closed) => "away: resets are refused",
            (false, OnRedisLoss::Local) => "away: each replica counts its part of the quotas",
        }
    }

    /// Runs a task on the thread that keeps the connection; it ends with the link at the latest.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.thread.spawn(task);
    }

    /// Within the deadline, or not at all. What was sent is never sent again: whether it was counted is not known.
    pub async fn ask<A: FromRedisValue>(&self, call: &Call) -> Result<A, Away> {
        self.line.ask(call).await
    }

    /// Without an answer. Never waits: what finds no room, or Redis away, comes to nothing.
    pub fn post(&self, call: Call) {
        if self.posted.try_send(call).is_err() {
            self.line.metrics.redis_failed("queue");
        }
    }
}

impl Line {
    async fn ask<A: FromRedisValue>(&self, call: &Call) -> Result<A, Away> {
        let Some(connection) = self.connection.load_full() else {
            self.metrics.redis_failed("away");
            return Err(Away);
        };
        let (reason, cause) = match timeout(self.timeout, connection.run(call)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => ("error", error.to_string()),
            Err(_) => ("timeout", format!("no answer within {:?}", self.timeout)),
        };
        self.metrics.redis_failed(reason);
        // Whoever is first tells; the others' connection may be another by now.
        let lost = self.connection.compare_and_swap(&connection, None);
        if lost.as_ref().is_some_and(|lost| Arc::ptr_eq(lost, &connection)) {
            self.say(State::Away, &cause);
            connection.lost.notify_one();
        }
        Err(Away)
    }

    /// Connects again and again, until nobody counts any more.
    async fn keep(
        self: Arc<Self>,
        mut server: Server,
        mut posts: mpsc::Receiver<Call>,
        tried: blocking::SyncSender<Result<(), StartFault>>,
    ) {
        let mut pause = Duration::ZERO;
        let mut first = Some(tried);
        loop {
            let connected = match timeout(CONNECT, self.connect(&server)).await {
                Ok(connected) => connected,
                Err(_) => Err(Unconnected::Late(server.to_string())),
            };
            match connected {
                Ok((connection, driver)) => {
                    self.connection.store(Some(connection.clone()));
                    self.say(State::Up, "");
                    tell(&mut first, Ok(()));
                    let began = Instant::now();
                    tokio::select! {
                        () = driver => {}
                        () = connection.lost.notified() => {}
                        () = self.carry(&mut posts) => return,
                    }
                    self.connection.store(None);
                    self.say(State::Away, "the connection has ended");
                    if began.elapsed() > HELD {
                        pause = Duration::ZERO;
                    }
                }
                Err(error) => {
                    let state = if error.is_refusal() { State::Refused } else { State::Away };
                    self.say(state, &error.to_string());
                    if first.is_some() {
                        match error.login() {
                            Ok(fault) => return tell(&mut first, Err(fault)),
                            Err(_) => tell(&mut first, Ok(())),
                        }
                    }
                }
            }
            // Replicas that lost it together do not come back together.
            let jittered = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            if timeout(jittered, self.leave(&mut posts)).await.is_ok() {
                return;
            }
            pause = (pause * 2).clamp(PAUSES.0, PAUSES.1);
            server.read_again();
        }
    }

    /// A connection over which every script works: one to a replica, or to a full Redis, does not count.
    async fn connect(&self, server: &Server) -> Result<(Arc<Connection>, Driver), Unconnected> {
        let (redis, names, mut driver) = server.connect().await?;
        let connection = Arc::new(Connection { redis, names, lost: Notify::new() });
        let probe = async {
            for script in Script::ALL {
                connection.run::<redis::Value>(&script.probe(&self.prefix)).await?;
            }
            Ok(())
        };
        let probed: Result<(), RedisError> = tokio::select! {
            probed = probe => probed,
            () = &mut driver => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        };
        match probed {
            Ok(()) => Ok((connection, driver)),
            Err(error) => Err(Unconnected::Refused(server.to_string(), error)),
        }
    }

    /// Until no more can come.
    async fn carry(&self, posts: &mut mpsc::Receiver<Call>) {
        let mut some = Vec::with_capacity(AT_A_TIME);
        while posts.recv_many(&mut some, AT_A_TIME).await > 0 {
            join_all(some.iter().map(|call| self.ask::<redis::Value>(call))).await;
            some.clear();
        }
    }

    /// What comes while Redis is away comes to nothing. Until no more can come.
    async fn leave(&self, posts: &mut mpsc::Receiver<Call>) {
        while posts.recv().await.is_some() {
            self.metrics.redis_failed("away");
        }
    }

    /// One line a change.
    fn say(&self, state: State, cause: &str) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        self.metrics.redis_is(state == State::Up);
        let instead = match self.on_loss {
            OnRedisLoss::Closed => "resets are refused",
            OnRedisLoss::Local => "each replica counts its part of the quotas",
        };
        if before == state as u8 {
            return;
        }
        match state {
            State::Up => tracing::info!("Redis counts the quotas"),
            // Why it says no was told, and that it cannot be reached meanwhile is no news.
            State::Away if before == State::Refused as u8 => {
                self.state.store(State::Refused as u8, Ordering::Relaxed);
            }
            State::Unknown | State::Away | State::Refused => {
                tracing::warn!("Redis is away, so {instead}: {cause}");
            }
        }
    }
}

impl Connection {
    async fn run<A: FromRedisValue>(&self, call: &Call) -> Result<A, RedisError> {
        call.run(&self.redis, &self.names).await
    }
}

fn tell(first: &mut Option<blocking::SyncSender<Result<(), StartFault>>>, what: Result<(), StartFault>) {
    if let Some(first) = first.take() {
        _ = first.send(what);
    }
}
