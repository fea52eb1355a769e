use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::keys::Keys;
use super::source::{Pace, Source};
use crate::config;
use crate::domain::IssuerName;
use crate::http::TlsFault;
use crate::metrics::Metrics;

/// Most callers that wait for one issuer's keys, and how long.
const MOST_WAITERS: usize = 64;
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// First pause after a refresh that failed; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Keeps one issuer's keys as its source has them now.
///
/// Verification reads them and never waits; one background task refreshes them. A refresh that fails changes
/// nothing until the keys have served for [`Pace::max_stale`] without a good one.
pub(super) struct Keeper {
    issuer: IssuerName,
    source: Source,
    pace: Pace,
    keys: ArcSwapOption<Keys>,
    tried: AtomicBool,
    flight: Mutex<Flight>,
    asked: Notify,
    metrics: Arc<Metrics>,
}

/// The refresh that is on or wanted: there is never more than one.
struct Flight {
    on: bool,
    /// When a token last asked for one.
    asked_at: Option<Instant>,
    waiters: usize,
    landed: watch::Sender<()>,
}

impl Keeper {
    pub(super) fn new(
        issuer: IssuerName,
        settings: &config::Issuer,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TlsFault> {
        let (source, pace) = Source::new(settings)?;
        let flight = Flight { on: false, asked_at: None, waiters: 0, landed: watch::Sender::new(()) };
        Ok(Self {
            issuer,
            source,
            pace,
            keys: ArcSwapOption::empty(),
            tried: AtomicBool::new(false),
            flight: Mutex::new(flight),
            asked: Notify::new(),
            metrics,
        })
    }

    /// Reads keys that are in a file; blocks. A file without a usable key is no start.
    pub(super) fn read_file(&self) -> Result<(), String> {
        let Some(path) = self.source.file() else { return Ok(()) };
        let keys = self.source.load_file(path)?;
        if keys.len() == 0 {
            let skipped: Vec<&str> = keys.skipped.iter().map(|(_, why)| why.as_str()).collect();
            let why = "holds no key that the issuer's algorithms can use";
            let colon = if skipped.is_empty() { "" } else { ": " };
            return Err(format!("{}: {why}{colon}{}", path.display(), skipped.join("; ")));
        }
        self.hold(keys);
        Ok(())
    }

    /// The keys in force; None while there are none.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full().filter(|keys| keys.len() > 0)
    }

    /// Whether `keys` are still those in force.
    pub(super) fn holds(&self, keys: &Arc<Keys>) -> bool {
        self.keys.load().as_ref().is_some_and(|held| Arc::ptr_eq(held, keys))
    }

    /// Whether the source was asked at least once.
    pub(super) fn tried(&self) -> bool {
        self.tried.load(Ordering::Acquire)
    }

    /// Refreshes the keys, for as long as it is polled.
    pub(super) async fn run(&self) {
        let (mut good_at, mut failures) = (Instant::now(), 0);
        let mut next = match self.tried() {
            true => Instant::now() + self.pace.refresh,
            false => Instant::now(),
        };
        loop {
            self.wait_until(next).await;
            match self.refresh().await {
                Ok(()) => (good_at, failures) = (Instant::now(), 0),
                Err(why) => {
                    failures += 1;
                    self.failed(&why, failures, good_at);
                }
            }
            next = Instant::now() + self.pause(failures);
            if let Some(lapse) = self.pace.max_stale.map(|bound| good_at + bound).filter(|_| self.has_keys())
            {
                next = next.min(lapse.max(Instant::now()));
            }
        }
    }

    /// One refresh, whose result is in force when it returns.
    pub(super) async fn refresh(&self) -> Result<(), String> {
        self.flight().on = true;
        // What was fetched is a stranger's: whatever it breaks, the next refresh comes.
        let loaded = AssertUnwindSafe(self.source.load()).catch_unwind().await;
        let loaded = loaded.unwrap_or_else(|_| Err("reading them panicked".to_owned()));
        let refreshed = loaded.map(|keys| self.hold(keys));
        self.tried.store(true, Ordering::Release);
        let mut flight = self.flight();
        flight.on = false;
        flight.landed.send_replace(());
        drop(flight);
        refreshed
    }

