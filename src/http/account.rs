//! The account's own budget: so many requests a second, so many at a time, shared fairly between all who ask.

mod shared;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::config::Budget;
use crate::domain::TeamName;
use crate::metrics::Metrics;
use crate::redis::Link;

use shared::{Ids, Shared};

/// What is left of the rate at the least after Zenlayer has said again and again that it is too much.
const LEAST: f64 = 0.05;
/// What comes back of the rate each second after that.
const RECOVERY: f64 = 0.05;
/// Pause between two looks of those who wait for a place: whoever gives one back serves them at once, but for the rate.
const LOOK: Duration = Duration::from_millis(20);
/// Longest pause that Zenlayer can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Who a call is made for. Each waits in a line of its own, and the lines take turns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Share {
    Team(TeamName),
    /// Looking instances up, and refreshing what is known of them.
    Inventory,
}

impl Share {
    /// For the log: the team's name, or what else calls.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Team(team) => team.as_str(),
            Self::Inventory => "(inventory)",
        }
    }
}

/// No turn comes in time; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account's budget is spent")]
pub struct Spent {
    pub retry_after: Duration,
}

/// All that calls Zenlayer, of all workers.
pub struct Account {
    settings: Budget,
    /// None: all of the budget is this process' own.
    shared: Option<Shared>,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

/// One call's leave: a place among those under way, and one request of the rate. Gives the place back when dropped.
pub(super) struct Turn {
    account: Arc<Account>,
    share: Share,
    /// Its place in Redis. None: this process alone counts it.
    id: Option<u64>,
}

struct State {
    in_flight: usize,
    /// What is counted in Redis.
    ids: Ids,
    /// Places by share; none of the shares that have none.
    held: HashMap<Share, usize>,
    rate: Rate,
    lines: VecDeque<Line>,
    waiting: usize,
}

struct Line {
    share: Share,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// So many a second, a second's worth at once; less after Zenlayer said that it is too much.
struct Rate {
    per_second: f64,
    /// When the next request would come if all were evenly spaced (GCRA's theoretical arrival time).
    arrival: Instant,
    /// The part of `per_second` that is used, as of `learned`.
    factor: f64,
    learned: Instant,
    lowered: Option<Instant>,
    paused_until: Instant,
}

impl Account {
    pub fn new(settings: Budget, metrics: Arc<Metrics>) -> Self {
        Self::with(settings, None, metrics)
    }

    /// One budget with all replicas of the link's Redis. A place there ends by itself after `lease`.
    pub fn share(settings: Budget, link: Arc<Link>, lease: Duration, metrics: Arc<Metrics>) -> Arc<Self> {
        let shared = Shared::new(&settings, link, lease);
        let account = Arc::new(Self::with(settings, Some(shared), metrics));
        if let Some(shared) = &account.shared {
            shared.fetch_for(&account);
        }
        account
    }

    fn with(settings: Budget, shared: Option<Shared>, metrics: Arc<Metrics>) -> Self {
        let now = Instant::now();
        let rate = Rate {
            per_second: f64::from(settings.requests_per_second),
            arrival: now,
            factor: 1.0,
            learned: now,
            lowered: None,
            paused_until: now,
        };
        let (held, lines, ids) = (HashMap::new(), VecDeque::new(), Ids::default());
        let state = State { in_flight: 0, ids, held, rate, lines, waiting: 0 };
        metrics.account_rate(1.0);
        Self { settings, shared, state: Mutex::new(state), metrics }
    }

    /// Waits for a turn, behind others of the same share only, at most `queue_seconds` long.
    pub(super) async fn turn(self: &Arc<Self>, share: Share) -> Result<Turn, Spent> {
        let until = Instant::now() + self.patience();
        let mut granted = match self.ask(share.clone())? {
            Asked::Now(turn) => return Ok(turn),
            Asked::Later(granted) => granted,
        };
        // Those before it may wait only for what their own share holds.
        self.serve();
        loop {
            // Whoever gives a place back serves the lines; when it is the rate that is waited for, nobody else does.
            let look = self.next(&share).min(until);
            match timeout_at(look.into(), &mut granted).await {
                Ok(Ok(turn)) => return Ok(turn),
                Ok(Err(_)) => return Err(self.spent()),
                Err(_) if look >= until => {
                    granted.close();
                    // It may have come in this very moment.
                    return granted.try_recv().map_err(|_| {
                        self.metrics.account_refused("queue-timeout");
                        self.spent()
                    });
                }
                // Of what is counted in Redis turns come as soon as there are any.
                Err(_) if self.by_redis().is_some() => {}
                Err(_) => self.serve(),
            }
        }
    }

