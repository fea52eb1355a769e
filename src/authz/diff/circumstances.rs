use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::authz::question::Asker;
use crate::authz::{Action, Asked};
use crate::domain::TeamName;

/// How decisions are asked for: with nothing given, with reason and ticket, and with each scope besides.
#[derive(Debug, Clone)]
pub struct Circumstances {
    pub scopes: Vec<String>,
    pub at: Timestamp,
    /// Whose clock `context.local` shows.
    pub zone: TimeZone,
}

/// One of them.
struct Circumstance {
    name: String,
    /// Reason and ticket are given.
    written: bool,
    scope: Option<String>,
}

impl Circumstances {
    /// Those of a reset.
    pub fn names(&self) -> Vec<String> {
        self.of(Action::ResetPassword).into_iter().map(|circumstance| circumstance.name).collect()
    }

    /// Whoever asks for the action under each of them, with its name; at least one.
    pub(super) fn askers(&self, action: Action, team: &TeamName) -> Vec<(String, Asker)> {
        let asker = |Circumstance { name, written, scope }| {
            let asked = Asked {
                reason_given: written,
                ticket_given: written,
                scopes: scope.into_iter().collect(),
                at: self.at,
                ..Asked::anyone(team.clone())
            };
            (name, Asker::new(action, &asked, &self.zone))
        };
        self.of(action).into_iter().map(asker).collect()
    }

    /// Those that differ for the action: only a reset has reason and ticket.
    fn of(&self, action: Action) -> Vec<Circumstance> {
        let reset = action == Action::ResetPassword;
        let plain = |name: &str, written| Circumstance { name: name.to_owned(), written, scope: None };
        let mut all = vec![plain("nothing given", false)];
        if reset {
            all.push(plain("reason and ticket", true));
        }
        all.extend(self.scopes.iter().map(|scope| {
            let before = if reset { "reason, ticket and " } else { "" };
            let name = format!("{before}scope {scope}");
            Circumstance { name, written: reset, scope: Some(scope.clone()) }
        }));
        all
    }
}