    /// Asks for a refresh now; an operator's word needs no cool-down.
    pub(super) fn ask(&self) {
        self.flight().on = true;
        self.asked.notify_one();
    }

    /// Waits for a refresh on behalf of a token whose key nobody knows. False: there is none to wait for, since one
    /// was made moments ago, or too many wait already.
    pub(super) async fn renewed(&self) -> bool {
        let Some((mut landed, _waiter)) = self.board() else { return false };
        timeout(LONGEST_WAIT, landed.changed()).await.is_ok_and(|landed| landed.is_ok())
    }

    fn board(&self) -> Option<(watch::Receiver<()>, Waiter<'_>)> {
        let mut flight = self.flight();
        if flight.waiters >= MOST_WAITERS {
            return None;
        }
        if !flight.on {
            if flight.asked_at.is_some_and(|at| at.elapsed() < self.pace.cooldown) {
                return None;
            }
            (flight.on, flight.asked_at) = (true, Some(Instant::now()));
            self.asked.notify_one();
        }
        flight.waiters += 1;
        Some((flight.landed.subscribe(), Waiter(self)))
    }

    async fn wait_until(&self, next: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                // Asked before a refresh that has ended meanwhile: it was answered by that.
                () = self.asked.notified() => if self.flight().on { return },
            }
        }
    }

    /// A tenth of it is left to chance, so that many replicas do not ask at once.
    fn pause(&self, failures: u32) -> Duration {
        let whole = match failures {
            0 => self.pace.refresh,
            n => (FIRST_RETRY * 2u32.saturating_pow(n - 1).min(1 << 16)).min(self.pace.refresh),
        };
        whole.mul_f64(fastrand::f64().mul_add(-0.1, 1.0))
    }

    fn hold(&self, keys: Keys) {
        self.tried.store(true, Ordering::Release);
        self.metrics.keys_refreshed(&self.issuer, keys.len());
        if self.keys.load().as_ref().is_some_and(|held| held.same(&keys)) {
            return;
        }
        let ids: Vec<&str> = keys.ids().map(|id| id.unwrap_or("(without id)")).collect();
        tracing::info!(issuer.name = %self.issuer, keys = ?ids, "the issuer's keys are in force");
        for (id, why) in &keys.skipped {
            let id = id.as_deref().unwrap_or_default();
            tracing::warn!(issuer.name = %self.issuer, key.id = id, "a key of the issuer is skipped: {why}");
        }
        if keys.len() == 0 {
            tracing::error!(issuer.name = %self.issuer, "the issuer has withdrawn every usable key, so its callers get 503");
        }
        self.keys.store(Some(Arc::new(keys)));
    }

    fn failed(&self, why: &str, failures: u32, good_at: Instant) {
        let lapsed = self.pace.max_stale.is_some_and(|bound| good_at.elapsed() >= bound);
        let (issuer, seconds) = (&self.issuer, good_at.elapsed().as_secs());
        if lapsed && self.has_keys() {
            self.keys.store(None);
            tracing::error!(issuer.name = %issuer, seconds, "the issuer's keys are too old to serve on, so its callers get 503: {why}");
        } else if !failures.is_power_of_two() {
            // Told before; the metrics go on telling.
        } else if self.has_keys() {
            tracing::warn!(issuer.name = %issuer, failures, seconds, "the issuer's keys cannot be renewed, so the last ones stay in force: {why}");
        } else {
            tracing::error!(issuer.name = %issuer, failures, "the issuer's keys cannot be had, so its callers get 503: {why}");
        }
        self.metrics.keys_not_refreshed(issuer, self.keys().map_or(0, |keys| keys.len()));
    }

    fn has_keys(&self) -> bool {
        self.keys().is_some()
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().expect("no panic while held")
    }
}

/// One caller that waits; leaving counts it out, however it leaves.
struct Waiter<'k>(&'k Keeper);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.flight().waiters -= 1;
    }
}
