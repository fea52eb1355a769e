use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use crate::config::{Fault, Reader, Table};
use crate::domain::TeamName;

/// `requests` in each period, at most `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub requests: NonZeroU32,
    pub period: Duration,
    pub burst: NonZeroU32,
}

/// What binds one team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TeamLimits {
    /// Resets of the team.
    pub team: Quota,
    /// Calls of one user.
    pub caller: Quota,
    /// Rest of one instance between two resets by the team; None: none.
    pub cooldown: Option<Duration>,
}

/// limits.toml.
#[derive(Debug, Default)]
pub(super) struct LimitTable {
    default: TeamLimits,
    teams: BTreeMap<TeamName, TeamLimits>,
}

impl Quota {
    const fn new(requests: u32, seconds: u64, burst: u32) -> Self {
        match (NonZeroU32::new(requests), NonZeroU32::new(burst)) {
            (Some(requests), Some(burst)) => Self { requests, period: Duration::from_secs(seconds), burst },
            _ => panic!("a quota of none"),
        }
    }
}

impl Default for TeamLimits {
    fn default() -> Self {
        Self {
            team: Quota::new(600, 3600, 100),
            caller: Quota::new(600, 60, 60),
            cooldown: Some(Duration::from_secs(60)),
        }
    }
}

impl LimitTable {
    pub(super) fn of(&self, team: &TeamName) -> &TeamLimits {
        self.teams.get(team).unwrap_or(&self.default)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Option<&TeamName>, &TeamLimits)> {
        std::iter::once((None, &self.default))
            .chain(self.teams.iter().map(|(team, limits)| (Some(team), limits)))
    }

    /// Reads limits.toml, or reports all that is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let no_overrides = BTreeMap::<String, String>::new();
        let mut reader = Reader::parse(text, Path::new(""), &no_overrides).map_err(|fault| vec![fault])?;
        let default = row(&mut reader.table("default"), &TeamLimits::default());
        let mut table = reader.table("teams");
        let teams = table.keys().into_iter().map(|name| {
            let mut inner = table.table(&name);
            let team = name.parse::<TeamName>();
            if let Err(fault) = &team {
                inner.fault("", fault.to_string());
            }
            let limits = row(&mut inner, &default.unwrap_or_default());
            Some((team.ok()?, limits?))
        });
        let teams: Vec<_> = teams.collect();
        drop(table);
        let (_, faults) = reader.finish();
        let teams: Option<_> = teams.into_iter().collect();
        match (default, teams) {
            (Some(default), Some(teams)) if faults.is_empty() => Ok(Self { default, teams }),
            _ => Err(faults),
        }
    }
}

fn row(table: &mut Table<'_>, default: &TeamLimits) -> Option<TeamLimits> {
    let team = quota(table, "team", &default.team);
    let caller = quota(table, "caller", &default.caller);
    let cooldown = default.cooldown.map_or(0, |rest| rest.as_secs());
    let cooldown = table.integer("instance_cooldown_seconds", Some(cooldown), 0..=86_400);
    let cooldown = cooldown.map(|seconds| (seconds > 0).then(|| Duration::from_secs(seconds)));
    Some(TeamLimits { team: team?, caller: caller?, cooldown: cooldown? })
}

/// Longest time, in seconds, in which a spent burst is all there again.
const LONGEST_REFILL: u128 = 31_536_000;

/// A quota is whole: one key given asks for all three.
fn quota(table: &mut Table<'_>, key: &str, default: &Quota) -> Option<Quota> {
    if !table.has(key) {
        return Some(*default);
    }
    let mut inner = table.table(key);
    let requests = inner.integer("requests", None, 1..=10_000_000);
    let period = inner.integer("period_seconds", None, 1..=31_536_000);
    let burst = inner.integer("burst", None, 1..=1_000_000);
    let (requests, period, burst) = (requests?, period?, burst?);
    // The state of a quota counts whole microseconds, and must hold all of a burst.
    if requests > period * 1_000_000 {
        inner.fault("requests", "must be at most one a microsecond");
        return None;
    }
    if u128::from(period) * u128::from(burst) / u128::from(requests) > LONGEST_REFILL {
        inner.fault(
            "burst",
            "must be there again within a year: burst × period_seconds / requests ≤ 31536000",
        );
        return None;
    }
    let number = |n: u64| u32::try_from(n).ok().and_then(NonZeroU32::new);
    Some(Quota { requests: number(requests)?, period: Duration::from_secs(period), burst: number(burst)? })
}
