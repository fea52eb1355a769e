//! A circuit breaker: while most calls fail none is made, but for one at a time that tries whether they still do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::account::Share;
use crate::metrics::Metrics;

/// Calls of the last so many seconds are judged.
const WINDOW: usize = 10;
/// Fewer calls than this are no evidence.
const EVIDENCE: u32 = 10;
/// Longest that it stays open between two tries.
const LONGEST: Duration = Duration::from_secs(60);

/// Of one action: that lists can be had does not say that resets can. Each share has a state of its own: what one
/// team's instances meet at Zenlayer must not stop another team's resets.
pub(super) struct Circuit {
    action: &'static str,
    /// How long it stays open at first; twice as long after each try that fails.
    open: Duration,
    states: Mutex<HashMap<Share, State>>,
    metrics: Arc<Metrics>,
}

/// No call is made: too many failed lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("calls to Zenlayer are suspended, since most of them failed")]
pub struct Suspended {
    pub retry_after: Duration,
}

/// Leave to make one call, and the duty to tell how it went. Dropped untold, it was not made.
pub(super) struct Pass {
    circuit: Arc<Circuit>,
    share: Share,
    tries: bool,
}

enum State {
    Closed(Window),
    Open {
        until: Instant,
        failures: u32,
    },
    /// One call is under way that decides.
    HalfOpen {
        failures: u32,
    },
}

/// Calls and failures, by second.
#[derive(Default)]
struct Window([Second; WINDOW]);

#[derive(Default, Clone, Copy)]
struct Second {
    number: u64,
    calls: u32,
    failures: u32,
}

impl Circuit {
    pub(super) fn new(action: &'static str, open: Duration, metrics: Arc<Metrics>) -> Self {
        metrics.circuit(action, [0, 0, 0]);
        Self { action, open, states: Mutex::default(), metrics }
    }

    /// Asks for leave.
    pub(super) fn ask(self: &Arc<Self>, share: &Share) -> Result<Pass, Suspended> {
        let now = Instant::now();
        let mut states = self.lock();
        let state = states.entry(share.clone()).or_default();
        let tries = match *state {
            State::Closed(_) => false,
            State::Open { until, failures } if until <= now => {
                *state = State::HalfOpen { failures };
                self.show(&states);
                true
            }
            State::Open { until, .. } => return Err(Suspended { retry_after: until - now }),
            State::HalfOpen { .. } => return Err(Suspended { retry_after: Duration::from_secs(1) }),
        };
        Ok(Pass { circuit: self.clone(), share: share.clone(), tries })
    }

    fn told(&self, share: &Share, tries: bool, healthy: bool, now: Instant) {
        let mut states = self.lock();
        let state = states.entry(share.clone()).or_default();
        match state {
            State::Closed(window) => {
                window.count(now, healthy);
                if !window.is_bad(now) {
                    return;
                }
                self.suspend(share, state, 0, now);
            }
            State::HalfOpen { .. } if tries && healthy => {
                *state = State::default();
                tracing::info!(action = self.action, share = share.name(), "calls to Zenlayer succeed again");
            }
            State::HalfOpen { failures } if tries => {
                let failures = *failures + 1;
                self.suspend(share, state, failures, now);
            }
            // An answer to a call of before: the next try decides.
            State::Open { .. } | State::HalfOpen { .. } => return,
        }
        self.show(&states);
    }

    fn suspend(&self, share: &Share, state: &mut State, failures: u32, now: Instant) {
        let open = self.open.saturating_mul(1 << failures.min(10)).min(LONGEST);
        // Replicas that saw the same failure must not try in step.
        let until = now + open.mul_f64(0.9 + 0.2 * fastrand::f64());
        *state = State::Open { until, failures };
        tracing::error!(
            action = self.action,
            share = share.name(),
            seconds = open.as_secs(),
            "most calls to Zenlayer fail, so none is made for a while"
        );
    }

    fn show(&self, states: &HashMap<Share, State>) {
        let count = |is: fn(&State) -> bool| states.values().filter(|state| is(state)).count();
        let closed = count(|state| matches!(state, State::Closed(_)));
        let open = count(|state| matches!(state, State::Open { .. }));
        self.metrics.circuit(self.action, [closed, open, states.len() - closed - open]);
    }

    /// Whatever panicked while it held the lock left a state behind that still counts.
    fn lock(&self) -> MutexGuard<'_, HashMap<Share, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(Window::default())
    }
}

impl Pass {
    /// How the call went: any answer that Zenlayer itself gave is healthy, be it yes or no.
    pub(super) fn tell(mut self, healthy: bool) {
        self.circuit.told(&self.share, self.tries, healthy, Instant::now());
        self.tries = false;
    }
}

