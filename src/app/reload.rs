use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Parts;
use super::certificate::Certificate;
use super::watch::Watch;
use crate::authn::Authenticator;
use crate::authz::{Look, Policies, PolicyFaults, PolicyRevision};
use crate::http::Endpoint;
use crate::metrics::Metrics;
use crate::ratelimit::Limiter;

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);

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
    metrics: Arc<Metrics>,
    /// One at a time: else the slower of two could put the older state back.
    turn: Arc<Mutex<()>>,
}

/// What is looked at again and again.
struct Watches {
    policies: Watch,
    candidate: Option<Watch>,
    certificate: Option<Watch>,
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
        if revision.id() == policies.current().id() {
            tracing::info!(policy.revision = %revision.id(), "the policies are read again and unchanged");
        } else {
            tracing::info!(policy.revision = %revision.id(), teams = revision.team_count(), "the policies are reloaded");
        }
        self.limiter.replace(&revision);
        policies.replace(revision);
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
        certificate.reload();
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
        self.endpoint.credentials().look();
        if watches.certificate.as_mut().is_some_and(Watch::changed) {
            self.reload_certificate();
        }
        watches
    }
}
