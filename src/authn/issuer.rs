use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::claims::Claims;
use super::keeper::Keeper;
use super::keys::{Keys, Verified};
use super::principal::Identity;
use super::token::{Header, Parts, Refusal};
use crate::config::{self, SignatureAlgorithm, TeamPattern};
use crate::domain::{IssuerName, TeamName};
use crate::metrics::Metrics;

/// One configured issuer: its keys, and what its tokens may say.
pub(super) struct Issuer {
    pub(super) keeper: Keeper,
    pub(super) name: IssuerName,
    pub(super) settings: config::Issuer,
}

/// Why an issuer cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("issuers.{issuer}: {why}")]
pub struct IssuerFault {
    pub issuer: IssuerName,
    pub why: String,
}

/// What a token claimed and its issuer may not assert; it was left out of the identity.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Assertions {
    pub dropped_teams: u64,
    pub dropped_scopes: u64,
}

/// The times of a token that holds now.
struct Times {
    expires: Timestamp,
    from: Timestamp,
    until: Timestamp,
}

impl Issuer {
    /// Reads keys that are in a file; others come when [`Keeper::run`] runs.
    pub(super) fn new(
        name: IssuerName,
        settings: config::Issuer,
        metrics: Arc<Metrics>,
    ) -> Result<Self, IssuerFault> {
        let fault = |why| IssuerFault { issuer: name.clone(), why };
        let keeper = Keeper::new(name.clone(), &settings, metrics).map_err(|e| fault(e.to_string()))?;
        keeper.read_file().map_err(fault)?;
        Ok(Self { keeper, name, settings })
    }

    /// Checks the signature by the keys in force, and says by which.
    pub(super) fn verify(&self, parts: Parts<'_>) -> Result<(Verified, Arc<Keys>), Refusal> {
        let algorithm = self.algorithm(&parts.header)?;
        let keys = self.keeper.keys().ok_or(Refusal::NoKeys)?;
        let verified = keys.verify(algorithm, parts)?;
        Ok((verified, keys))
    }

    fn algorithm(&self, header: &Header) -> Result<SignatureAlgorithm, Refusal> {
        let algorithm = header.alg.parse().ok();
        algorithm.filter(|algorithm| self.settings.algorithms.contains(algorithm)).ok_or(Refusal::Algorithm)
    }

