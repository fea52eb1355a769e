//! A circuit breaker: while most calls fail none is made, but for one at a time that tries whether they still do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Metrics;

/// Calls of the last so many seconds are judged.
const WINDOW: usize = 10;
/// Fewer calls than this are no evidence.
const EVIDENCE: u32 = 10;
/// Longest that it stays open between two tries.
const LONGEST: Duration = Duration::from_secs(60);

/// Of one action: that lists can be had does not say that resets can.
pub(super) struct Circuit {
    action: &'static str,
    /// How long it stays open at first; twice as long after each try that fails.
    open: Duration,
    state: Mutex<State>,
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
        metrics.circuit(action, "closed");
        Self { action, open, state: Mutex::new(State::Closed(Window::default())), metrics }
    }

    /// Asks for leave.
    pub(super) fn ask(self: &Arc<Self>) -> Result<Pass, Suspended> {
        let now = Instant::now();
        let mut state = self.lock();
        let tries = match *state {
            State::Closed(_) => false,
            State::Open { until, failures } if until <= now => {
                *state = State::HalfOpen { failures };
                self.metrics.circuit(self.action, "half-open");
                true
            }
            State::Open { until, .. } => return Err(Suspended { retry_after: until - now }),
            State::HalfOpen { .. } => return Err(Suspended { retry_after: Duration::from_secs(1) }),
        };
        Ok(Pass { circuit: self.clone(), tries })
    }

    fn told(&self, tries: bool, healthy: bool, now: Instant) {
        let mut state = self.lock();
        match &mut *state {
            State::Closed(window) => {
                window.count(now, healthy);
                if window.is_bad(now) {
                    self.suspend(&mut state, 0, now);
                }
            }
            State::HalfOpen { .. } if tries && healthy => {
                *state = State::Closed(Window::default());
                self.metrics.circuit(self.action, "closed");
                tracing::info!(action = self.action, "calls to Zenlayer succeed again");
            }
            State::HalfOpen { failures } if tries => {
                let failures = *failures + 1;
                self.suspend(&mut state, failures, now);
            }
            // An answer to a call of before: the next try decides.
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    fn suspend(&self, state: &mut State, failures: u32, now: Instant) {
        let open = self.open.saturating_mul(1 << failures.min(10)).min(LONGEST);
        // Replicas that saw the same failure must not try in step.
        let until = now + open.mul_f64(0.9 + 0.2 * fastrand::f64());
        *state = State::Open { until, failures };
        self.metrics.circuit(self.action, "open");
        tracing::error!(
            action = self.action,
            seconds = open.as_secs(),
            "most calls to Zenlayer fail, so none is made for a while"
        );
    }

    /// Whatever panicked while it held the lock left a state behind that still counts.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// How the call went: any answer that Zenlayer itself gave is healthy, be it yes or no.
    pub(super) fn tell(mut self, healthy: bool) {
        self.circuit.told(self.tries, healthy, Instant::now());
        self.tries = false;
    }
}

impl Drop for Pass {
    /// The try was not made: another may.
    fn drop(&mut self) {
        if self.tries {
            let mut state = self.circuit.lock();
            if let State::HalfOpen { failures } = *state {
                *state = State::Open { until: Instant::now(), failures };
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

    fn calls(circuit: &Arc<Circuit>, healthy: bool, count: usize) {
        for _ in 0..count {
            circuit.ask().expect("closed").tell(healthy);
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
            assert_eq!(circuit.ask().is_err(), open, "{row}");
        }
    }

    #[test]
    fn one_call_tries_and_decides() {
        let circuit = circuit();
        calls(&circuit, false, 10);
        let suspended = circuit.ask().err().expect("open");
        assert!(suspended.retry_after <= OPEN.mul_f64(1.1), "{suspended:?}");
        wait();
        let tries = circuit.ask().expect("one may try");
        assert!(circuit.ask().is_err(), "and no other beside it");
        tries.tell(true);
        assert!(circuit.ask().is_ok(), "closed again");
        calls(&circuit, false, 5);
        assert!(circuit.ask().is_ok(), "what was before is forgotten");
    }

    #[test]
    fn a_try_that_fails_opens_it_for_twice_as_long() {
        let circuit = circuit();
        calls(&circuit, false, 10);
        wait();
        circuit.ask().expect("one may try").tell(false);
        let suspended = circuit.ask().err().expect("open again");
        assert!(suspended.retry_after > OPEN.mul_f64(1.5), "{suspended:?}");
    }

    #[test]
    fn a_try_that_was_not_made_leaves_the_try_to_another() {
        let circuit = circuit();
        calls(&circuit, false, 10);
        wait();
        drop(circuit.ask().expect("one may try"));
        assert!(circuit.ask().is_ok());
    }

    #[test]
    fn an_answer_to_a_call_of_before_decides_nothing() {
        let circuit = circuit();
        let slow = [circuit.ask(), circuit.ask()].map(|pass| pass.expect("closed"));
        calls(&circuit, false, 10);
        let [one, other] = slow;
        one.tell(true);
        assert!(circuit.ask().is_err(), "still open");
        wait();
        let tries = circuit.ask().expect("one may try");
        other.tell(false);
        tries.tell(true);
        assert!(circuit.ask().is_ok());
    }
}
