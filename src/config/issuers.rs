use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::{Host, Url};

use super::Table;
use super::sections::seconds;
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
    /// Other names for teams: what a token says, and the team that is meant.
    pub team_names: BTreeMap<String, TeamName>,
    /// What stands before a team's name in the claim; names without it are not teams. Default: nothing.
    pub team_prefix: String,
    pub may_assert_teams: Vec<TeamPattern>,
    pub may_assert_scopes: Vec<String>,
    /// Another issuer may assert the same teams, and says so too; default false.
    pub shared: bool,
    /// Allowed clock difference, default 30 s.
    pub leeway: Duration,
    /// Longest time from `iat` to `exp` that is accepted; None: any.
    pub max_lifetime: Option<Duration>,
    /// The `typ` that a token's header must have, such as `at+jwt` (RFC 9068); None: any.
    pub required_typ: Option<String>,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The JWK Set that the provider's metadata names (OpenID Connect Discovery 1.0).
    Discovery {
        /// The metadata's URL, under the issuer's own.
        url: Url,
        /// Where else than at the issuer's origin its JWK Set may lie.
        jwks_origins: Vec<Url>,
        fetching: Fetching,
    },
    /// A JWK Set (RFC 7517) at a URL.
    JwksUrl { url: Url, fetching: Fetching },
    /// A JWK Set in a file.
    JwksFile(PathBuf),
    /// A secret shared with the issuer, for HS256, HS384 and HS512.
    SecretFile(PathBuf),
}

/// How an issuer's documents are fetched.
#[derive(Debug, Clone)]
pub struct Fetching {
    /// Longest pause between two fetches, default 300 s; each is up to a tenth shorter.
    pub refresh: Duration,
    /// Shortest pause between two fetches for keys that tokens name and nobody knows, default 10 s.
    pub cooldown: Duration,
    /// How long keys serve after the last good fetch, default 86,400 s.
    pub max_stale: Duration,
    /// Longest wait for one document, default 5 s.
    pub timeout: Duration,
    /// Addresses that are not public may be asked; default false.
    pub allow_private: bool,
    /// PEM certificates of the authorities to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
}

/// A signature algorithm that an issuer may use (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Hs256,
    Hs384,
    Hs512,
}

impl SignatureAlgorithm {
    const ALL: [(&'static str, Self); 12] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
    ];

    /// The shortest secret, in bytes, for an algorithm that has one: the length of its hash (RFC 7518,
    /// section 3.2), since a shorter one would be the weakest part of the signature.
    pub fn shortest_secret(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            _ => None,
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.iter().find(|(_, algorithm)| algorithm == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

impl FromStr for SignatureAlgorithm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, algorithm)| *algorithm).ok_or(
            "must be RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA; or HS256, HS384 or HS512",
        )
    }
}

/// Teams by name, by prefix (`shop-*`), or all of them (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeamPattern {
    Name(TeamName),
    Prefix(String),
}

impl TeamPattern {
    /// Whether any team is meant by both.
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(name), pattern) | (pattern, Self::Name(name)) => pattern.matches(name),
            (Self::Prefix(one), Self::Prefix(two)) => {
                one.starts_with(two.as_str()) || two.starts_with(one.as_str())
            }
        }
    }

    /// Whether `team` is meant.
    pub fn matches(&self, team: &TeamName) -> bool {
        match self {
            Self::Name(name) => name == team,
            Self::Prefix(prefix) => team.as_str().starts_with(prefix),
        }
    }
}

impl fmt::Display for TeamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
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
    let pairs =
        issuers.iter().enumerate().flat_map(|(n, one)| issuers.iter().skip(n + 1).map(move |two| (one, two)));
    let mut good = true;
    for ((one, first), (two, second)) in pairs {
        if first.issuer == second.issuer {
            table.fault(two.as_str(), format!("has the same `issuer` as issuers.{one}"));
            good = false;
        }
        let overlap =
            first.may_assert_teams.iter().find(|a| second.may_assert_teams.iter().any(|b| a.overlaps(b)));
        if let Some(teams) = overlap.filter(|_| !(first.shared && second.shared)) {
            let message = format!(
                "may assert teams of {teams}, which issuers.{one} may too: say `shared = true` in both, or part them"
            );
            table.fault(two.as_str(), message);
            good = false;
        }
    }
    if !good {
        return None;
    }
    Some(issuers)
}

