use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Table;
use super::sections::{Secret, seconds};
use crate::domain::{IssuerName, NameFault, TeamName};

/// `[issuers.NAME]`: who may vouch for callers, and for which teams.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The `iss` claim, compared byte by byte.
    pub issuer: String,
    /// Accepted `aud` values; default `zengate`.
    pub audiences: Vec<String>,
    /// Accepted `alg` values.
    pub algorithms: Vec<SignatureAlgorithm>,
    pub keys: KeySource,
    /// JSON pointers (RFC 6901) into the claims.
    pub subject_claim: String,
    pub teams_claims: Vec<String>,
    pub scopes_claim: String,
    pub may_assert_teams: Vec<TeamPattern>,
    pub may_assert_scopes: Vec<String>,
    /// Allowed clock difference, default 30 s.
    pub leeway: Duration,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A JWK Set (RFC 7517), with the path it was read from.
    JwksFile { path: PathBuf, text: String },
    /// A secret shared with the issuer, for HS256.
    Secret(Secret),
}

/// A signature algorithm that an issuer may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    Rs256,
    Es256,
    EdDsa,
    Hs256,
}

impl FromStr for SignatureAlgorithm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "RS256" => Ok(Self::Rs256),
            "ES256" => Ok(Self::Es256),
            "EdDSA" => Ok(Self::EdDsa),
            "HS256" => Ok(Self::Hs256),
            _ => Err("must be RS256, ES256, EdDSA or HS256"),
        }
    }
}

/// Teams by name, by prefix (`shop-*`), or all of them (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeamPattern {
    Name(TeamName),
    Prefix(String),
}

impl TeamPattern {
    /// Whether `team` is meant.
    pub fn matches(&self, team: &TeamName) -> bool {
        match self {
            Self::Name(name) => name == team,
            Self::Prefix(prefix) => team.as_str().starts_with(prefix),
        }
    }
}

impl FromStr for TeamPattern {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Prefix(String::new())),
            Some(prefix) => prefix.parse::<TeamName>().map(|name| Self::Prefix(name.to_string())),
            None => text.parse().map(Self::Name),
        }
    }
}

pub(super) fn read(mut table: Table<'_>) -> Option<BTreeMap<IssuerName, Issuer>> {
    let names = table.keys();
    if names.is_empty() {
        table.fault("", "is required: at least one [issuers.NAME]");
    }
    let read: Vec<Option<(IssuerName, Issuer)>> = names
        .into_iter()
        .map(|name| {
            let mut inner = table.table(&name);
            let parsed = name.parse::<IssuerName>();
            if let Err(fault) = &parsed {
                inner.fault("", fault.to_string());
            }
            let issuer = issuer(inner);
            Some((parsed.ok()?, issuer?))
        })
        .collect();
    let issuers: Option<BTreeMap<_, _>> = read.into_iter().collect();
    let issuers = issuers?;
    let mut seen: BTreeMap<&str, &IssuerName> = BTreeMap::new();
    for (name, issuer) in &issuers {
        if let Some(other) = seen.insert(&issuer.issuer, name) {
            table.fault(name.as_str(), format!("has the same `issuer` as issuers.{other}"));
            return None;
        }
    }
    Some(issuers)
}

fn issuer(mut table: Table<'_>) -> Option<Issuer> {
    let issuer = table.string("issuer", None);
    let audiences = table.list("audiences", Some(&["zengate"]));
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        table.fault("audiences", "must name at least one audience");
    }
    let algorithms = table.list("algorithms", None);
    let keys = match (table.has("jwks_file"), table.has("secret_file")) {
        (true, false) => jwks(&mut table),
        (false, true) => secret(&mut table),
        _ => {
            table.fault("", "needs exactly one of jwks_file, secret_file");
            _ = (table.path("jwks_file", Some("-")), table.path("secret_file", Some("-")));
            None
        }
    };
    let symmetric = matches!(keys, Some(KeySource::Secret(_)));
    let fits = |a: &SignatureAlgorithm| (*a == SignatureAlgorithm::Hs256) == symmetric;
    if keys.is_some()
        && algorithms.as_ref().is_some_and(|list: &Vec<_>| list.is_empty() || !list.iter().all(fits))
    {
        table.fault(
            "algorithms",
            "must be [\"HS256\"] with secret_file; some of RS256, ES256, EdDSA with jwks_file",
        );
    }
    let subject_claim = pointer(&mut table, "subject_claim", "/sub");
    let teams_claims = if table.has("teams_claim") {
        pointer(&mut table, "teams_claim", "").map(|p| vec![p])
    } else {
        Some(vec!["/teams".to_owned(), "/team".to_owned()])
    };
    let scopes_claim = pointer(&mut table, "scopes_claim", "/scope");
    let may_assert_teams = table.list("may_assert_teams", None);
    let may_assert_scopes = table.list("may_assert_scopes", Some(&[]));
    let leeway = seconds(&mut table, "leeway_seconds", 30, 0..=300);
    Some(Issuer {
        issuer: issuer?,
        audiences: audiences?,
        algorithms: algorithms?,
        keys: keys?,
        subject_claim: subject_claim?,
        teams_claims: teams_claims?,
        scopes_claim: scopes_claim?,
        may_assert_teams: may_assert_teams?,
        may_assert_scopes: may_assert_scopes?,
        leeway: leeway?,
    })
}

fn jwks(table: &mut Table<'_>) -> Option<KeySource> {
    let (path, bytes) = table.file("jwks_file")?;
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) => Some(KeySource::JwksFile { path, text }),
        Err(_) => {
            table.fault("jwks_file", format!("{} is not UTF-8", path.display()));
            None
        }
    }
}

/// A secret shorter than the hash would be the weakest part of the signature (RFC 7518, section 3.2).
fn secret(table: &mut Table<'_>) -> Option<KeySource> {
    let (path, bytes) = table.file("secret_file")?;
    let secret = Secret::new(&bytes);
    if secret.expose().len() < 32 {
        table.fault(
            "secret_file",
            format!("{} holds fewer than the 32 bytes that HS256 needs", path.display()),
        );
        return None;
    }
    Some(KeySource::Secret(secret))
}

fn pointer(table: &mut Table<'_>, key: &str, default: &str) -> Option<String> {
    let pointer = table.string(key, Some(default))?;
    let good = pointer.starts_with('/');
    if !good {
        table.fault(key, format!("{pointer:?}: must be a JSON pointer such as \"/sub\" (RFC 6901)"));
    }
    good.then_some(pointer)
}
