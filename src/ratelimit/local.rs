use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use ipnet::IpNet;

use super::gcra::Rate;
use crate::domain::{InstanceId, TeamName};

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
    /// The key's, once [`Counters::charge`] had it: with these cells, or as it was found if nothing was charged.
    pub(super) state: u64,
}

/// Why nothing was charged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The charge at this index finds too few cells free; microseconds to wait.
    Spent {
        charge: usize,
        wait: u64,
    },
    Overflow(Overflow),
}

/// As many keys as can be counted are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many quotas in use")]
pub struct Overflow;

/// The states of all keys, in this process. A key without a state has everything left.
#[derive(Debug)]
pub(super) struct Counters {
    states: Mutex<HashMap<Key, u64>>,
    max_keys: usize,
}

impl Charge {
    pub(super) fn new(key: Key, rate: Rate, cells: u64) -> Self {
        Self { key, rate, cells, state: 0 }
    }
}

impl Counters {
    pub(super) fn new(max_keys: usize) -> Self {
        Self { states: Mutex::default(), max_keys }
    }

    /// All charges at `now`, or none; each is of another key.
    pub(super) fn charge(&self, charges: &mut [&mut Charge], now: u64) -> Result<(), Refused> {
        let mut states = self.lock();
        if states.len() + charges.len() > self.max_keys {
            states.retain(|_, state| *state > now);
            if states.len() + charges.len() > self.max_keys {
                return Err(Refused::Overflow(Overflow));
            }
        }
        for charge in charges.iter_mut() {
            charge.state = states.get(&charge.key).copied().unwrap_or_default();
        }
        let after = charges.iter().enumerate().map(|(index, charge)| {
            let spent = |wait| Refused::Spent { charge: index, wait };
            charge.rate.charge(charge.state, now, charge.cells).map_err(spent)
        });
        let after = after.collect::<Result<Vec<_>, _>>()?;
        for (charge, state) in charges.iter_mut().zip(after) {
            charge.state = state;
            states.insert(charge.key.clone(), state);
        }
        Ok(())
    }

    pub(super) fn give_back(&self, charge: &Charge) {
        if let Some(state) = self.lock().get_mut(&charge.key) {
            *state = charge.rate.give_back(*state, charge.cells);
        }
    }

    pub(super) fn peek(&self, key: &Key) -> u64 {
        self.lock().get(key).copied().unwrap_or_default()
    }

    /// Forgets the keys that have everything left.
    pub(super) fn sweep(&self, now: u64) {
        self.lock().retain(|_, state| *state > now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, u64>> {
        self.states.lock().expect("nothing panics while it holds the lock")
    }
}
