//! The account's access key, which may change while the gateway runs.

use std::sync::atomic::{AtomicBool, Ordering};
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
    pub(super) current: Arc<Signer>,
    /// Zenlayer has taken it.
    proven: AtomicBool,
    previous: Option<Previous>,
}

#[derive(Clone)]
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
            current: Arc::new(signer(&settings.access_key)),
            proven: AtomicBool::new(false),
            previous: settings.previous_access_key.as_ref().map(configured),
        };
        metrics.access_key_read(true);
        let (files, overlap) = (settings.key_files.clone(), settings.rotation_overlap);
        Self { files, overlap, pair: ArcSwap::from_pointee(pair), last: Mutex::default(), metrics }
    }

    pub(super) fn pair(&self) -> Arc<Pair> {
        self.pair.load_full()
    }

    /// The id of the key that signs.
    pub fn id(&self) -> String {
        self.pair.load().key.id.clone()
    }

    /// Looks whether the key's files have changed; blocks for the time of reading them. What cannot be read changes
    /// nothing. Whether another key signs now.
    pub fn look(&self) -> bool {
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
                return false;
            }
        };
        self.metrics.access_key_read(true);
        let settled = last.as_ref() == Some(&read);
        let before = self.pair.load_full();
        let changed = settled && read != before.key;
        if changed {
            tracing::info!(access_key.id = read.id, "the access key has changed");
            let until = Some(Instant::now() + self.overlap);
            // A key that Zenlayer never took (half of a rotation, say) is not worth keeping: the one before it is.
            let previous = match before.proven.load(Ordering::Relaxed) {
                true => Some(Previous { signer: before.current.clone(), until }),
                false => before.previous.clone(),
            };
            let current = Arc::new(signer(&read));
            self.metrics.access_key_changed();
            self.pair.store(Arc::new(Pair {
                key: read.clone(),
                current,
                proven: AtomicBool::new(false),
                previous,
            }));
        }
        *last = Some(read);
        changed
    }
}

impl Pair {
    /// Zenlayer took the key that signs.
    pub(super) fn prove(&self) {
        // Written once, so that callers do not pass a line of the cache to and fro.
        if !self.proven.load(Ordering::Relaxed) {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// The key before, during the overlap.
    pub(super) fn previous(&self) -> Option<Arc<Signer>> {
        let previous = self.previous.as_ref()?;
        previous.until.is_none_or(|until| Instant::now() < until).then(|| previous.signer.clone())
    }
}

fn signer(key: &AccessKey) -> Signer {
    Signer::new(&key.id, key.secret.expose())
}
