//! How often: the caller limit on every route, and the quotas that a reset is charged to:
//! [`Authorized`] -> [`Permit`].

mod caller;
mod counters;
mod gcra;
mod local;
mod redis;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::authn::{Call, Identity};
use crate::authz::{Authorized, PolicyRevision, TeamLimits};
use crate::config::{self, Quota};
use crate::domain::{InstanceId, TeamName};
use crate::metrics::Metrics;
use crate::redis::{Away, Link};
use ipnet::IpNet;

use caller::CallerLimits;
use counters::{Charge, Counters, Key};
use gcra::Rate;
use local::Local;
use redis::Redis;

pub use local::Overflow;

/// A limit, as answers and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Calls of one user.
    Caller,
    /// Resets of one team.
    Team,
    /// Rest of one instance between two resets by one team.
    Cooldown,
    /// Tokens that were refused, of one client network.
    FailedAuthentications,
}

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: Limit,
    pub quota: Quota,
    pub remaining: u32,
    /// Until all of it is there again.
    pub reset: Duration,
}

/// What is left of the quotas that a reset is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standings {
    team: Standing,
    cooldown: Option<Standing>,
}

/// A limit that is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub limit: Limit,
    pub retry_after: Duration,
}

/// A reset that is within all quotas, which are charged for it. Only [`Limiter::admit`] makes one:
///
/// ```compile_fail,E0451
/// use zengate::authz::Authorized;
/// use zengate::ratelimit::Permit;
/// fn forge(authorized: Authorized, genuine: Permit) -> Permit {
///     Permit { authorized, ..genuine }
/// }
/// ```
///
/// ```
/// use zengate::authz::Authorized;
/// use zengate::ratelimit::{Limiter, Permit};
/// async fn earn(authorized: Authorized, limiter: &Limiter) -> Option<Permit> {
///     limiter.admit(authorized).await.ok()
/// }
/// ```
///
/// Dropped before it became an intent, it gives back what it charged.
#[derive(Debug)]
pub struct Permit {
    authorized: Authorized,
    charged: Charged,
    standings: Standings,
}

/// What a permit charged, and gives back when dropped unless told to keep it.
#[derive(Debug)]
pub struct Charged {
    counters: Arc<Counters>,
    team: Option<Charge>,
    cooldown: Option<Charge>,
}

/// A reset that a quota refuses; nothing is charged.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Limited {
    pub authorized: Authorized,
    /// None: nothing could be counted.
    pub standings: Option<Standings>,
    #[source]
    pub error: Error,
}

/// Several resets that a quota refuses; nothing is charged.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct LimitedAll {
    pub all: Vec<Authorized>,
    /// Which of them rest.
    pub resting: Vec<usize>,
    /// Of the first that is refused. None: nothing could be counted.
    pub standings: Option<Standings>,
    #[source]
    pub error: Error,
}

/// What a permit charged, while its reset is decided once more. Dropped, it gives back.
#[derive(Debug)]
pub struct Share {
    charged: Charged,
    standings: Standings,
    team: TeamName,
    instance: InstanceId,
}

/// Why a quota refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a limit is spent")]
    Spent(Spent),
    #[error("no more quotas can be counted (limits.max_keys)")]
    Overflow(#[from] Overflow),
    #[error(transparent)]
    Away(#[from] Away),
}

/// All limits of one process.
pub struct Limiter {
    callers: CallerLimits,
    counters: Arc<Counters>,
    /// Apart from the others: strangers fill these.
    failures: Local,
    failed_authentications: Rate,
    metrics: Arc<Metrics>,
}

impl Limit {
    /// The name in headers, problems and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Team => "team",
            Self::Cooldown => "cooldown",
            Self::FailedAuthentications => "failed-authentications",
        }
    }
}

impl Limiter {
    /// An empty state, or Redis', under `settings` and the limits of `revision`.
    pub fn new(
        revision: &PolicyRevision,
        settings: &config::Limits,
        redis: Option<Arc<Link>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let counters = match redis {
            None => Counters::Local(Local::new(settings.max_keys)),
            Some(link) => Counters::Redis(Redis::new(link, settings.max_keys)),
        };
        Self {
            callers: CallerLimits::new(revision),
            counters: Arc::new(counters),
            failures: Local::new(settings.max_keys),
            failed_authentications: Rate::of(&settings.failed_authentications),
            metrics,
        }
    }

    /// Whether tokens that were never verified may still come from the client's network.
    pub fn check_network(&self, client: IpAddr) -> Result<(), Spent> {
        let mut asked = [Charge::new(Key::Network(network(client)), self.failed_authentications, 1)];
        self.failures.peek(&mut asked);
        let [Charge { rate, state, cells, .. }] = asked;
        rate.charge(state, self.failures.now(), cells).map(drop).map_err(|wait| {
            let limit = Limit::FailedAuthentications;
            self.metrics.limited(limit.name());
            Spent { limit, retry_after: micros(wait) }
        })
    }

