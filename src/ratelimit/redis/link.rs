use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::server::{CONNECT, Driver, Server, StartFault, Unconnected};
use super::{Answer, Away, Charge, Key, What};
use crate::config::RedisLimits;
use crate::metrics::Metrics;
use crate::ratelimit::gcra::Rate;

/// Pause between two tries to connect: at first none, then from the one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that held for so long was good.
const HELD: Duration = Duration::from_secs(5);
/// Give-backs under way at a time.
const AT_A_TIME: usize = 64;

/// The one connection of this process, which a thread of its own keeps. Nobody waits for it: while it is away that is
/// told at once.
pub(super) struct Link {
    connection: ArcSwapOption<Connection>,
    state: AtomicU8,
    prefix: String,
    timeout: Duration,
    /// Quotas are counted in this process meanwhile.
    stands_in: bool,
    metrics: Arc<Metrics>,
}

pub(super) struct Connection {
    pub(super) redis: MultiplexedConnection,
    /// The name that Redis gave the script.
    pub(super) script: String,
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

impl Link {
    /// Returns after the first try to connect.
    pub(super) fn start(
        settings: &RedisLimits,
        back: mpsc::Receiver<Vec<Charge>>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, StartFault> {
        let server = Server::new(settings)?;
        let link = Arc::new(Self {
            connection: ArcSwapOption::empty(),
            state: AtomicU8::new(State::Unknown as u8),
            prefix: settings.prefix.clone(),
            timeout: settings.timeout,
            stands_in: settings.on_loss != crate::config::OnRedisLoss::Closed,
            metrics,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (tried, first) = blocking::sync_channel(1);
        let kept = link.clone();
        thread::Builder::new()
            .name("redis".to_owned())
            .spawn(move || runtime.block_on(kept.keep(server, back, tried)))?;
        match first.recv() {
            Ok(Err(fault)) => Err(fault),
            _ => Ok(link),
        }
    }

    /// Within the deadline, or not at all. What was sent is never sent again: whether it was counted is not known.
    pub(super) async fn ask(&self, what: What, now: Option<u64>, charges: &[Charge]) -> Result<Answer, Away> {
        let Some(connection) = self.connection.load_full() else {
            self.metrics.redis_failed("away");
            return Err(Away);
        };
        let (reason, cause) =
            match timeout(self.timeout, connection.run(&self.prefix, what, now, charges)).await {
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
        mut back: mpsc::Receiver<Vec<Charge>>,
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
                        () = self.give_back(&mut back) => return,
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
            if timeout(jittered, self.leave(&mut back)).await.is_ok() {
                return;
            }
            pause = (pause * 2).clamp(PAUSES.0, PAUSES.1);
            server.read_again();
        }
    }

    /// A connection over which a charge works: one to a replica, or to a full Redis, does not count.
    async fn connect(&self, server: &Server) -> Result<(Arc<Connection>, Driver), Unconnected> {
        let (redis, script, mut driver) = server.connect().await?;
        let connection = Arc::new(Connection { redis, script, lost: Notify::new() });
        let rate = Rate { interval: 1, burst: 1 };
        let probe = [Charge::new(Key::Probe, rate, 0)];
        let probed: Result<_, RedisError> = tokio::select! {
            probed = connection.run(&self.prefix, What::Charge, None, &probe) => probed,
            () = &mut driver => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        };
        match probed {
            Ok(_) => Ok((connection, driver)),
            Err(error) => Err(Unconnected::Refused(server.to_string(), error)),
        }
    }

    /// Until no more can come.
    async fn give_back(&self, back: &mut mpsc::Receiver<Vec<Charge>>) {
        let mut some = Vec::with_capacity(AT_A_TIME);
        while back.recv_many(&mut some, AT_A_TIME).await > 0 {
            join_all(some.iter().map(|charges| self.ask(What::GiveBack, None, charges))).await;
            some.clear();
        }
    }

    /// What comes while Redis is away stays charged there. Until no more can come.
    async fn leave(&self, back: &mut mpsc::Receiver<Vec<Charge>>) {
        while back.recv().await.is_some() {
            self.metrics.redis_failed("away");
        }
    }

    /// One line a change.
    fn say(&self, state: State, cause: &str) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        self.metrics.redis_is(state == State::Up);
        let instead =
            if self.stands_in { "each replica counts its part of the quotas" } else { "resets are refused" };
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

fn tell(first: &mut Option<blocking::SyncSender<Result<(), StartFault>>>, what: Result<(), StartFault>) {
    if let Some(first) = first.take() {
        _ = first.send(what);
    }
}