impl Drop for Pass {
    /// The try was not made: another may.
    fn drop(&mut self) {
        if self.tries {
            let mut states = self.circuit.lock();
            if let Some(state @ State::HalfOpen { .. }) = states.get_mut(&self.share) {
                let State::HalfOpen { failures } = *state else { return };
                *state = State::Open { until: Instant::now(), failures };
                self.circuit.show(&states);
            }
        }
    }
}

impl Window {
    fn count(&mut self, now: Instant, healthy: bool) {
        let number = second(now);
        let place = &mut self.0[number as usize % WINDOW];
        if place.number != number {
            *place = Second { number, ..Second::default() };
        }
        place.calls += 1;
        place.failures += u32::from(!healthy);
    }

    /// At least half of the calls failed, and there were enough to say so.
    fn is_bad(&self, now: Instant) -> bool {
        let oldest = second(now).saturating_sub(WINDOW as u64 - 1);
        let recent = self.0.iter().filter(|second| second.number >= oldest);
        let (calls, failures) = recent
            .fold((0, 0), |(calls, failures), second| (calls + second.calls, failures + second.failures));
        calls >= EVIDENCE && failures * 2 >= calls
    }
}

/// Whole seconds since some moment before the first call; never 0, which stands for never.
fn second(now: Instant) -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    now.saturating_duration_since(*START).as_secs() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_millis(40);

    fn circuit() -> Arc<Circuit> {
        Arc::new(Circuit::new("ResetInstancePassword", OPEN, Arc::default()))
    }

    fn ask(circuit: &Arc<Circuit>) -> Result<Pass, Suspended> {
        circuit.ask(&Share::Inventory)
    }

    fn calls(circuit: &Arc<Circuit>, healthy: bool, count: usize) {
        for _ in 0..count {
            ask(circuit).expect("closed").tell(healthy);
        }
    }

    /// Longer than it stays open the first time, jitter included.
    fn wait() {
        std::thread::sleep(OPEN.mul_f64(1.2));
    }

    #[test]
    fn it_opens_when_half_of_enough_calls_fail() {
        for (row, good, bad, open) in [
            ("too few", 0, 9, false),
            ("all", 0, 10, true),
            ("half", 5, 5, true),
            ("less than half", 11, 10, false),
        ] {
            let circuit = circuit();
            calls(&circuit, true, good);
            calls(&circuit, false, bad);
            assert_eq!(ask(&circuit).is_err(), open, "{row}");
        }
    }

    #[test]
    fn one_call_tries_and_decides() {
        let circuit = circuit();
        calls(&circuit, false, 10);
        let suspended = ask(&circuit).err().expect("open");
        assert!(suspended.retry_after <= OPEN.mul_f64(1.1), "{suspended:?}");
        wait();
        let tries = ask(&circuit).expect("one may try");
        assert!(ask(&circuit).is_err(), "and no other beside it");
        tries.tell(true);
        assert!(ask(&circuit).is_ok(), "closed again");
        calls(&circuit, false, 5);
        assert!(ask(&circuit).is_ok(), "what was before is forgotten");
    }

    #[test]
    fn a_try_that_fails_opens_it_for_twice_as_long() {
        let circuit = circuit();
        calls(&circuit, false, 10);
        wait();
        ask(&circuit).expect("one may try").tell(false);
        let suspended = ask(&circuit).err().expect("open again");
        assert!(suspended.retry_after > OPEN.mul_f64(1.5), "{suspended:?}");
    }

    #[test]
    fn a_try_that_was_not_made_leaves_the_try_to_another() {
        let circuit = circuit();
        calls(&circuit, false, 10);
        wait();
        drop(ask(&circuit).expect("one may try"));
        assert!(ask(&circuit).is_ok());
    }

    #[test]
    fn an_answer_to_a_call_of_before_decides_nothing() {
        let circuit = circuit();
        let slow = [ask(&circuit), ask(&circuit)].map(|pass| pass.expect("closed"));
        calls(&circuit, false, 10);
        let [one, other] = slow;
        one.tell(true);
        assert!(ask(&circuit).is_err(), "still open");
        wait();
        let tries = ask(&circuit).expect("one may try");
        other.tell(false);
        tries.tell(true);
        assert!(ask(&circuit).is_ok());
    }

    #[test]
    fn one_team_s_failures_are_its_own() {
        let circuit = circuit();
        let [one, other] = ["a", "b"].map(|name| Share::Team(name.parse().expect("a name")));
        for _ in 0..10 {
            circuit.ask(&one).expect("closed").tell(false);
        }
        assert!(circuit.ask(&one).is_err());
        assert!(circuit.ask(&other).is_ok());
    }
}
