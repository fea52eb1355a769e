//! Questions that nobody's request asks: those of tables of cases, and of whoever wants a decision explained.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::blocks::Caller;
use super::question::{Action, Asked, Question};
use super::{Owner, PolicyRevision, Trace, Unmet, Verdict};
use crate::domain::{IssuerName, TeamName};
use crate::inventory::Attributes;

/// A question with everything that a policy may read.
#[derive(Debug, Clone)]
pub struct Inquiry {
    pub action: Action,
    pub asked: Asked,
    pub about: About,
    /// Whose clock `context.local` shows.
    pub zone: TimeZone,
}

/// What a question is about.
#[derive(Debug, Clone)]
pub enum About {
    Instance(Arc<Attributes>),
    /// Whose resets or records are read.
    Owner(Owner),
}

impl Inquiry {
    fn question(&self) -> Question {
        match &self.about {
            About::Instance(told) => Question::of_instance(self.action, &self.asked, told, &self.zone),
            About::Owner(owner) => Question::of_owner(self.action, &self.asked, owner, &self.zone),
        }
    }
}

impl PolicyRevision {
    /// What the gateway itself would decide.
    pub fn answer(&self, inquiry: &Inquiry) -> Verdict {
        let (team, question) = (&inquiry.asked.team, inquiry.question());
        match &inquiry.about {
            About::Instance(_) => self.decide(team, &question),
            About::Owner(owner) => self.decide_of_owner(inquiry.action, team, owner, &question),
        }
    }

    /// Whether blocks.toml stops the caller before any policy is asked, as far as its token's id is not what it stops.
    pub fn stops(&self, asked: &Asked) -> bool {
        let (issuer, subject) = asked.user.split_once('|').unwrap_or_default();
        let client = Some(asked.client.as_str()).filter(|client| !client.is_empty());
        self.blocks.stop(&Caller { issuer, subject, client, token_id: None, team: Some(&asked.team) })
    }

    /// The team's permits for the action, in the order of the file, and why each does not fit.
    pub fn unmet(&self, inquiry: &Inquiry) -> Vec<Unmet> {
        self.rules(&inquiry.asked.team).unmet(inquiry.action, &inquiry.question())
    }

    /// How every policy fares that speaks of the action: the global ones and the team's, in the order of their files.
    pub fn trace(&self, inquiry: &Inquiry) -> Vec<Trace> {
        self.rules(&inquiry.asked.team).trace(inquiry.action, &inquiry.question())
    }
}

impl Asked {
    /// Somebody of the team, at noon on a Monday, with nothing else to tell.
    pub fn anyone(team: TeamName) -> Self {
        Self {
            user: "test|someone".to_owned(),
            team,
            scopes: Vec::new(),
            client: String::new(),
            actor: String::new(),
            // TEST-NET-1 (RFC 5737): nobody's.
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            at: Timestamp::constant(1_767_614_400, 0),
            reason_given: false,
            ticket_given: false,
            generated: false,
            batch_size: 1,
        }
    }
}

/// The text is not a user as policies name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an issuer's name, a bar and its name for the user, as \"corp|alice\"")]
pub struct UserFault;

/// A user's id: `<issuer name>|<subject>`.
pub fn user(text: &str) -> Result<String, UserFault> {
    let (issuer, subject) = text.split_once('|').ok_or(UserFault)?;
    let good = issuer.parse::<IssuerName>().is_ok() && !subject.is_empty();
    good.then(|| text.to_owned()).ok_or(UserFault)
}

/// The text is not a time that a policy could be asked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 time since 1970, as \"2026-11-24T09:00:00+01:00\"")]
pub struct TimeFault;

/// A time with its offset. Cedar knows four-digit years only.
pub fn time(text: &str) -> Result<Timestamp, TimeFault> {
    let at: Timestamp = text.parse().map_err(|_| TimeFault)?;
    if at >= Timestamp::UNIX_EPOCH { Ok(at) } else { Err(TimeFault) }
}