    /// Long enough to learn that Redis is away.
    fn patience(&self) -> Duration {
        let least = self.shared.as_ref().map(|shared| shared.link.timeout() + LOOK);
        self.settings.patience.max(least.unwrap_or_default())
    }

    /// Where the budget is shared now.
    fn by_redis(&self) -> Option<&Shared> {
        self.shared.as_ref().filter(|shared| shared.link.is_up())
    }

    /// What this process may use: all, or its part while it should share and cannot.
    fn budget(&self) -> &Budget {
        match (&self.shared, self.by_redis()) {
            (Some(shared), None) => &shared.part,
            _ => &self.settings,
        }
    }

    /// Zenlayer says that it is too much: half the rate from now on, and nothing for as long as it asks for.
    pub(super) fn too_much(&self, retry_after: Option<u64>) {
        let now = Instant::now();
        let mut state = self.lock();
        let pause = Duration::from_secs(retry_after.unwrap_or_default()).min(LONGEST_PAUSE);
        state.rate.paused_until = state.rate.paused_until.max(now + pause);
        // Answers to calls of the same moment say the same thing once.
        let again = Duration::from_millis(500);
        if state.rate.lowered.is_none_or(|lowered| now.duration_since(lowered) > again) {
            let factor = (state.rate.factor(now) / 2.0).max(LEAST);
            (state.rate.factor, state.rate.learned, state.rate.lowered) = (factor, now, Some(now));
            self.metrics.account_rate(factor);
            tracing::warn!(
                factor,
                "Zenlayer says that there are too many requests: the account's rate is lowered, and recovers with time"
            );
        }
    }

    fn ask(self: &Arc<Self>, share: Share) -> Result<Asked, Spent> {
        let now = Instant::now();
        let (shared, budget) = (self.by_redis().is_some(), self.budget());
        let mut state = self.lock();
        let free = !shared && state.waiting == 0 && state.is_free(now, budget);
        if free && state.may_hold(&share, budget) {
            return Ok(Asked::Now(self.take(&mut state, share, None, now)));
        }
        // Who waits for Redis' answer alone takes nobody's room.
        let passing = if shared { state.free(now, budget) } else { 0 };
        if state.waiting >= self.settings.queue + passing {
            state.forget_the_gone();
        }
        let place = state.lines.iter().position(|line| line.share == share);
        let own = place.map_or(0, |place| state.lines[place].waiting.len());
        // A quarter of the room at the most for one share: else the busiest would leave none to the others.
        let room = self.settings.queue.div_ceil(4) + passing.min(state.left_to(&share, budget));
        if state.waiting >= self.settings.queue + passing || own >= room {
            drop(state);
            self.metrics.account_refused("queue-full");
            return Err(self.spent());
        }
        let (grant, granted) = oneshot::channel();
        match place {
            Some(place) => state.lines[place].waiting.push_back(grant),
            None => state.lines.push_back(Line { share, waiting: VecDeque::from([grant]) }),
        }
        state.waiting += 1;
        self.metrics.account_queued(state.waiting);
        Ok(Asked::Later(granted))
    }

    /// Gives turns out for as long as there are any, or has Redis asked for some.
    fn serve(self: &Arc<Self>) {
        match self.by_redis() {
            Some(shared) => shared.wake(),
            None => drop(self.give_out(None)),
        }
    }

    /// A turn each, a share after the other: for as long as there are any, or for each of these in Redis. What nobody
    /// may take of them comes back.
    fn give_out(self: &Arc<Self>, mut ids: Option<VecDeque<u64>>) -> Option<VecDeque<u64>> {
        let (now, budget) = (Instant::now(), self.budget());
        // Those whose receiver is gone are dropped behind the lock, since that takes it.
        let mut unwanted = Vec::new();
        let mut state = self.lock();
        // Lines whose share holds all it may are passed over, once each.
        let mut passed = 0;
        while passed < state.lines.len() && state.is_free(now, budget) {
            if ids.as_ref().is_some_and(VecDeque::is_empty) {
                break;
            }
            let Some(mut line) = state.lines.pop_front() else { break };
            if !state.may_hold(&line.share, budget) {
                state.lines.push_back(line);
                passed += 1;
                continue;
            }
            let (next, share) = (line.waiting.pop_front(), line.share.clone());
            if !line.waiting.is_empty() {
                state.lines.push_back(line);
            }
            let Some(grant) = next else { continue };
            state.waiting -= 1;
            if !grant.is_closed() {
                passed = 0;
                let id = ids.as_mut().and_then(VecDeque::pop_front);
                unwanted.extend(grant.send(self.take(&mut state, share, id, now)).err());
            }
        }
        self.metrics.account_queued(state.waiting);
        drop(state);
        drop(unwanted);
        ids
    }