fn issuer(mut table: Table<'_>) -> Option<Issuer> {
    let issuer = table.string("issuer", None);
    let audiences = table.list("audiences", Some(&["zengate"]));
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        table.fault("audiences", "must name at least one audience");
    }
    let algorithms: Option<Vec<SignatureAlgorithm>> = table.list("algorithms", None);
    let keys = key_source(&mut table, issuer.as_deref(), algorithms.as_deref());
    let subject_claim = pointer(&mut table, "subject_claim", "/sub");
    let teams_claims = if table.has("teams_claim") {
        pointer(&mut table, "teams_claim", "").map(|p| vec![p])
    } else {
        Some(vec!["/teams".to_owned(), "/team".to_owned()])
    };
    let scopes_claim = pointer(&mut table, "scopes_claim", "/scope");
    let team_names = team_names(table.table("team_names"));
    let team_prefix = table.string("team_prefix", Some(""));
    let may_assert_teams = table.list("may_assert_teams", None);
    let may_assert_scopes = table.list("may_assert_scopes", Some(&[]));
    let shared = table.boolean("shared", false);
    let leeway = seconds(&mut table, "leeway_seconds", 30, 0..=300);
    let max_lifetime = if table.has("max_lifetime_seconds") {
        table.integer("max_lifetime_seconds", None, 1..=31_536_000).map(|n| Some(Duration::from_secs(n)))
    } else {
        Some(None)
    };
    let required_typ =
        if table.has("required_typ") { table.string("required_typ", None).map(Some) } else { Some(None) };
    Some(Issuer {
        issuer: issuer?,
        audiences: audiences?,
        algorithms: algorithms?,
        keys: keys?,
        subject_claim: subject_claim?,
        teams_claims: teams_claims?,
        scopes_claim: scopes_claim?,
        team_names: team_names?,
        team_prefix: team_prefix?,
        may_assert_teams: may_assert_teams?,
        may_assert_scopes: may_assert_scopes?,
        shared: shared?,
        leeway: leeway?,
        max_lifetime: max_lifetime?,
        required_typ: required_typ?,
    })
}

/// `"grp-zen-payments" = "payments"`.
fn team_names(mut table: Table<'_>) -> Option<BTreeMap<String, TeamName>> {
    let names = table.keys().into_iter();
    let pairs: Vec<_> = names.map(|name| Some((table.parse(&name, None)?, name))).collect();
    pairs.into_iter().map(|pair| pair.map(|(team, name)| (name, team))).collect()
}

fn key_source(
    table: &mut Table<'_>,
    issuer: Option<&str>,
    algorithms: Option<&[SignatureAlgorithm]>,
) -> Option<KeySource> {
    const SOURCES: [&str; 4] = ["discovery", "jwks_url", "jwks_file", "secret_file"];
    const FETCHING: [&str; 7] = [
        "jwks_origins",
        "refresh_seconds",
        "cooldown_seconds",
        "max_stale_seconds",
        "fetch_timeout_seconds",
        "allow_private",
        "ca_file",
    ];
    let named: Vec<&str> = SOURCES.into_iter().filter(|key| table.has(key)).collect();
    let &[named] = named.as_slice() else {
        table.fault("", format!("needs exactly one of {}", SOURCES.join(", ")));
        SOURCES.iter().chain(&FETCHING).for_each(|key| table.discard(key));
        return None;
    };
    check_algorithms(table, named, algorithms?);
    if let "jwks_file" | "secret_file" = named {
        for key in FETCHING.into_iter().filter(|key| table.has(key)).collect::<Vec<_>>() {
            table.fault(key, "is for discovery and jwks_url only");
            table.discard(key);
        }
    }
    match named {
        "jwks_file" => table.file(named).map(|(path, _)| KeySource::JwksFile(path)),
        "secret_file" => {
            let (path, secret) = table.file(named)?;
            let checked = check_secret(&secret, algorithms?);
            checked.map_err(|why| table.fault(named, why)).ok().map(|()| KeySource::SecretFile(path))
        }
        "jwks_url" => {
            let url = table.parse::<FetchUrl>(named, None);
            let fetching = fetching(table);
            if table.has("jwks_origins") {
                table.fault("jwks_origins", "is for discovery only");
                table.discard("jwks_origins");
            }
            Some(KeySource::JwksUrl { url: url?.0, fetching: fetching? })
        }
        _ => {
            let wanted = table.boolean(named, false);
            let jwks_origins = table.list::<FetchUrl>("jwks_origins", Some(&[]));
            let fetching = fetching(table);
            if wanted == Some(false) {
                table.fault(named, "is true where it stands: name another source in its place");
                return None;
            }
            let url = discovery_url(issuer?).map_err(|why| table.fault("issuer", why)).ok();
            let jwks_origins = jwks_origins?.into_iter().map(|origin| origin.0).collect();
            Some(KeySource::Discovery { url: url?, jwks_origins, fetching: fetching? })
        }
    }
}