    /// Charges the client's network for a token that was refused. More networks than can be counted are let
    /// through to the signature check, which still refuses: locking all new tokens out would serve an attacker.
    pub fn charge_failure(&self, client: IpAddr) {
        let charge = Charge::new(Key::Network(network(client)), self.failed_authentications, 1);
        _ = self.failures.charge(&mut [charge], self.failures.now());
    }

    /// Takes a new revision's caller limits over; an unchanged one keeps its state.
    pub fn replace(&self, revision: &PolicyRevision) {
        self.callers.replace(revision);
    }

    /// Forgets who has everything left. Takes milliseconds: not for the request path.
    pub fn sweep(&self) {
        self.callers.sweep();
        self.counters.sweep();
        self.failures.sweep(self.failures.now());
    }

    /// Charges one call to the user, by the acting team's limit.
    pub fn check_caller(&self, identity: &Identity, team: Option<&TeamName>) -> Result<Standing, Spent> {
        self.callers.check(identity, team).inspect_err(|spent| self.metrics.limited(spent.limit.name()))
    }

    /// Whether this refusal of the user is the first of a minute: only that one goes on record.
    pub fn first_refusal_in_a_minute(&self, identity: &Identity) -> bool {
        self.callers.first_refusal_in_a_minute(identity)
    }

    /// Charges the caller limit for so many calls more, or with all that is left of it.
    pub fn charge_calls(&self, identity: &Identity, team: &TeamName, calls: usize) {
        _ = (0..calls).try_for_each(|_| self.callers.check(identity, Some(team)).map(drop));
    }

    /// What is left to the team; charges nothing.
    pub async fn team_standing(&self, revision: &PolicyRevision, team: &TeamName) -> Result<Standing, Away> {
        let quota = revision.limits(team).team;
        let mut asked = [Charge::new(Key::Team(team.clone()), Rate::of(&quota), 0)];
        let now = self.counters.peek(&mut asked).await?;
        Ok(standing(Limit::Team, quota, asked[0].left(now)))
    }

    /// What is left to the team and of the rests of these instances, asked for all at once; charges nothing.
    pub async fn standings(
        &self,
        revision: &PolicyRevision,
        team: &TeamName,
        instances: impl ExactSizeIterator<Item = &InstanceId>,
    ) -> Result<Vec<Standings>, Away> {
        let limits = revision.limits(team);
        let count = instances.len();
        let mut asked = charges(team, limits, 0, instances);
        let now = self.counters.peek(&mut asked).await?;
        Ok((0..count).map(|item| Standings::of(limits, &asked, item, now)).collect())
    }

    /// Charges the team's quota and the instance's cool-down: both, or neither.
    pub async fn admit(&self, authorized: Authorized) -> Result<Permit, Box<Limited>> {
        match self.admit_all(vec![authorized]).await {
            Ok(mut permits) => Ok(permits.pop().expect("as many as were authorized")),
            Err(LimitedAll { mut all, standings, error, .. }) => {
                let authorized = all.pop().expect("the one that was given");
                Err(Box::new(Limited { authorized, standings, error }))
            }
        }
    }

    /// The same for several of one team, each of another instance: all of them, or none.
    pub async fn admit_all(&self, all: Vec<Authorized>) -> Result<Vec<Permit>, LimitedAll> {
        let Some(first) = all.first() else { return Ok(Vec::new()) };
        let team = first.seen().call().principal.team();
        let limits = *first.revision().limits(team);
        let instances = all.iter().map(|authorized| &authorized.seen().call().request.instance);
        let mut charges = charges(team, &limits, all.len() as u64, instances);
        let (error, item, now) = match self.counters.charge(&mut charges).await {
            Ok(now) => return Ok(self.permits(all, &limits, charges, now)),
            Err(counters::Refused::Overflow(overflow)) => {
                return Err(self.uncounted(all, overflow.into(), "capacity"));
            }
            Err(counters::Refused::Away(away)) => return Err(self.uncounted(all, away.into(), "redis")),
            Err(counters::Refused::Spent { charge, wait, now }) => {
                let limit = if charge == 0 { Limit::Team } else { Limit::Cooldown };
                (Spent { limit, retry_after: micros(wait) }, charge.saturating_sub(1), now)
            }
        };
        self.metrics.limited(error.limit.name());
        let rests = |charge: &Charge| charge.left(now).remaining == 0;
        let resting = charges[1..].iter().enumerate().filter(|(_, charge)| rests(charge));
        Err(LimitedAll {
            resting: resting.map(|(item, _)| item).collect(),
            standings: Some(Standings::of(&limits, &charges, item, now)),
            error: Error::Spent(error),
            all,
        })
    }

