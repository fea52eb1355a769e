//! JWT -> [`Identity`] -> [`Principal`]: who calls, and for which team.
//!
//! An issuer is chosen by the unverified `iss` alone; then everything is verified against that issuer
//! only (RFC 8725). Signatures are jsonwebtoken's; the claims are checked here, each with its own reason.

mod cache;
mod claims;
mod inspect;
mod issuer;
mod keeper;
mod keys;
mod principal;
mod source;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config;
use crate::domain::IssuerName;
use crate::metrics::Metrics;

pub use inspect::{Finding, Inspection};
pub use issuer::{Assertions, IssuerFault};
pub use principal::{Call, Identity, Origin, Principal, TeamFault};
pub use token::{LONGEST_TOKEN, Refusal};

use cache::Cache;
use issuer::Issuer;
use keys::Keys;
use token::Parts;

/// All configured issuers, ready to verify tokens.
pub struct Authenticator {
    by_iss: HashMap<String, Arc<Issuer>>,
    cache: Cache<Entry>,
    metrics: Arc<Metrics>,
}

/// A token that was verified, and by whose keys.
struct Entry {
    identity: Arc<Identity>,
    issuer: Arc<Issuer>,
    keys: Arc<Keys>,
}

/// The keys of an issuer that verify tokens now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysInForce {
    pub issuer: IssuerName,
    /// Those of a JWK Set that have none, and a secret, are nameless.
    pub ids: Vec<Option<String>>,
    /// None where there are none.
    digest: Option<[u8; 32]>,
}

impl Authenticator {
    /// Reads the keys that are in files; reports every issuer that cannot be set up.
    pub fn new(
        issuers: impl IntoIterator<Item = (IssuerName, config::Issuer)>,
        tokens: &config::Tokens,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Vec<IssuerFault>> {
        let mut by_iss = HashMap::new();
        let mut faults = Vec::new();
        for (name, settings) in issuers {
            let iss = settings.issuer.clone();
            match Issuer::new(name, settings, metrics.clone()) {
                Ok(issuer) => _ = by_iss.insert(iss, Arc::new(issuer)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { by_iss, cache: Cache::new(tokens.cache_capacity), metrics })
    }

    /// Keeps every issuer's keys current, for as long as it is polled.
    pub async fn keep_keys(&self) {
        futures_util::future::join_all(self.by_iss.values().map(|issuer| issuer.keeper.run())).await;
    }

    /// Looks for every issuer's keys at once, whatever the time.
    pub fn ask_for_keys(&self) {
        self.by_iss.values().for_each(|issuer| issuer.keeper.ask());
    }

    /// The keys that are in force, by issuer.
    pub fn keys_in_force(&self) -> Vec<KeysInForce> {
        let of = |issuer: &Arc<Issuer>| {
            let keys = issuer.keeper.keys();
            let ids = keys.iter().flat_map(|keys| keys.ids().map(|id| id.map(str::to_owned))).collect();
            let digest = keys.as_ref().map(|keys| keys.digest());
            KeysInForce { issuer: issuer.name.clone(), ids, digest }
        };
        let mut all: Vec<KeysInForce> = self.by_iss.values().map(of).collect();
        all.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        all
    }

    /// The same before there was any key.
    pub fn no_keys(&self) -> Vec<KeysInForce> {
        let none =
            |issuer: &Arc<Issuer>| KeysInForce { issuer: issuer.name.clone(), ids: Vec::new(), digest: None };
        self.by_iss.values().map(none).collect()
    }

    /// Issuers whose keys were not looked for yet.
    pub fn untried(&self) -> usize {
        self.by_iss.values().filter(|issuer| !issuer.keeper.tried()).count()
    }

    /// Issuers without a usable key.
    pub fn without_keys(&self) -> usize {
        self.by_iss.values().filter(|issuer| issuer.keeper.keys().is_none()).count()
    }

    /// The caller that `token` proves at `now`, if this very token was verified before: by keys that are still in
    /// force, and its times still hold.
    pub fn remembered(&self, token: &str, now: Timestamp) -> Option<Arc<Identity>> {
        let found = self.cache.get(token);
        let found = found.filter(|entry| entry.identity.holds(now) && entry.issuer.keeper.holds(&entry.keys));
        self.metrics.token_looked_up(found.is_some());
        found.map(|entry| entry.identity.clone())
    }

    /// The caller that `token` proves at `now`; remembers it.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Identity>, Refusal> {
        let parts = Parts::split(token)?;
        let issuer = self.issuer(&parts)?;
        let (verified, keys) = issuer.verify(parts)?;
        let (identity, Assertions { dropped_teams, dropped_scopes }) = issuer.identify(&verified, now)?;
        self.metrics.claims_dropped("team", dropped_teams);
        self.metrics.claims_dropped("scope", dropped_scopes);
        let identity = Arc::new(identity);
        let entry = Entry { identity: identity.clone(), issuer: issuer.clone(), keys };
        self.cache.put(token, entry);
        Ok(identity)
    }

    /// Waits, for a token refused with [`Refusal::UnknownKey`], until its issuer's keys were looked for once more.
    /// False: there is nothing to wait for.
    pub async fn renewed(&self, token: &str) -> bool {
        let issuer = Parts::split(token).and_then(|parts| self.issuer(&parts));
        match issuer {
            Ok(issuer) => issuer.keeper.renewed().await,
            Err(_) => false,
        }
    }

    fn issuer(&self, parts: &Parts<'_>) -> Result<&Arc<Issuer>, Refusal> {
        self.by_iss.get(parts.unverified_issuer()?).ok_or(Refusal::UnknownIssuer)
    }
}