    fn take(self: &Arc<Self>, state: &mut State, share: Share, id: Option<u64>, now: Instant) -> Turn {
        state.in_flight += 1;
        *state.held.entry(share.clone()).or_default() += 1;
        state.rate.take(now);
        self.metrics.account_in_flight(state.in_flight);
        Turn { account: self.clone(), share, id }
    }

    /// When it makes sense to look again: when the rate allows a call, or, while no place can be had, soon.
    fn next(&self, share: &Share) -> Instant {
        let (now, budget, shared) = (Instant::now(), self.budget(), self.by_redis().is_some());
        let state = self.lock();
        let full = state.in_flight >= budget.max_concurrent || !state.may_hold(share, budget);
        let soon = now + if full || shared { LOOK } else { Duration::from_millis(1) };
        state.rate.next(now).max(soon)
    }

    fn spent(&self) -> Spent {
        let wait = self.lock().rate.paused_until.saturating_duration_since(Instant::now());
        Spent { retry_after: wait.max(Duration::from_secs(1)) }
    }

    /// Whatever panicked while it held the lock left counters behind that still count.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rate.per_second = f64::from(self.budget().requests_per_second);
        state
    }
}

enum Asked {
    Now(Turn),
    Later(oneshot::Receiver<Turn>),
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.account.lock();
        state.in_flight -= 1;
        state.let_go(&self.share);
        state.ids.end(self.id);
        self.account.metrics.account_in_flight(state.in_flight);
        if let Some(factor) = state.rate.recovered(Instant::now()) {
            self.account.metrics.account_rate(factor);
        }
        let waited_for = state.waiting > 0 || self.id.is_some();
        drop(state);
        if waited_for {
            self.account.serve();
        }
    }
}

impl State {
    fn may_hold(&self, share: &Share, budget: &Budget) -> bool {
        self.left_to(share, budget) > 0
    }

    /// Three quarters of the places for one share at the most: calls that take long must leave some to the others.
    fn left_to(&self, share: &Share, budget: &Budget) -> usize {
        let most = budget.max_concurrent - budget.max_concurrent / 4;
        most.saturating_sub(self.held.get(share).copied().unwrap_or_default())
    }

    fn let_go(&mut self, share: &Share) {
        if let Some(held) = self.held.get_mut(share) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(share);
            }
        }
    }

    /// Whoever gave up leaves a place in a line behind.
    fn forget_the_gone(&mut self) {
        for line in &mut self.lines {
            line.waiting.retain(|grant| !grant.is_closed());
        }
        self.lines.retain(|line| !line.waiting.is_empty());
        self.waiting = self.lines.iter().map(|line| line.waiting.len()).sum();
    }

    fn is_free(&self, now: Instant, budget: &Budget) -> bool {
        self.in_flight < budget.max_concurrent && self.rate.next(now) <= now
    }

    /// How many may go now.
    fn free(&self, now: Instant, budget: &Budget) -> usize {
        budget.max_concurrent.saturating_sub(self.in_flight).min(self.rate.free(now))
    }

    /// How many of those who wait may go now.
    fn wanted(&self, now: Instant, budget: &Budget) -> usize {
        let each = self.lines.iter().map(|line| line.waiting.len().min(self.left_to(&line.share, budget)));
        each.sum::<usize>().min(self.free(now, budget))
    }
}

impl Rate {
    fn factor(&self, now: Instant) -> f64 {
        (self.factor + RECOVERY * now.duration_since(self.learned).as_secs_f64()).min(1.0)
    }

    /// What is used of the rate, while it recovers.
    fn recovered(&mut self, now: Instant) -> Option<f64> {
        if self.factor >= 1.0 {
            return None;
        }
        (self.factor, self.learned) = (self.factor(now), now);
        Some(self.factor)
    }

    fn interval(&self, now: Instant) -> Duration {
        Duration::from_secs_f64(1.0 / (self.per_second * self.factor(now)))
    }

    /// When the next request may go: now, or later.
    fn next(&self, now: Instant) -> Instant {
        // A second's worth may go at once, one request at the least.
        let ahead = Duration::from_secs(1).saturating_sub(self.interval(now));
        let free = self.arrival.checked_sub(ahead).unwrap_or(now);
        free.max(self.paused_until).max(now)
    }

    /// How many requests may go now.
    fn free(&self, now: Instant) -> usize {
        if self.next(now) > now {
            return 0;
        }
        let ahead = Duration::from_secs(1).saturating_sub(self.interval(now));
        let left = (now + ahead).saturating_duration_since(self.arrival.max(now));
        1 + left.div_duration_f64(self.interval(now)) as usize
    }

    fn take(&mut self, now: Instant) {
        self.arrival = self.arrival.max(now) + self.interval(now);
    }
}

#[cfg(test)]
mod tests;