    /// One permit each, with its part of the charges.
    fn permits(
        &self,
        all: Vec<Authorized>,
        limits: &TeamLimits,
        charges: Vec<Charge>,
        now: u64,
    ) -> Vec<Permit> {
        let standings: Vec<_> =
            (0..all.len()).map(|item| Standings::of(limits, &charges, item, now)).collect();
        let mut charges = charges.into_iter();
        let for_team = charges.next().expect("the team's comes first");
        let permits = all.into_iter().zip(standings).map(|(authorized, standings)| {
            let team = Charge { key: for_team.key.clone(), cells: 1, ..for_team };
            let counters = self.counters.clone();
            let charged = Charged { counters, team: Some(team), cooldown: charges.next() };
            Permit { authorized, charged, standings }
        });
        permits.collect()
    }

    /// For tests, of what is counted in this process and so never waits.
    #[cfg(test)]
    pub fn admit_now(&self, authorized: Authorized) -> Result<Permit, Box<Limited>> {
        futures_util::FutureExt::now_or_never(self.admit(authorized)).expect("nothing is waited for")
    }

    fn uncounted(&self, all: Vec<Authorized>, error: Error, limit: &'static str) -> LimitedAll {
        self.metrics.limited(limit);
        LimitedAll { all, resting: Vec::new(), standings: None, error }
    }
}

/// Of so many cells of the team, then of one of each instance where the team's resets need a rest.
fn charges<'i>(
    team: &TeamName,
    limits: &TeamLimits,
    cells: u64,
    instances: impl ExactSizeIterator<Item = &'i InstanceId>,
) -> Vec<Charge> {
    let mut charges = Vec::with_capacity(1 + instances.len());
    charges.push(Charge::new(Key::Team(team.clone()), Rate::of(&limits.team), cells));
    if let Some(rest) = limits.cooldown {
        let cooldown = |instance: &InstanceId| Key::Cooldown(team.clone(), instance.clone());
        charges.extend(instances.map(|instance| Charge::new(cooldown(instance), Rate::one_in(rest), 1)));
    }
    charges
}

impl Permit {
    /// What was permitted.
    pub fn authorized(&self) -> &Authorized {
        &self.authorized
    }

    /// What its charges left.
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// The acting team.
    pub fn team(&self) -> &TeamName {
        self.authorized.seen().call().principal.team()
    }

    /// For a decision that was made long before its turn: the call is to be decided once more.
    pub fn reopen(self) -> (Call, Share) {
        let Self { authorized, charged, standings } = self;
        let call = authorized.into_call();
        let (team, instance) = (call.principal.team().clone(), call.request.instance.clone());
        (call, Share { charged, standings, team, instance })
    }

    /// For the maker of the intent: the charge now follows the outcome.
    pub fn into_parts(self) -> (Authorized, Charged) {
        (self.authorized, self.charged)
    }
}

impl Share {
    /// The acting team.
    pub fn team(&self) -> &TeamName {
        &self.team
    }

    /// The permit again, on a newer decision of the same call.
    pub fn permit(self, authorized: Authorized) -> Permit {
        let Self { charged, standings, team, instance } = self;
        let call = authorized.seen().call();
        assert!(
            *call.principal.team() == team && call.request.instance == instance,
            "a charge is for the reset that it was made for"
        );
        Permit { authorized, charged, standings }
    }
}

impl Standings {
    /// Of the item in this place among [`charges`].
    fn of(limits: &TeamLimits, charges: &[Charge], item: usize, now: u64) -> Self {
        let cooldown = limits.cooldown.zip(charges.get(1 + item));
        Self {
            team: standing(Limit::Team, limits.team, charges[0].left(now)),
            cooldown: cooldown
                .map(|(rest, charge)| standing(Limit::Cooldown, one_in(rest), charge.left(now))),
        }
    }

    /// Of the limits that are spent.
    pub fn spent(&self) -> impl Iterator<Item = Limit> {
        self.iter().filter(|standing| standing.remaining == 0).map(|standing| standing.limit)
    }

    /// The team's, and the instance's cool-down where the team's resets need a rest.
    pub fn iter(&self) -> impl Iterator<Item = &Standing> {
        std::iter::once(&self.team).chain(&self.cooldown)
    }
}

impl Charged {
    /// The reset may have happened: nothing comes back.
    pub fn keep(mut self) {
        (self.team, self.cooldown) = (None, None);
    }

    /// Zenlayer said no: the cool-down comes back, the team's quota does not.
    pub fn keep_team(mut self) {
        self.team = None;
    }

    /// Nothing was sent: all comes back.
    pub fn give_back(self) {}
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.counters.give_back(self.team.take().into_iter().chain(self.cooldown.take()));
    }
}

/// What one subscriber has for certain: an IPv4 address, or an IPv6 /64.
fn network(client: IpAddr) -> IpNet {
    let bits = if client.is_ipv4() { 32 } else { 64 };
    IpNet::new(client, bits).expect("no longer than an address").trunc()
}

fn standing(limit: Limit, quota: Quota, left: gcra::Standing) -> Standing {
    Standing { limit, quota, remaining: left.remaining, reset: micros(left.reset) }
}

fn one_in(rest: Duration) -> Quota {
    Quota { requests: NonZeroU32::MIN, period: rest, burst: NonZeroU32::MIN }
}

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

#[cfg(test)]
mod tests;