    /// The identity that a verified token gives at `now`.
    pub(super) fn identify(
        &self,
        token: &Verified,
        now: Timestamp,
    ) -> Result<(Identity, Assertions), Refusal> {
        let Verified { header, claims, .. } = token;
        self.check_type(header)?;
        self.check_audience(claims)?;
        let Times { expires, from, until } = self.check_times(claims, now.as_second())?;
        let mut dropped = Assertions::default();
        let identity = Identity {
            issuer: self.name.clone(),
            subject: self.subject(claims)?.into(),
            client: claims.text("azp")?.or(claims.text("client_id")?).map(bounded),
            actor: claims.at("/act/sub").and_then(Value::as_str).map(bounded),
            token_id: claims.text("jti")?.map(bounded),
            teams: self.teams(claims, &mut dropped)?,
            scopes: self.scopes(claims, &mut dropped)?,
            expires,
            valid_from: from,
            valid_until: until,
        };
        Ok((identity, dropped))
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Refusal> {
        let given = claims.texts("aud")?.ok_or(Refusal::ClaimMissing("aud"))?;
        let meant = given.iter().any(|aud| self.settings.audiences.iter().any(|ours| ours == aud));
        if meant { Ok(()) } else { Err(Refusal::Audience) }
    }

    /// `exp` is required; `nbf` and `iat` count when present.
    fn check_times(&self, claims: &Claims, now: i64) -> Result<Times, Refusal> {
        let leeway = seconds(self.settings.leeway);
        let exp = claims.date("exp")?.ok_or(Refusal::ClaimMissing("exp"))?;
        let (nbf, iat) = (claims.date("nbf")?, claims.date("iat")?);
        if now >= exp + leeway {
            return Err(Refusal::Expired);
        }
        let from = nbf.max(iat).unwrap_or_default() - leeway;
        if from > now {
            return Err(Refusal::NotYetValid);
        }
        if let Some(longest) = self.settings.max_lifetime {
            let lives = iat.map(|iat| exp - iat);
            if lives.is_none_or(|lived| lived > seconds(longest)) {
                return Err(Refusal::Lifetime);
            }
        }
        let time = |second| Timestamp::from_second(second).map_err(|_| Refusal::ClaimShape("exp"));
        Ok(Times { expires: time(exp)?, from: time(from)?, until: time(exp + leeway)? })
    }

    /// `at+jwt` and `application/at+jwt` are one type (RFC 7515, section 4.1.9).
    fn check_type(&self, header: &Header) -> Result<(), Refusal> {
        let Some(required) = &self.settings.required_typ else { return Ok(()) };
        let bare = |typ: &str| typ.to_ascii_lowercase().trim_start_matches("application/").to_owned();
        let given = header.typ.as_deref().map(bare);
        if given == Some(bare(required)) { Ok(()) } else { Err(Refusal::Type) }
    }

    fn subject<'c>(&self, claims: &'c Claims) -> Result<&'c str, Refusal> {
        // Even where another claim names the user, `sub` itself must be there (RFC 9068).
        claims.text("sub")?.ok_or(Refusal::ClaimMissing("sub"))?;
        let subject = claims.at(&self.settings.subject_claim).ok_or(Refusal::ClaimMissing("sub"))?;
        let subject = subject.as_str().ok_or(Refusal::ClaimShape("sub"))?;
        let fits = (1..=255).contains(&subject.chars().count()) && !subject.chars().any(char::is_control);
        if fits { Ok(subject) } else { Err(Refusal::ClaimShape("sub")) }
    }

    /// A list of names, one name, or several with spaces between; those the issuer may assert.
    fn teams(&self, claims: &Claims, dropped: &mut Assertions) -> Result<Vec<TeamName>, Refusal> {
        let found = self.settings.teams_claims.iter().find_map(|pointer| claims.at(pointer));
        let mut teams: Vec<TeamName> = Vec::new();
        for text in words(found, "teams")? {
            let team = self.named_team(text).filter(|team| self.may_assert(team));
            match team {
                Some(team) if teams.contains(&team) => {}
                Some(team) => teams.push(team),
                None => dropped.dropped_teams += 1,
            }
        }
        Ok(teams)
    }

    /// The team that a token's word means: by its other name, else behind the prefix.
    fn named_team(&self, word: &str) -> Option<TeamName> {
        let config::Issuer { team_names, team_prefix, .. } = &self.settings;
        match team_names.get(word) {
            Some(team) => Some(team.clone()),
            None => word.strip_prefix(team_prefix.as_str())?.parse().ok(),
        }
    }

    fn may_assert(&self, team: &TeamName) -> bool {
        self.settings.may_assert_teams.iter().any(|pattern: &TeamPattern| pattern.matches(team))
    }

    fn scopes(&self, claims: &Claims, dropped: &mut Assertions) -> Result<Vec<String>, Refusal> {
        let claimed = words(claims.at(&self.settings.scopes_claim), "scope")?;
        let (kept, others): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|scope| self.settings.may_assert_scopes.iter().any(|s| s == scope));
        // A scope that is not ours at all (`openid`) is no claim to anything here.
        dropped.dropped_scopes += others.iter().filter(|scope| scope.starts_with("zengate:")).count() as u64;
        Ok(kept.into_iter().map(str::to_owned).collect())
    }
}

fn words<'c>(claim: Option<&'c Value>, name: &'static str) -> Result<Vec<&'c str>, Refusal> {
    match claim {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text.split(' ').filter(|word| !word.is_empty()).collect()),
        Some(Value::Array(items)) => {
            items.iter().map(Value::as_str).collect::<Option<_>>().ok_or(Refusal::ClaimShape(name))
        }
        Some(_) => Err(Refusal::ClaimShape(name)),
    }
}

/// Names for the record: at most 255 characters, control characters left out.
fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(255).collect()
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
