use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Parts;
use super::certificate::Certificate;
use super::watch::Watch;
use crate::audit::{Event, KeyUse, Trail};
use crate::authn::{Authenticator, KeysInForce};
use crate::authz::{Look, Policies, PolicyFaults, PolicyRevision};
use crate::http::Endpoint;
use crate::idempotency::FingerprintKeys;
use crate::metrics::Metrics;
use crate::ratelimit::Limiter;

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Most characters of a record that names an issuer's keys.
const LONGEST_KEY_IDS: usize = 1000;

/// Puts the policies folder's present state into force, or keeps the last good one; the same of the candidate's, and
/// of the listener's certificate.
#[derive(Clone)]
pub struct Reloader {
    dir: PathBuf,
    shadow_dir: Option<PathBuf>,
    policies: Arc<Policies>,
    limiter: Arc<Limiter>,
    authenticator: Arc<Authenticator>,
    endpoint: Arc<Endpoint>,
    certificate: Option<Arc<Certificate>>,
    fingerprints: Arc<FingerprintKeys>,
    trail: Arc<Trail>,
    metrics: Arc<Metrics>,
    /// One at a time: else the slower of two could put the older state back.
    turn: Arc<Mutex<()>>,
}

/// What is looked at again and again.
struct Watches {
    policies: Watch,
    candidate: Option<Watch>,
    certificate: Option<Watch>,
    /// What the trail was last told of the issuers' keys.
    issuer_keys: Vec<KeysInForce>,
}

impl Reloader {
    pub(super) fn new(
        dir: PathBuf,
        shadow_dir: Option<PathBuf>,
        certificate: Option<Arc<Certificate>>,
        parts: &Parts,
    ) -> Self {
        Self {
            dir,
            shadow_dir,
            policies: parts.policies.clone(),
            limiter: parts.limiter.clone(),
            authenticator: parts.shared.authenticator.clone(),
            endpoint: parts.endpoint.clone(),
            certificate,
            fingerprints: parts.shared.fingerprints.clone(),
            trail: parts.trail.clone(),
            metrics: parts.metrics.clone(),
            turn: Arc::default(),
        }
    }

    /// Reads the folders and the certificate, and has the issuers' keys refreshed; blocks for some milliseconds.
    pub fn reload(&self) -> Result<(), PolicyFaults> {
        self.authenticator.ask_for_keys();
        self.reload_certificate();
        self.reload_candidate();
        self.reload_policies()
    }

    fn reload_policies(&self) -> Result<(), PolicyFaults> {
        // Nothing is kept behind the lock that a panic could have left half done.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let policies = &self.policies;
        let revision = PolicyRevision::load(&self.dir).inspect_err(|faults| {
            self.metrics.reload_refused();
            tracing::error!(policy.revision = %policies.current().id(), "the policies are wrong, so the last good ones stay in force: {faults}");
        })?;
        let changed = revision.id() != policies.current().id();
        if changed {
            tracing::info!(policy.revision = %revision.id(), teams = revision.team_count(), "the policies are reloaded");
        } else {
            tracing::info!(policy.revision = %revision.id(), "the policies are read again and unchanged");
        }
        self.limiter.replace(&revision);
        policies.replace(revision);
        if changed {
            self.note_policies();
        }
        Ok(())
    }

    /// A candidate that is wrong stands in nobody's way: its log line and its metric tell.
    fn reload_candidate(&self) {
        let Some(dir) = &self.shadow_dir else { return };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match PolicyRevision::load(dir) {
            Ok(candidate) => {
                tracing::info!(policy.candidate = %candidate.id(), "the candidate policies decide beside those in force");
                self.policies.shadow(candidate);
            }
            Err(faults) => {
                self.metrics.candidate_refused();
                tracing::error!("the candidate policies are wrong, so they are not compared: {faults}");
                self.policies.unshadow();
            }
        }
    }

    fn reload_certificate(&self) {
        let Some(certificate) = &self.certificate else { return };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if certificate.reload() {
            self.note_certificate();
        }
    }

    /// Puts on record what is in force at the start; issuers' keys follow with the first look.
    pub(super) fn note_start(&self) {
        self.note_policies();
        self.note_access_key();
        self.note_certificate();
    }

    fn note_policies(&self) {
        let current = self.policies.current();
        self.trail.note(&Event::Policy { revision: current.id().as_str(), teams: current.team_count() });
    }

    fn note_access_key(&self) {
        self.note_key(KeyUse::AccessKey, &self.endpoint.credentials().id());
    }

    fn note_certificate(&self) {
        if let Some(certificate) = &self.certificate {
            self.note_key(KeyUse::Certificate, &certificate.fingerprint());
        }
    }

    /// What the trail was told of before is not told again.
    fn note_issuer_keys(&self, told: Vec<KeysInForce>) -> Vec<KeysInForce> {
        let now = self.authenticator.keys_in_force();
        for keys in now.iter().filter(|keys| !told.contains(keys)) {
            self.note_key(KeyUse::Issuer, &named(keys));
        }
        now
    }

    fn note_key(&self, key: KeyUse, key_id: &str) {
        self.trail.note(&Event::Key { key, key_id });
    }

    /// Reloads what has changed and stood still from one look to the next.
    pub(super) async fn watch(self) {
        let mut watches = self.watches();
        loop {
            let reloader = self.clone();
            match tokio::task::spawn_blocking(move || reloader.look(watches)).await {
                Ok(looked) => watches = looked,
                Err(panicked) => {
                    tracing::error!("a look at the watched files failed: {panicked}");
                    watches = self.watches();
                }
            }
            actix_web::rt::time::sleep(LOOK).await;
        }
    }

    fn watches(&self) -> Watches {
        let folder = |dir: PathBuf| move || Look::at(&dir);
        let files = |certificate: Arc<Certificate>| {
            let taken = certificate.taken();
            Watch::new(move || certificate.look(), Some(taken))
        };
        Watches {
            policies: Watch::new(folder(self.dir.clone()), Some(self.policies.current().look())),
            candidate: self.shadow_dir.clone().map(|dir| Watch::new(folder(dir), None)),
            certificate: self.certificate.clone().map(files),
            issuer_keys: self.authenticator.no_keys(),
        }
    }

    /// What is refused has told its log and its metric; it is tried again when something changes.
    fn look(&self, mut watches: Watches) -> Watches {
        if watches.policies.changed() {
            _ = self.reload_policies();
        }
        if watches.candidate.as_mut().is_some_and(Watch::changed) {
            self.reload_candidate();
        }
        if self.endpoint.credentials().look() {
            self.note_access_key();
        }
        self.fingerprints.look();
        if watches.certificate.as_mut().is_some_and(Watch::changed) {
            self.reload_certificate();
        }
        watches.issuer_keys = self.note_issuer_keys(watches.issuer_keys);
        watches
    }
}

/// `corp: ec, rsa`. A provider's ids may be of any length and number, and hold anything.
fn named(KeysInForce { issuer, ids, .. }: &KeysInForce) -> String {
    let ids: Vec<&str> = ids.iter().map(|id| id.as_deref().unwrap_or("(without id)")).collect();
    let ids = if ids.is_empty() { "(none)".to_owned() } else { ids.join(", ") };
    format!("{issuer}: {ids}").chars().filter(|c| !c.is_control()).take(LONGEST_KEY_IDS).collect()
}
