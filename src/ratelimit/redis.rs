//! One count for several replicas: the functions of `gcra.rs` as a script that Redis runs, by Redis' clock.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;

use redis::{FromRedisValue, ParsingError, Value};

use super::counters::{Charge, Key, Refused};
use super::local::Local;
use crate::config::OnRedisLoss;
use crate::redis::{Away, Call, Link, Script};

/// The counters in Redis, and what stands in for them while it is away.
#[derive(Debug)]
pub(super) struct Redis {
    link: Arc<Link>,
    /// None: nothing is counted then.
    stand_in: Option<StandIn>,
}

/// This replica's part of the quotas.
#[derive(Debug)]
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

impl Redis {
    pub(super) fn new(link: Arc<Link>, max_keys: usize) -> Self {
        let stand_in = match link.on_loss() {
            OnRedisLoss::Closed => None,
            OnRedisLoss::Local => Some(StandIn { local: Local::new(max_keys), replicas: link.replicas() }),
        };
        Self { link, stand_in }
    }

    /// All charges, or none, each of another key; and when that was.
    pub(super) async fn charge(&self, charges: &mut [Charge]) -> Result<u64, Refused> {
        match self.ask(What::Charge, None, charges).await {
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
        match self.ask(What::Peek, None, charges).await {
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
            _ => self.link.post(call(self.link.prefix(), What::GiveBack, None, &charges)),
        }
    }

    /// Forgets what stood in for keys that have everything left.
    pub(super) fn sweep(&self) {
        if let Some(StandIn { local, .. }) = &self.stand_in {
            local.sweep(local.now());
        }
    }

    async fn ask(&self, what: What, now: Option<u64>, charges: &[Charge]) -> Result<Answer, Away> {
        self.link.ask(&call(self.link.prefix(), what, now, charges)).await
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
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let numbers = Vec::<i64>::from_redis_value(value)?;
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        let [now, spent, wait, ref states @ ..] = numbers[..] else {
            return Err("too few numbers".to_owned().into());
        };
        Ok(Self {
            now: number(now),
            spent: usize::try_from(spent).ok().map(|charge| (charge, number(wait))),
            states: states.iter().map(|state| number(*state)).collect(),
        })
    }
}

fn call(prefix: &str, what: What, now: Option<u64>, charges: &[Charge]) -> Call {
    let call = Call::new(Script::Quotas);
    let mut call = charges.iter().fold(call, |call, charge| call.key(name(prefix, &charge.key)));
    call.push(match what {
        What::Charge => "charge",
        What::Peek => "peek",
        What::GiveBack => "give-back",
    });
    call.push(now.map(|now| now.to_string()).unwrap_or_default());
    for Charge { rate, cells, .. } in charges {
        [rate.interval, rate.burst, *cells].iter().for_each(|number| call.push(number));
    }
    call
}

/// In braces what a cluster places a key by: a request's keys are all of one team.
fn name(prefix: &str, key: &Key) -> String {
    match key {
        Key::Team(team) => format!("{prefix}{{{team}}}"),
        Key::Cooldown(team, instance) => format!("{prefix}{{{team}}}:{instance}"),
        Key::Network(network) => format!("{prefix}network:{network}"),
    }
}
