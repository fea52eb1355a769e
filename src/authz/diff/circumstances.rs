use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::reading::Reading;
use crate::authz::question::Asker;
use crate::authz::{Action, Asked};
use crate::domain::TeamName;

/// How decisions are asked for: by one caller, with nothing given, with reason and ticket, and with each scope besides,
/// all of it with a typed password and with a generated one.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// None, as for the others: that of [`Asked::anyone`].
    pub user: Option<String>,
    pub client: Option<String>,
    pub actor: Option<String>,
    pub address: Option<IpAddr>,
    pub batch_size: Option<i64>,
    pub scopes: Vec<String>,
    pub at: Timestamp,
    /// Whose clock `context.local` shows.
    pub zone: TimeZone,
}

/// One of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Circumstance<'c> {
    /// Reason and ticket are given.
    written: bool,
    generated: bool,
    scope: Option<&'c str>,
}

impl Circumstances {
    /// Those of the action.
    pub fn names(&self, action: Action) -> Vec<String> {
        self.told_apart(action, &Reading::everything()).iter().map(Circumstance::name).collect()
    }

    pub(super) fn all(&self) -> Vec<Circumstance<'_>> {
        let nothing = Circumstance::default();
        let written = Circumstance { written: true, ..nothing };
        let scoped = self.scopes.iter().map(|scope| Circumstance { scope: Some(scope), ..written });
        let typed: Vec<_> = [nothing, written].into_iter().chain(scoped).collect();
        let generated = typed.iter().map(|typed| Circumstance { generated: true, ..*typed });
        [typed.clone(), generated.collect()].concat()
    }

    /// Those that policies with this reading can tell apart, each without what none of them reads; at least one.
    pub(super) fn told_apart(&self, action: Action, reading: &Reading) -> Vec<Circumstance<'_>> {
        let mut apart = Vec::new();
        for seen in self.all().into_iter().map(|circumstance| circumstance.seen(action, reading)) {
            if !apart.contains(&seen) {
                apart.push(seen);
            }
        }
        apart
    }

    /// Whoever of the team asks for the action under it.
    pub(super) fn asker(&self, circumstance: Circumstance<'_>, action: Action, team: &TeamName) -> Asker {
        let Circumstance { written, generated, scope } = circumstance;
        let anyone = Asked::anyone(team.clone());
        let asked = Asked {
            user: self.user.clone().unwrap_or(anyone.user),
            client: self.client.clone().unwrap_or(anyone.client),
            actor: self.actor.clone().unwrap_or(anyone.actor),
            address: self.address.unwrap_or(anyone.address),
            batch_size: self.batch_size.unwrap_or(anyone.batch_size),
            scopes: scope.map(str::to_owned).into_iter().collect(),
            at: self.at,
            reason_given: written,
            ticket_given: written,
            generated,
            team: anyone.team,
        };
        Asker::new(action, &asked, &self.zone)
    }
}

impl<'c> Circumstance<'c> {
    /// What policies with this reading see of it when they decide on the action.
    pub(super) fn seen(self, action: Action, reading: &Reading) -> Self {
        let of_reset = |attribute| action == Action::ResetPassword && reading.has(attribute);
        Self {
            written: self.written && (of_reset("reasonGiven") || of_reset("ticketGiven")),
            generated: self.generated && of_reset("generated"),
            scope: self.scope.filter(|_| reading.has("scopes")),
        }
    }

    pub(super) fn name(&self) -> String {
        let written = if self.written { &["reason", "ticket"][..] } else { &[] };
        let mut parts: Vec<String> = written.iter().map(|&part| part.to_owned()).collect();
        parts.extend(self.scope.map(|scope| format!("scope {scope}")));
        parts.extend(self.generated.then(|| "a generated password".to_owned()));
        match parts.split_last() {
            None => "nothing given".to_owned(),
            Some((only, [])) => only.clone(),
            Some((last, before)) => format!("{} and {last}", before.join(", ")),
        }
    }
}
