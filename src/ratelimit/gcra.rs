//! The generic cell rate algorithm as one pure function: `(state, now) -> decision`.
//!
//! The state is one number, the theoretical arrival time (ITU-T I.371), in whole microseconds: small enough
//! for the doubles that a Redis script computes with.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::Quota;

/// One cell each `interval` microseconds, `burst` cells at most at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval: u64,
    pub(super) burst: u64,
}

/// What is left, without charging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) remaining: u32,
    /// Microseconds until all is there again.
    pub(super) reset: u64,
}

impl Rate {
    /// The interval is rounded up, so that never more is admitted than the quota says.
    pub(super) fn of(quota: &Quota) -> Self {
        let interval = whole_micros(quota.period).div_ceil(u64::from(quota.requests.get()));
        Self { interval, burst: u64::from(quota.burst.get()) }
    }

    /// One cell, and a rest after it.
    pub(super) fn one_in(rest: Duration) -> Self {
        Self { interval: whole_micros(rest).max(1), burst: 1 }
    }

    /// One of so many equal parts, of one cell at least.
    pub(super) fn part_of(self, parts: NonZeroU32) -> Self {
        let parts = u64::from(parts.get());
        Self { interval: self.interval * parts, burst: self.burst.div_ceil(parts) }
    }

    /// The state after so many cells at `now`, or how long to wait for them.
    pub(super) fn charge(self, state: u64, now: u64, cells: u64) -> Result<u64, u64> {
        let after = state.max(now) + self.interval * cells;
        let latest = now + self.interval * self.burst;
        if after <= latest { Ok(after) } else { Err(after - latest) }
    }

    /// The state with so many cells given back.
    pub(super) fn give_back(self, state: u64, cells: u64) -> u64 {
        state.saturating_sub(self.interval * cells)
    }

    pub(super) fn standing(self, state: u64, now: u64) -> Standing {
        let owed = state.saturating_sub(now);
        let free = (self.interval * self.burst).saturating_sub(owed) / self.interval;
        Standing { remaining: u32::try_from(free).unwrap_or(u32::MAX), reset: owed }
    }
}

fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(interval: u64, burst: u64) -> Rate {
        Rate { interval, burst }
    }

    #[test]
    fn a_burst_then_one_each_interval() {
        let rate = rate(10, 3);
        let mut state = 0;
        for n in 0..3 {
            state = rate.charge(state, 100, 1).unwrap_or_else(|_| panic!("cell {n} is free"));
        }
        assert_eq!(rate.charge(state, 100, 1), Err(10), "the burst is spent");
        assert_eq!(rate.charge(state, 109, 1), Err(1));
        assert!(rate.charge(state, 110, 1).is_ok(), "a cell is free as soon as its time has come");
        assert_eq!(rate.standing(state, 110), Standing { remaining: 1, reset: 20 });
        assert_eq!(rate.standing(state, 10_000), Standing { remaining: 3, reset: 0 });
    }

    #[test]
    fn what_is_given_back_is_free_again() {
        let rate = rate(10, 1);
        let state = rate.charge(0, 100, 1).expect("free");
        assert!(rate.charge(state, 100, 1).is_err());
        assert!(rate.charge(rate.give_back(state, 1), 100, 1).is_ok());
    }

    proptest! {
        /// Admissions never exceed burst + rate × time, and none is refused while a cell is free.
        #[test]
        fn admits_what_it_says(interval in 1u64..1000, burst in 1u64..50, steps in prop::collection::vec((0u64..500, 1u64..5), 1..300)) {
            let rate = rate(interval, burst);
            let (mut state, mut now, mut admitted) = (0, 1_000_000, 0);
            let began = now;
            for (step, cells) in steps {
                now += step;
                let free = rate.standing(state, now).remaining;
                match rate.charge(state, now, cells) {
                    Ok(next) => {
                        prop_assert!(u64::from(free) >= cells);
                        state = next;
                        admitted += cells;
                    }
                    Err(wait) => {
                        prop_assert!(u64::from(free) < cells);
                        if cells > burst {
                            continue;
                        }
                        prop_assert!(rate.charge(state, now + wait, cells).is_ok(), "the wait it names is long enough");
                        prop_assert!(rate.charge(state, now + wait - 1, cells).is_err(), "and no longer than needed");
                    }
                }
                prop_assert!(admitted <= burst + (now - began) / interval);
            }
        }
    }
}
