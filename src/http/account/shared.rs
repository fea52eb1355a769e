//! One budget of several replicas: Redis grants what those who wait may take, and counts what is under way.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use redis::{FromRedisValue, ParsingError, Value};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::{Account, LOOK};
use crate::config::Budget;
use crate::redis::{Call, Link, Script};

/// Calls that ended and that Redis was not told of; the places of more end by themselves.
const MOST_ENDED: usize = 4096;
/// Longest pause of a replica that is to keep its place among those that wait: the script forgets it after twice that.
const STILL: Duration = Duration::from_millis(100);
/// Pause of a task that nobody waits for.
const IDLE: Duration = Duration::from_secs(60);

/// What is shared, and with whom.
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    /// What this replica may use while Redis is away.
    pub(super) part: Budget,
    terms: Terms,
    /// Apart from all other processes.
    replica: String,
    wake: Arc<Notify>,
}

/// What the script counts by. Times are microseconds.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) interval: u64,
    pub(super) burst: u64,
    pub(super) places: usize,
    pub(super) lease: u64,
}

/// The calls that have a place in Redis: what it is yet to be told of them.
#[derive(Default)]
pub(super) struct Ids {
    made: u64,
    ended: Vec<u64>,
    /// How many cells of the rate nobody took.
    unused: usize,
    /// Redis knows that this replica waits.
    waits: bool,
}

/// One question to the script.
#[derive(Default)]
pub(super) struct Order {
    pub(super) unused: usize,
    pub(super) ended: Vec<u64>,
    pub(super) wanted: Vec<u64>,
}

/// What the script answers.
#[derive(Debug, PartialEq)]
pub(super) struct Granted {
    pub(super) now: u64,
    /// So many of the wanted may go, the first of them.
    pub(super) granted: usize,
    /// Microseconds until the rate allows one more.
    pub(super) wait: u64,
}

impl Shared {
    pub(super) fn new(settings: &Budget, link: Arc<Link>, lease: Duration) -> Self {
        let replicas = link.replicas().get();
        let part = Budget {
            requests_per_second: (settings.requests_per_second / replicas).max(1),
            max_concurrent: (settings.max_concurrent / replicas as usize).max(1),
            ..*settings
        };
        let terms = Terms {
            // Never more than the rate.
            interval: 1_000_000_u64.div_ceil(settings.requests_per_second.into()),
            burst: settings.requests_per_second.into(),
            places: settings.max_concurrent,
            lease: u64::try_from(lease.as_micros()).unwrap_or(u64::MAX),
        };
        let replica = format!("{:016x}", fastrand::u64(..));
        Self { link, part, terms, replica, wake: Arc::new(Notify::new()) }
    }

    /// There is something to ask Redis, or to tell it.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Asks for as many as wait, for as long as there is the account: a task, since who waits may give up.
    pub(super) fn fetch_for(&self, account: &Arc<Account>) {
        let (account, wake): (Weak<Account>, _) = (Arc::downgrade(account), self.wake.clone());
        self.link.spawn(async move {
            let mut not_before = Instant::now();
            loop {
                let Some(account) = account.upgrade() else { return };
                let next = account.fetch(&mut not_before).await;
                drop(account);
                _ = timeout_at(next.into(), wake.notified()).await;
            }
        });
    }

    async fn ask(&self, order: &Order) -> Option<Granted> {
        self.link.ask(&call(self.link.prefix(), &self.replica, self.terms, None, order)).await.ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Ids {
    pub(super) fn end(&mut self, id: Option<u64>) {
        self.ended.extend(id.filter(|_| self.ended.len() < MOST_ENDED));
    }

    fn make(&mut self, count: usize) -> Vec<u64> {
        let first = self.made;
        self.made += count as u64;
        (first..self.made).collect()
    }
}

impl Account {
    /// Asks Redis once, if there is anything to ask or to tell; and when to look again.
    async fn fetch(self: &Arc<Self>, not_before: &mut Instant) -> Instant {
        let now = Instant::now();
        let idle = |waiting: usize| now + if waiting > 0 { LOOK } else { IDLE };
        let Some(shared) = self.by_redis() else {
            self.give_out(None);
            return idle(self.lock().waiting);
        };
        let order = {
            let mut state = self.lock();
            state.forget_the_gone();
            self.metrics.account_queued(state.waiting);
            let wanted = state.wanted(now, &self.settings);
            let ids = &mut state.ids;
            // What has ended may make room at once.
            let due = wanted > 0 && now >= *not_before;
            if !due && ids.ended.is_empty() && !(ids.waits && wanted == 0) {
                let soon = state.rate.next(now).max(*not_before);
                return idle(state.waiting).min(soon.max(now + Duration::from_millis(1)));
            }
            Order {
                unused: std::mem::take(&mut ids.unused),
                ended: std::mem::take(&mut ids.ended),
                wanted: ids.make(wanted),
            }
        };
        let answer = shared.ask(&order).await;
        let now = Instant::now();
        let Order { ended, wanted, .. } = order;
        let Some(Granted { granted, wait, .. }) = answer else {
            // They may have a place there.
            let ids = &mut self.lock().ids;
            ids.waits = false;
            ended.into_iter().chain(wanted).for_each(|id| ids.end(Some(id)));
            *not_before = now;
            return now;
        };
        let short = granted < wanted.len();
        *not_before = match wait {
            _ if !short => now,
            // Places are given back at any time, and nobody tells.
            0 => now + LOOK.mul_f64(0.5 + fastrand::f64() / 2.0),
            wait => now + Duration::from_micros(wait).min(STILL),
        };
        let left = self.give_out(Some(wanted.into_iter().take(granted).collect())).unwrap_or_default();
        let mut state = self.lock();
        state.ids.waits = short;
        state.ids.unused += left.len();
        left.into_iter().for_each(|id| state.ids.end(Some(id)));
        now
    }
}

pub(super) fn call(prefix: &str, replica: &str, terms: Terms, now: Option<u64>, order: &Order) -> Call {
    let Order { unused, ended, wanted } = order;
    let keys = ["account:rate", "account:calls", "account:waiting"].into_iter();
    let mut call = keys.fold(Call::new(Script::Budget), |call, key| call.key(format!("{prefix}{key}")));
    call.push(now.map(|now| now.to_string()).unwrap_or_default());
    [terms.interval, terms.burst, terms.places as u64, terms.lease].iter().for_each(|n| call.push(n));
    call.push(replica);
    [*unused, ended.len()].iter().for_each(|n| call.push(n));
    ended.iter().chain(wanted).for_each(|id| call.push(format!("{replica}:{id}")));
    call
}

impl FromRedisValue for Granted {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (now, granted, wait) = FromRedisValue::from_redis_value(value)?;
        Ok(Self { now, granted, wait })
    }
}

#[cfg(test)]
mod tests;
