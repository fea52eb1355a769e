//! One count for several replicas: the functions of `gcra.rs` as a script that Redis runs, by Redis' clock.

mod link;
mod server;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, cmd};
use tokio::sync::mpsc;

use super::counters::{Charge, Key, Refused};
use super::local::Local;
use crate::config::{OnRedisLoss, RedisLimits};
use crate::metrics::Metrics;

use link::{Connection, Link};
pub use server::StartFault;

const SCRIPT: &str = include_str!("gcra.lua");
/// Charges that wait to be given back; more stay charged.
const MOST_BACK: usize = 4096;

/// Redis cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the quotas cannot be counted: Redis is away")]
pub struct Away;

/// The counters in Redis, and what stands in for them while it is away.
pub(super) struct Redis {
    link: Arc<Link>,
    /// The thread of the link ends with it.
    back: mpsc::Sender<Vec<Charge>>,
    /// None: nothing is counted then.
    stand_in: Option<StandIn>,
    metrics: Arc<Metrics>,
}

/// This replica's part of the quotas.
struct StandIn {
    local: Local,
    replicas: NonZeroU32,
}

#[derive(Clone, Copy)]
enum What {
    Charge,
    Peek,
    GiveBack,
}

/// What the script answers.
struct Answer {
    now: u64,
    /// The index of the first key that is spent, and how long to wait for it.
    spent: Option<(usize, u64)>,
    states: Vec<u64>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
}

impl Redis {
    /// Connects, or goes on trying; only a Redis that refuses the login is a fault.
    pub(super) fn start(
        settings: &RedisLimits,
        max_keys: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartFault> {
        let stand_in = match settings.on_loss {
            OnRedisLoss::Closed => None,
            OnRedisLoss::Local { replicas } => Some(StandIn { local: Local::new(max_keys), replicas }),
        };
        let (back, given_back) = mpsc::channel(MOST_BACK);
        let link = Link::start(settings, given_back, metrics.clone())?;
        Ok(Self { link, back, stand_in, metrics })
    }

    /// All charges, or none, each of another key; and when that was.
    pub(super) async fn charge(&self, charges: &mut [Charge]) -> Result<u64, Refused> {
        match self.link.ask(What::Charge, None, charges).await {
            Ok(answer) => answer.tell(charges),
            Err(away) => match &self.stand_in {
                Some(StandIn { local, replicas }) => {
                    divide(charges, *replicas);
                    let now = local.now();
                    local.charge(charges, now).map(|()| now)
                }
                None => Err(Refused::Away(away)),
            },
        }
    }

    /// Finds the states and charges nothing; and when that was.
    pub(super) async fn peek(&self, charges: &mut [Charge]) -> Result<u64, Away> {
        match self.link.ask(What::Peek, None, charges).await {
            Ok(Answer { now, states, .. }) => {
                put(charges, states);
                Ok(now)
            }
            Err(away) => {
                let StandIn { local, replicas } = self.stand_in.as_ref().ok_or(away)?;
                divide(charges, *replicas);
                local.peek(charges);
                Ok(local.now())
            }
        }
    }

    /// Where they were counted; all of them in the same place. Never waits: what finds no room stays charged.
    pub(super) fn give_back(&self, charges: Vec<Charge>) {
        match &self.stand_in {
            Some(StandIn { local, .. }) if charges.iter().any(|charge| charge.stood_in) => {
                charges.iter().for_each(|charge| local.give_back(charge));
            }
            _ => {
                if self.back.try_send(charges).is_err() {
                    self.metrics.redis_failed("queue");
                }
            }
        }
    }

    /// Forgets what stood in for keys that have everything left.
    pub(super) fn sweep(&self) {
        if let Some(StandIn { local, .. }) = &self.stand_in {
            local.sweep(local.now());
        }
    }
}

/// For this replica alone.
fn divide(charges: &mut [Charge], replicas: NonZeroU32) {
    for charge in charges {
        charge.rate = charge.rate.part_of(replicas);
        charge.stood_in = true;
    }
}

fn put(charges: &mut [Charge], states: Vec<u64>) {
    for (charge, state) in charges.iter_mut().zip(states) {
        charge.state = state;
    }
}

impl Answer {
    fn tell(self, charges: &mut [Charge]) -> Result<u64, Refused> {
        let Self { now, spent, states } = self;
        put(charges, states);
        match spent {
            Some((charge, wait)) => Err(Refused::Spent { charge, wait, now }),
            None => Ok(now),
        }
    }

    fn of(numbers: Vec<i64>) -> Result<Self, RedisError> {
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        let [now, spent, wait, ref states @ ..] = numbers[..] else {
            return Err(RedisError::from((ErrorKind::UnexpectedReturnType, "too few numbers")));
        };
        Ok(Self {
            now: number(now),
            spent: usize::try_from(spent).ok().map(|charge| (charge, number(wait))),
            states: states.iter().map(|state| number(*state)).collect(),
        })
    }
}

impl Connection {
    /// Runs the script, by its name where Redis knows it.
    async fn run(
        &self,
        prefix: &str,
        what: What,
        now: Option<u64>,
        charges: &[Charge],
    ) -> Result<Answer, RedisError> {
        let mut redis = self.redis.clone();
        let mut by_name = cmd("EVALSHA");
        by_name.arg(&self.script);
        fill(&mut by_name, prefix, what, now, charges);
        let numbers = match by_name.query_async(&mut redis).await {
            // It was told to forget its scripts: nothing has run.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut whole = cmd("EVAL");
                whole.arg(SCRIPT);
                fill(&mut whole, prefix, what, now, charges);
                whole.query_async(&mut redis).await
            }
            answer => answer,
        };
        Answer::of(numbers?)
    }
}

fn fill(command: &mut Cmd, prefix: &str, what: What, now: Option<u64>, charges: &[Charge]) {
    command.arg(charges.len());
    for charge in charges {
        command.arg(name(prefix, &charge.key));
    }
    command.arg(match what {
        What::Charge => "charge",
        What::Peek => "peek",
        What::GiveBack => "give-back",
    });
    match now {
        Some(now) => command.arg(now),
        None => command.arg(""),
    };
    for Charge { rate, cells, .. } in charges {
        command.arg(rate.interval).arg(rate.burst).arg(*cells);
    }
}

/// In braces what a cluster places a key by: a request's keys are all of one team.
fn name(prefix: &str, key: &Key) -> String {
    match key {
        Key::Team(team) => format!("{prefix}{{{team}}}"),
        Key::Cooldown(team, instance) => format!("{prefix}{{{team}}}:{instance}"),
        Key::Probe => format!("{prefix}probe"),
        Key::Network(network) => format!("{prefix}network:{network}"),
    }
}
