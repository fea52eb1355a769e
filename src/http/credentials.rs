//! The account's access key, which may change while the gateway runs.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::signature::Signer;
use crate::config::{AccessKey, KeyFiles, Upstream};
use crate::metrics::Metrics;

/// The keys in force.
pub struct Credentials {
    files: KeyFiles,
    overlap: std::time::Duration,
    pair: ArcSwap<Pair>,
    /// What was read last: a change counts once it stood still from one look to the next.
    last: Mutex<Option<AccessKey>>,
    metrics: Arc<Metrics>,
}

/// The key that signs, and the one before it.
pub(super) struct Pair {
    key: AccessKey,
    pub(super) current: Signer,
    previous: Option<Previous>,
}

struct Previous {
    signer: Arc<Signer>,
    /// None: for as long as the configuration names it.
    until: Option<Instant>,
}

impl Credentials {
    pub(super) fn new(settings: &Upstream, metrics: Arc<Metrics>) -> Self {
        let configured = |key: &AccessKey| Previous { signer: Arc::new(signer(key)), until: None };
        let pair = Pair {
            key: settings.access_key.clone(),
            current: signer(&settings.access_key),
            previous: settings.previous_access_key.as_ref().map(configured),
        };
        metrics.access_key_read(true);
        let (files, overlap) = (settings.key_files.clone(), settings.rotation_overlap);
        Self { files, overlap, pair: ArcSwap::from_pointee(pair), last: Mutex::default(), metrics }
    }

    pub(super) fn pair(&self) -> arc_swap::Guard<Arc<Pair>> {
        self.pair.load()
    }

    /// Looks whether the key's files have changed; blocks for the time of reading them. What cannot be read changes
    /// nothing.
    pub fn look(&self) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let read = match self.files.read() {
            Ok(read) => read,
            Err(fault) => {
                if last.take().is_some() {
                    tracing::error!(
                        "the access key cannot be read again, so the one in force stays: {fault}"
                    );
                }
                self.metrics.access_key_read(false);
                return;
            }
        };
        self.metrics.access_key_read(true);
        let settled = last.as_ref() == Some(&read);
        let before = self.pair.load_full();
        if settled && read != before.key {
            tracing::info!(access_key.id = read.id, "the access key has changed");
            let until = Some(Instant::now() + self.overlap);
            let previous = Previous { signer: Arc::new(signer(&before.key)), until };
            let current = signer(&read);
            self.metrics.access_key_changed();
            self.pair.store(Arc::new(Pair { key: read.clone(), current, previous: Some(previous) }));
        }
        *last = Some(read);
    }
}

impl Pair {
    /// The key before, during the overlap.
    pub(super) fn previous(&self) -> Option<Arc<Signer>> {
        let previous = self.previous.as_ref()?;
        previous.until.is_none_or(|until| Instant::now() < until).then(|| previous.signer.clone())
    }
}

fn signer(key: &AccessKey) -> Signer {
    Signer::new(&key.id, key.secret.expose())
}
