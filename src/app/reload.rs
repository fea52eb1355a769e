use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Parts;
use crate::authn::Authenticator;
use crate::authz::{Look, Policies, PolicyFaults, PolicyRevision};
use crate::http::Endpoint;
use crate::metrics::Metrics;
use crate::ratelimit::Limiter;

/// Pause between two looks at a folder.
const LOOK: Duration = Duration::from_secs(1);

/// Puts the policies folder's present state into force, or keeps the last good one; the same of the candidate's.
#[derive(Clone)]
pub struct Reloader {
    dir: PathBuf,
    shadow_dir: Option<PathBuf>,
    policies: Arc<Policies>,
    limiter: Arc<Limiter>,
    authenticator: Arc<Authenticator>,
    endpoint: Arc<Endpoint>,
    metrics: Arc<Metrics>,
    /// One at a time: else the slower of two could put the older state back.
    turn: Arc<Mutex<()>>,
}

/// A folder that is looked at again and again.
struct Watch {
    dir: PathBuf,
    /// How it looked when it was last read.
    taken: Option<Look>,
    last: Option<Look>,
}

impl Reloader {
    pub(super) fn new(dir: PathBuf, shadow_dir: Option<PathBuf>, parts: &Parts) -> Self {
        Self {
            dir,
            shadow_dir,
            policies: parts.policies.clone(),
            limiter: parts.limiter.clone(),
            authenticator: parts.shared.authenticator.clone(),
            endpoint: parts.endpoint.clone(),
            metrics: parts.metrics.clone(),
            turn: Arc::default(),
        }
    }

    /// Reads the folders, and has the issuers' keys refreshed; blocks for some milliseconds.
    pub fn reload(&self) -> Result<(), PolicyFaults> {
        self.authenticator.ask_for_keys();
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

    /// Reloads a folder, and the access key, when it has changed and stood still from one look to the next.
    pub(super) async fn watch(self) {
        let anew = || {
            let policies =
                Watch { dir: self.dir.clone(), taken: Some(self.policies.current().look()), last: None };
            let candidate = self.shadow_dir.clone().map(|dir| Watch { dir, taken: None, last: None });
            (policies, candidate)
        };
        let (mut policies, mut candidate) = anew();
        loop {
            let reloader = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                if policies.changed() {
                    // A refused reload has told its log and its metric; it is tried again when something changes.
                    _ = reloader.reload_policies();
                }
                if candidate.as_mut().is_some_and(Watch::changed) {
                    reloader.reload_candidate();
                }
                reloader.endpoint.credentials().look();
                (policies, candidate)
            });
            match looked.await {
                Ok(watches) => (policies, candidate) = watches,
                Err(panicked) => {
                    tracing::error!("a look at the policies and the access key failed: {panicked}");
                    (policies, candidate) = anew();
                }
            }
            actix_web::rt::time::sleep(LOOK).await;
        }
    }
}

impl Watch {
    fn changed(&mut self) -> bool {
        let look = Some(Look::at(&self.dir));
        let changed = look != self.taken && look == self.last;
        self.last = look;
        if changed {
            self.taken = look;
        }
        changed
    }
}
