//! Why a token is accepted or not, step by step, for whoever runs the gateway.

use jiff::Timestamp;
use serde_json::Value;

use super::issuer::Issuer;
use super::principal::Identity;
use super::token::{BAD_SIGNATURE, Header, Parts, Refusal};
use super::{Assertions, Authenticator};
use crate::config::Issuer as Settings;
use crate::domain::rfc3339;

/// One step of a check.
#[derive(Debug)]
pub struct Finding {
    pub step: &'static str,
    /// None: an earlier step failed, so this one was not taken.
    pub passed: Option<bool>,
    /// What the token says and what is wanted; the signature is never in it.
    pub detail: String,
}

/// A whole check.
pub struct Inspection {
    pub findings: Vec<Finding>,
    pub result: Result<(Identity, Assertions), Refusal>,
}

/// The order in which a token is checked.
const STEPS: [&str; 9] =
    ["shape", "issuer", "algorithm", "key", "signature", "type", "audience", "times", "names"];

impl Refusal {
    /// The step that it ends.
    fn step(&self) -> &'static str {
        match self {
            Self::Malformed(BAD_SIGNATURE) | Self::Signature => "signature",
            Self::Missing | Self::NotBearer | Self::TooLong | Self::Malformed(_) | Self::Critical(_) => {
                "shape"
            }
            Self::UnknownIssuer | Self::ClaimMissing("iss") | Self::ClaimShape("iss") => "issuer",
            Self::Algorithm => "algorithm",
            Self::UnknownKey | Self::NoKeys => "key",
            Self::Type => "type",
            Self::Audience | Self::ClaimMissing("aud") | Self::ClaimShape("aud") => "audience",
            Self::Expired | Self::NotYetValid | Self::Lifetime => "times",
            Self::ClaimMissing("exp" | "nbf" | "iat") | Self::ClaimShape("exp" | "nbf" | "iat") => "times",
            Self::ClaimMissing(_) | Self::ClaimShape(_) => "names",
        }
    }
}

impl Authenticator {
    /// Checks a token the way a caller's is checked, after its issuer's keys were refreshed, and tells each step.
    pub async fn inspect(&self, token: &str, now: Timestamp) -> Inspection {
        let parts = Parts::split(token);
        let issuer = parts.as_ref().ok().and_then(|parts| self.issuer(parts).ok());
        let refreshed = match issuer {
            Some(issuer) => issuer.keeper.refresh().await,
            None => Ok(()),
        };
        let result = self.check(token, now);
        let failed = result.as_ref().err().map(Refusal::step);
        let mut ended = false;
        let mut finding = |step: &'static str| {
            let passed = if ended { None } else { Some(failed != Some(step)) };
            ended |= passed == Some(false);
            let mut told = match (&parts, passed) {
                (_, None) => String::new(),
                (Ok(parts), _) => detail(step, parts, issuer, now),
                (Err(_), _) => String::new(),
            };
            if let (Some(false), Err(refusal)) = (passed, &result) {
                told = if told.is_empty() { refusal.to_string() } else { format!("{refusal}; {told}") };
            }
            if step == "issuer" && issuer.is_none() && passed.is_some() {
                let mut configured: Vec<_> = self.by_iss.keys().collect();
                configured.sort();
                told.push_str(&format!("; configured: {configured:?}"));
            }
            if let ("key", Some(_), Err(why)) = (step, passed, &refreshed) {
                told.push_str(&format!("; refreshing the keys failed: {why}"));
            }
            Finding { step, passed, detail: told }
        };
        Inspection { findings: STEPS.map(&mut finding).into(), result }
    }

    /// As [`Self::verify`], without remembering.
    fn check(&self, token: &str, now: Timestamp) -> Result<(Identity, Assertions), Refusal> {
        let parts = Parts::split(token)?;
        let issuer = self.issuer(&parts)?;
        let (verified, _) = issuer.verify(parts)?;
        issuer.identify(&verified, now)
    }
}

fn detail(step: &str, parts: &Parts<'_>, issuer: Option<&std::sync::Arc<Issuer>>, now: Timestamp) -> String {
    let Parts { header, unverified: claims, .. } = parts;
    let Header { alg, kid, typ } = header;
    let claim = |pointer: &str| claims.at(pointer).map_or_else(|| "nothing".to_owned(), Value::to_string);
    let Some(issuer) = issuer else {
        return match step {
            "shape" => "three parts of base64url, JSON objects without duplicate names".to_owned(),
            "issuer" => format!("`iss` is {}", claim("/iss")),
            _ => String::new(),
        };
    };
    let Issuer { name, settings, keeper } = &**issuer;
    let Settings { audiences, algorithms, required_typ, leeway, max_lifetime, .. } = settings;
    match step {
        "shape" => "three parts of base64url, JSON objects without duplicate names".to_owned(),
        "issuer" => format!("`iss` is {}: issuers.{name}", claim("/iss")),
        "algorithm" => {
            let accepted: Vec<String> = algorithms.iter().map(ToString::to_string).collect();
            format!("`alg` is {alg:?}; accepted: {}", accepted.join(", "))
        }
        "key" => {
            let keys = keeper.keys();
            let ids: Vec<String> = keys
                .iter()
                .flat_map(|keys| {
                    keys.ids().map(|id| id.map_or_else(|| "(without id)".to_owned(), |id| format!("{id:?}")))
                })
                .collect();
            let kid = kid.as_ref().map_or_else(|| "missing".to_owned(), |kid| format!("{kid:?}"));
            format!(
                "`kid` is {kid}; the issuer's keys: {}",
                if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
            )
        }
        "type" => {
            let wanted = required_typ.as_ref().map_or_else(|| "any".to_owned(), |typ| format!("{typ:?}"));
            let typ = typ.as_ref().map_or_else(|| "missing".to_owned(), |typ| format!("{typ:?}"));
            format!("`typ` is {typ}; accepted: {wanted}")
        }
        "audience" => format!("`aud` is {}; accepted: {audiences:?}", claim("/aud")),
        "times" => {
            let time = |name: &str| {
                let second =
                    claims.at(name).and_then(Value::as_i64).and_then(|s| Timestamp::from_second(s).ok());
                second.map_or_else(|| claim(name), rfc3339)
            };
            let longest =
                max_lifetime.map_or_else(String::new, |l| format!(", at most {} s of life", l.as_secs()));
            format!(
                "`iat` {}, `nbf` {}, `exp` {}; now {}, leeway {} s{longest}",
                time("/iat"),
                time("/nbf"),
                time("/exp"),
                rfc3339(now),
                leeway.as_secs(),
            )
        }
        "names" => {
            let teams =
                settings.teams_claims.iter().map(|pointer| format!("{pointer} is {}", claim(pointer)));
            let teams: Vec<String> = teams.collect();
            format!(
                "{} is {}, {}, {} is {}",
                settings.subject_claim,
                claim(&settings.subject_claim),
                teams.join(", "),
                settings.scopes_claim,
                claim(&settings.scopes_claim),
            )
        }
        _ => String::new(),
    }
}
