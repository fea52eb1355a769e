use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::counters::{Charge, Key, Refused};

/// As many keys as can be counted are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many quotas in use")]
pub struct Overflow;

/// The states of all keys, in this process. A key without a state has everything left.
#[derive(Debug)]
pub(super) struct Local {
    states: Mutex<HashMap<Key, u64>>,
    max_keys: usize,
    epoch: Instant,
}

impl Local {
    pub(super) fn new(max_keys: usize) -> Self {
        Self { states: Mutex::default(), max_keys, epoch: Instant::now() }
    }

    /// Microseconds since it began to count; never backwards.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// All charges at `now`, or none; each is of another key.
    pub(super) fn charge(&self, charges: &mut [Charge], now: u64) -> Result<(), Refused> {
        let mut states = self.lock();
        if states.len() + charges.len() > self.max_keys {
            states.retain(|_, state| *state > now);
            if states.len() + charges.len() > self.max_keys {
                return Err(Refused::Overflow(Overflow));
            }
        }
        found(&states, charges);
        for (index, charge) in charges.iter().enumerate() {
            let spent = |wait| Refused::Spent { charge: index, wait, now };
            charge.rate.charge(charge.state, now, charge.cells).map_err(spent)?;
        }
        for charge in charges {
            if let Ok(after) = charge.rate.charge(charge.state, now, charge.cells) {
                charge.state = after;
                states.insert(charge.key.clone(), after);
            }
        }
        Ok(())
    }

    pub(super) fn give_back(&self, charge: &Charge) {
        if let Some(state) = self.lock().get_mut(&charge.key) {
            *state = charge.rate.give_back(*state, charge.cells);
        }
    }

    pub(super) fn peek(&self, charges: &mut [Charge]) {
        found(&self.lock(), charges);
    }

    /// Forgets the keys that have everything left.
    pub(super) fn sweep(&self, now: u64) {
        self.lock().retain(|_, state| *state > now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, u64>> {
        self.states.lock().expect("nothing panics while it holds the lock")
    }
}

fn found(states: &HashMap<Key, u64>, charges: &mut [Charge]) {
    for charge in charges {
        charge.state = states.get(&charge.key).copied().unwrap_or_default();
    }
}
