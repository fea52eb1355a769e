use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::RateLimiter;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;

use super::{Limit, Spent, Standing};
use crate::authn::Identity;
use crate::authz::PolicyRevision;
use crate::config::Quota;
use crate::domain::{IssuerName, TeamName};

/// Verified identity alone: nothing that a stranger can choose is a key.
type User = (IssuerName, Arc<str>);

type Limiter<C> = RateLimiter<User, DashMapStateStore<User>, C, StateInformationMiddleware>;

/// The caller limit: one governor for each row of limits.toml. `None` is the default's.
pub(super) struct CallerLimits<C: Clock = DefaultClock> {
    rows: ArcSwap<HashMap<Option<TeamName>, Row<C>>>,
    /// One record a minute of a user whose calls are refused.
    recorded: Limiter<C>,
    clock: C,
}

struct Row<C: Clock> {
    quota: Quota,
    limiter: Arc<Limiter<C>>,
}

impl CallerLimits {
    pub(super) fn new(revision: &PolicyRevision) -> Self {
        Self::with_clock(revision, DefaultClock::default())
    }
}

impl<C: Clock + Clone> CallerLimits<C> {
    pub(super) fn with_clock(revision: &PolicyRevision, clock: C) -> Self {
        let minute =
            Quota { requests: NonZeroU32::MIN, period: Duration::from_secs(60), burst: NonZeroU32::MIN };
        let limits = Self { rows: ArcSwap::default(), recorded: governor(&minute, &clock), clock };
        limits.replace(revision);
        limits
    }

    pub(super) fn replace(&self, revision: &PolicyRevision) {
        let old = self.rows.load();
        let rows = revision.limit_rows().map(|(team, limits)| {
            let team = team.cloned();
            let quota = limits.caller;
            let kept = old.get(&team).filter(|row| row.quota == quota).map(|row| row.limiter.clone());
            let limiter = kept.unwrap_or_else(|| Arc::new(governor(&quota, &self.clock)));
            (team, Row { quota, limiter })
        });
        self.rows.store(Arc::new(rows.collect()));
    }

    pub(super) fn check(&self, identity: &Identity, team: Option<&TeamName>) -> Result<Standing, Spent> {
        let rows = self.rows.load();
        let own = team.and_then(|team| rows.get(&Some(team.clone())));
        let row = own.unwrap_or_else(|| rows.get(&None).expect("there is always a default row"));
        match row.limiter.check_key(&user(identity)) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let reset = interval(&row.quota) * row.quota.burst.get().saturating_sub(remaining);
                Ok(Standing { limit: Limit::Caller, quota: row.quota, remaining, reset })
            }
            Err(until) => {
                let retry_after = until.wait_time_from(self.clock.now());
                Err(Spent { limit: Limit::Caller, retry_after })
            }
        }
    }

    pub(super) fn sweep(&self) {
        self.rows.load().values().for_each(|row| row.limiter.retain_recent());
        self.recorded.retain_recent();
    }

    pub(super) fn first_refusal_in_a_minute(&self, identity: &Identity) -> bool {
        self.recorded.check_key(&user(identity)).is_ok()
    }
}

fn governor<C: Clock + Clone>(quota: &Quota, clock: &C) -> Limiter<C> {
    RateLimiter::dashmap_with_clock(quota.cells(), clock.clone()).with_middleware()
}

fn user(identity: &Identity) -> User {
    (identity.issuer().clone(), identity.shared_subject())
}

fn interval(quota: &Quota) -> Duration {
    quota.period / NonZeroU32::get(quota.requests)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn revision(limits: &str) -> PolicyRevision {
        crate::authz::tests::revision_with("permit-nothing", limits)
    }

    #[test]
    fn a_user_has_a_burst_and_then_a_rate() {
        let clock = FakeRelativeClock::default();
        let limits = "[default]\ncaller = { requests = 60, period_seconds = 60, burst = 2 }\n";
        let limits = CallerLimits::with_clock(&revision(limits), clock.clone());
        let (alice, bob) = (Identity::for_test("alice", &[]), Identity::for_test("bob", &[]));
        assert_eq!(limits.check(&alice, None).map(|s| s.remaining), Ok(1));
        assert_eq!(limits.check(&alice, None).map(|s| s.remaining), Ok(0));
        let spent = limits.check(&alice, None).expect_err("the burst is spent");
        assert_eq!(spent, Spent { limit: Limit::Caller, retry_after: Duration::from_secs(1) });
        assert!(limits.check(&bob, None).is_ok(), "another user is not concerned");
        clock.advance(Duration::from_secs(1));
        assert!(limits.check(&alice, None).is_ok());
    }

    #[test]
    fn an_unchanged_row_keeps_its_state_and_a_changed_one_starts_anew() {
        let clock = FakeRelativeClock::default();
        let one = "[default]\ncaller = { requests = 1, period_seconds = 60, burst = 1 }\n";
        let two = "[default]\ncaller = { requests = 1, period_seconds = 60, burst = 2 }\n";
        let limits = CallerLimits::with_clock(&revision(one), clock);
        let alice = Identity::for_test("alice", &[]);
        assert!(limits.check(&alice, None).is_ok());
        limits.replace(&revision(one));
        assert!(limits.check(&alice, None).is_err(), "unchanged");
        limits.replace(&revision(two));
        assert!(limits.check(&alice, None).is_ok(), "changed");
    }
}
