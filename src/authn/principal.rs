use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::domain::{IssuerName, Keyed, RequestId, ResetRequest, TeamName, TraceId};

/// Who a verified token says is calling. Only `authn` makes one.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(super) issuer: IssuerName,
    pub(super) subject: Arc<str>,
    pub(super) client: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) token_id: Option<String>,
    pub(super) teams: Vec<TeamName>,
    pub(super) scopes: Vec<String>,
    pub(super) expires: Timestamp,
    /// When the token's times hold, leeway included.
    pub(super) valid_from: Timestamp,
    pub(super) valid_until: Timestamp,
}

/// An [`Identity`] acting for one of its teams; everything that is decided is decided for this.
///
/// Only [`Identity::acting_for`] makes one:
///
/// ```compile_fail,E0451
/// use zengate::authn::{Identity, Principal};
/// fn forge(identity: std::sync::Arc<Identity>, team: zengate::domain::TeamName) -> Principal {
///     Principal { identity, team }
/// }
/// ```
///
/// ```
/// use zengate::authn::{Identity, Principal};
/// fn forge(identity: std::sync::Arc<Identity>, team: zengate::domain::TeamName) -> Option<Principal> {
///     identity.acting_for(Some(&team)).ok()
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Principal {
    identity: Arc<Identity>,
    team: TeamName,
}

/// Why no team can be acted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeamFault {
    /// The token has no team.
    None,
    /// Several, and none was named.
    Several,
    /// The named one is not the caller's.
    NotTheirs,
}

impl Identity {
    /// The configured name of the issuer.
    pub fn issuer(&self) -> &IssuerName {
        &self.issuer
    }

    /// The issuer's name for the user; unique together with the issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The subject, to be kept without a copy.
    pub fn shared_subject(&self) -> Arc<str> {
        self.subject.clone()
    }

    /// The program that the token was issued to (`azp`, else `client_id`).
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// Who acts on the subject's behalf (`act`, RFC 8693).
    pub fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// The teams that the issuer may assert, in the token's order.
    pub fn teams(&self) -> &[TeamName] {
        &self.teams
    }

    /// The scopes that the issuer may assert.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The token's `exp`.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether its token's times hold; a clock set back makes a token early again.
    pub(super) fn holds(&self, now: Timestamp) -> bool {
        self.valid_from <= now && now < self.valid_until
    }

    /// The team to act for: the named one, or the only one.
    pub fn team(&self, named: Option<&TeamName>) -> Result<&TeamName, TeamFault> {
        match (named, self.teams.as_slice()) {
            (Some(named), teams) => teams.iter().find(|team| *team == named).ok_or(TeamFault::NotTheirs),
            (None, []) => Err(TeamFault::None),
            (None, [only]) => Ok(only),
            (None, _) => Err(TeamFault::Several),
        }
    }

    /// Acts for the named team, or for the only one.
    pub fn acting_for(self: Arc<Self>, named: Option<&TeamName>) -> Result<Principal, TeamFault> {
        let team = self.team(named)?.clone();
        Ok(Principal { identity: self, team })
    }
}

/// The user's id in policies, quotas and records: `corp|alice`. No issuer's name has a `|`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.issuer, self.subject)
    }
}

impl Principal {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The acting team.
    pub fn team(&self) -> &TeamName {
        &self.team
    }
}

/// Where a request came from, for policies and records.
#[derive(Debug, Clone)]
pub struct Origin {
    pub request_id: RequestId,
    /// As the caller claims it.
    pub trace: Option<TraceId>,
    pub address: IpAddr,
    /// At most 256 characters, none of them a control character.
    pub user_agent: Option<String>,
    pub at: Timestamp,
    /// The same moment, by a clock that is never set.
    pub arrived: Instant,
}

/// What a caller wants: the first proof of a reset's path.
#[derive(Debug)]
pub struct Call {
    pub principal: Principal,
    pub request: ResetRequest,
    /// By what it may be asked for again, and is served once.
    pub key: Option<Keyed>,
    pub origin: Origin,
}

#[cfg(any(test, feature = "bench"))]
impl Identity {
    /// An identity without a token.
    pub(crate) fn for_test(subject: &str, teams: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            issuer: "corp".parse().expect("a name"),
            subject: subject.into(),
            client: None,
            actor: None,
            token_id: None,
            teams: teams.iter().map(|team| team.parse().expect("a name")).collect(),
            scopes: Vec::new(),
            expires: Timestamp::MAX,
            valid_from: Timestamp::MIN,
            valid_until: Timestamp::MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_holds_for_its_token_s_time_alone() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut identity = Identity::for_test("alice", &["a"]);
        let inner = Arc::get_mut(&mut identity).expect("just made");
        (inner.valid_from, inner.valid_until) = (at(100), at(200));
        for (second, holds) in [(99, false), (100, true), (199, true), (200, false)] {
            assert_eq!(identity.holds(at(second)), holds, "{second}");
        }
    }

    #[test]
    fn a_team_is_acted_for_only_if_it_is_the_callers() {
        let team = |name: &str| -> TeamName { name.parse().expect("a name") };
        for (row, teams, named, acting) in [
            ("the only one", vec!["a"], None, Ok("a")),
            ("the only one, named", vec!["a"], Some("a"), Ok("a")),
            ("one of two", vec!["a", "b"], Some("b"), Ok("b")),
            ("two, none named", vec!["a", "b"], None, Err(TeamFault::Several)),
            ("none", vec![], None, Err(TeamFault::None)),
            ("none, one named", vec![], Some("a"), Err(TeamFault::NotTheirs)),
            ("another's", vec!["a"], Some("b"), Err(TeamFault::NotTheirs)),
        ] {
            let named = named.map(team);
            let principal = Identity::for_test("alice", &teams).acting_for(named.as_ref());
            assert_eq!(principal.map(|p| p.team().clone()), acting.map(team), "{row}");
        }
        assert_eq!(
            Identity::for_test("al|ice", &[]).to_string(),
            "corp|al|ice",
            "no issuer's name has a bar"
        );
    }
}
