use ipnet::IpNet;

use super::gcra::{self, Rate};
use super::local::{Local, Overflow};
use super::redis::Redis;
use crate::domain::{InstanceId, TeamName};
use crate::redis::Away;

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Team(TeamName),
    Cooldown(TeamName, InstanceId),
    /// Failed authentications of one client network.
    Network(IpNet),
}

/// Cells of one key.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) key: Key,
    pub(super) rate: Rate,
    pub(super) cells: u64,
    /// The key's, once its counters were asked: with these cells, or as it was found if nothing was charged.
    pub(super) state: u64,
    /// Counted in this process while Redis was away.
    pub(super) stood_in: bool,
}

/// Why nothing was charged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The charge at this index finds too few cells free at `now`; microseconds to wait.
    Spent {
        charge: usize,
        wait: u64,
        now: u64,
    },
    Overflow(Overflow),
    Away(Away),
}

/// Where the charged quotas are counted. Times are microseconds by the clock of whoever counts.
#[derive(Debug)]
pub(super) enum Counters {
    Local(Local),
    Redis(Redis),
}

impl Charge {
    pub(super) fn new(key: Key, rate: Rate, cells: u64) -> Self {
        Self { key, rate, cells, state: 0, stood_in: false }
    }

    pub(super) fn left(&self, now: u64) -> gcra::Standing {
        self.rate.standing(self.state, now)
    }
}

impl Counters {
    /// All charges, or none, each of another key; and when that was.
    pub(super) async fn charge(&self, charges: &mut [Charge]) -> Result<u64, Refused> {
        match self {
            Self::Local(local) => {
                let now = local.now();
                local.charge(charges, now).map(|()| now)
            }
            Self::Redis(redis) => redis.charge(charges).await,
        }
    }

    /// Finds the states and charges nothing; and when that was.
    pub(super) async fn peek(&self, charges: &mut [Charge]) -> Result<u64, Away> {
        match self {
            Self::Local(local) => {
                local.peek(charges);
                Ok(local.now())
            }
            Self::Redis(redis) => redis.peek(charges).await,
        }
    }

    /// Never waits.
    pub(super) fn give_back(&self, charges: impl Iterator<Item = Charge>) {
        match self {
            Self::Local(local) => charges.for_each(|charge| local.give_back(&charge)),
            Self::Redis(redis) => {
                let charges: Vec<_> = charges.collect();
                if !charges.is_empty() {
                    redis.give_back(charges);
                }
            }
        }
    }

    /// Forgets the keys that have everything left. Takes milliseconds.
    pub(super) fn sweep(&self) {
        match self {
            Self::Local(local) => local.sweep(local.now()),
            Self::Redis(redis) => redis.sweep(),
        }
    }
}