fn fetching(table: &mut Table<'_>) -> Option<Fetching> {
    let refresh = seconds(table, "refresh_seconds", 300, 1..=86_400);
    let cooldown = seconds(table, "cooldown_seconds", 10, 1..=3_600);
    let max_stale = seconds(table, "max_stale_seconds", 86_400, 1..=2_592_000);
    let timeout = seconds(table, "fetch_timeout_seconds", 5, 1..=30);
    let allow_private = table.boolean("allow_private", false);
    let ca = table.optional_file("ca_file");
    if let (Some(refresh), Some(max_stale)) = (refresh, max_stale)
        && max_stale < refresh
    {
        table
            .fault("max_stale_seconds", "must be at least refresh_seconds: keys would lapse between fetches");
        return None;
    }
    Some(Fetching {
        refresh: refresh?,
        cooldown: cooldown?,
        max_stale: max_stale?,
        timeout: timeout?,
        allow_private: allow_private?,
        ca: ca?,
    })
}

/// OpenID Connect Discovery 1.0, section 4.
fn discovery_url(issuer: &str) -> Result<Url, String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    url.parse::<FetchUrl>().map(|url| url.0).map_err(|why| format!("with discovery it {why}"))
}

/// Where a document may be fetched: over HTTPS, or over plain HTTP on loopback.
pub struct FetchUrl(pub Url);

impl FromStr for FetchUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "must be a URL such as https://login.example.com/keys";
        let url = Url::parse(text).map_err(|_| SHAPE)?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("must be a URL without user, password and fragment");
        }
        match url.scheme() {
            "https" if url.has_host() => Ok(Self(url)),
            "http" if on_loopback(&url) => Ok(Self(url)),
            "http" => Err("must be https: http is for loopback only"),
            _ => Err(SHAPE),
        }
    }
}

/// By its name alone: `localhost`, or an address of loopback.
pub(super) fn on_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Public keys and a shared secret are never mixed: the one must not be taken for the other.
fn check_algorithms(table: &mut Table<'_>, source: &str, algorithms: &[SignatureAlgorithm]) {
    let symmetric = algorithms.iter().filter(|algorithm| algorithm.shortest_secret().is_some()).count();
    match source {
        _ if algorithms.is_empty() => table.fault("algorithms", "must name at least one"),
        "secret_file" if symmetric < algorithms.len() => {
            table.fault("algorithms", "must be of HS256, HS384, HS512 with secret_file");
        }
        "secret_file" => {}
        source if symmetric > 0 => {
            table.fault("algorithms", format!("must be of public keys with {source}: RS*, PS*, ES*, EdDSA"));
        }
        _ => {}
    }
}

/// Whether a secret is as long as its algorithms need.
pub fn check_secret(secret: &[u8], algorithms: &[SignatureAlgorithm]) -> Result<(), String> {
    match algorithms.iter().filter_map(|algorithm| algorithm.shortest_secret()).max() {
        Some(wanted) if secret.len() < wanted => {
            Err(format!("holds fewer than the {wanted} bytes that its algorithm needs"))
        }
        _ => Ok(()),
    }
}

fn pointer(table: &mut Table<'_>, key: &str, default: &str) -> Option<String> {
    let pointer = table.string(key, Some(default))?;
    let good = pointer.starts_with('/');
    if !good {
        table.fault(key, format!("{pointer:?}: must be a JSON pointer such as \"/sub\" (RFC 6901)"));
    }
    good.then_some(pointer)
}
