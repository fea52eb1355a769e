use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::config::{Fault, Reader};
use crate::domain::TeamName;

/// blocks.toml: who is stopped, whatever policies permit.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    everything: bool,
    teams: HashSet<TeamName>,
    /// These are named `<issuer>|<name>`.
    subjects: HashSet<String>,
    clients: HashSet<String>,
    token_ids: HashSet<String>,
}

/// What a caller can be stopped by.
pub(super) struct Caller<'c> {
    pub(super) issuer: &'c str,
    pub(super) subject: &'c str,
    pub(super) client: Option<&'c str>,
    pub(super) token_id: Option<&'c str>,
    /// The acting one.
    pub(super) team: Option<&'c TeamName>,
}

impl Blocks {
    /// Reads blocks.toml, or reports all that is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let no_overrides = BTreeMap::<String, String>::new();
        let mut reader = Reader::parse(text, Path::new(""), &no_overrides).map_err(|fault| vec![fault])?;
        let mut table = reader.root();
        let everything = table.boolean("everything", false);
        let teams = table.list("teams", Some(&[]));
        let mut names = |key: &str| -> Option<HashSet<String>> {
            let names: Vec<String> = table.list(key, Some(&[]))?;
            for name in names.iter().filter(|name| !name.contains('|')) {
                table.fault(
                    key,
                    format!("{name:?}: must be behind its issuer's name and a bar, as \"corp|{name}\""),
                );
            }
            Some(names.into_iter().collect())
        };
        let (subjects, clients, token_ids) = (names("subjects"), names("clients"), names("token_ids"));
        drop(table);
        let (_, faults) = reader.finish();
        match (everything, teams, subjects, clients, token_ids) {
            (Some(everything), Some(teams), Some(subjects), Some(clients), Some(token_ids))
                if faults.is_empty() =>
            {
                let teams: Vec<TeamName> = teams;
                Ok(Self { everything, teams: teams.into_iter().collect(), subjects, clients, token_ids })
            }
            _ => Err(faults),
        }
    }

    /// Whether the caller is stopped.
    pub(super) fn stop(&self, caller: &Caller<'_>) -> bool {
        let named = |names: &HashSet<String>, name: Option<&str>| {
            !names.is_empty() && name.is_some_and(|name| names.contains(&format!("{}|{name}", caller.issuer)))
        };
        self.everything
            || caller.team.is_some_and(|team| self.teams.contains(team))
            || named(&self.subjects, Some(caller.subject))
            || named(&self.clients, caller.client)
            || named(&self.token_ids, caller.token_id)
    }
}
