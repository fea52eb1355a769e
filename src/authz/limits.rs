use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::{Fault, Quota, Reader, Table};
use crate::domain::TeamName;

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
    let team = Quota::read(table, "team", &default.team);
    let caller = Quota::read(table, "caller", &default.caller);
    let cooldown = default.cooldown.map_or(0, |rest| rest.as_secs());
    let cooldown = table.integer("instance_cooldown_seconds", Some(cooldown), 0..=86_400);
    let cooldown = cooldown.map(|seconds| (seconds > 0).then(|| Duration::from_secs(seconds)));
    Some(TeamLimits { team: team?, caller: caller?, cooldown: cooldown? })
}
