//! JWT -> [`Identity`] -> [`Principal`]: who calls, and for which team.
//!
//! An issuer is chosen by the unverified `iss` alone; then everything is verified against that issuer
//! only (RFC 8725). Signatures are jsonwebtoken's; the claims are checked here, each with its own reason.

mod cache;
mod claims;
mod issuer;
mod keys;
mod principal;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config;
use crate::domain::IssuerName;
use crate::metrics::Metrics;

pub use issuer::Assertions;
pub use keys::KeyFault;
pub use principal::{Call, Identity, Origin, Principal, TeamFault};
pub use token::{LONGEST_TOKEN, Refusal};

use cache::Cache;
use issuer::Issuer;
use token::Parts;

/// All configured issuers, ready to verify tokens.
pub struct Authenticator {
    by_iss: HashMap<String, Arc<Issuer>>,
    cache: Cache,
    metrics: Arc<Metrics>,
}

impl Authenticator {
    /// Reads every issuer's keys; reports every unusable source.
    pub fn new(
        issuers: impl IntoIterator<Item = (IssuerName, config::Issuer)>,
        tokens: &config::Tokens,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Vec<KeyFault>> {
        let mut by_iss = HashMap::new();
        let mut faults = Vec::new();
        for (name, settings) in issuers {
            let iss = settings.issuer.clone();
            match Issuer::new(name, settings) {
                Ok(issuer) => _ = by_iss.insert(iss, Arc::new(issuer)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { by_iss, cache: Cache::new(tokens.cache_capacity), metrics })
    }

    /// The caller that `token` proves at `now`, if this very token was verified before and still holds.
    pub fn remembered(&self, token: &str, now: Timestamp) -> Option<Arc<Identity>> {
        let found = self.cache.get(token, now);
        self.metrics.token_looked_up(found.is_some());
        found
    }

    /// The caller that `token` proves at `now`; remembers it.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Identity>, Refusal> {
        let (identity, Assertions { dropped_teams, dropped_scopes }) = self.check(token, now)?;
        self.metrics.claims_dropped("team", dropped_teams);
        self.metrics.claims_dropped("scope", dropped_scopes);
        let identity = Arc::new(identity);
        self.cache.put(token, &identity);
        Ok(identity)
    }

    /// As [`Self::verify`], with what the issuer asserted beyond its right, and without remembering; for
    /// `zengate token inspect`.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<(Identity, Assertions), Refusal> {
        let parts = Parts::split(token)?;
        let issuer = self.by_iss.get(&parts.unverified_issuer()?).ok_or(Refusal::UnknownIssuer)?;
        let claims = issuer.keys.verify(&parts)?;
        issuer.check_type(&parts)?;
        issuer.identify(&claims, now)
    }
}
