//! The resets of a batch: on record before any of them is tried, and closed there if it never is.

use std::sync::Arc;

use jiff::Timestamp;

use super::record::Facts;
use super::writer::{Draft, WriteError, Writer};
use super::{About, Intent, Reset, Trail, now};
use crate::domain::{Keyed, Outcome, Status, Unsent};
use crate::http::Target;
use crate::metrics::Metrics;
use crate::ratelimit::Permit;

/// An item of a batch, on record and not tried yet. Only [`Trail::queue`] makes one:
///
/// ```compile_fail,E0451
/// use zengate::audit::Queued;
/// use zengate::ratelimit::Permit;
/// fn forge(permit: Permit, genuine: Queued) -> Queued {
///     Queued { permit, ..genuine }
/// }
/// ```
///
/// ```
/// use zengate::audit::{Queued, Trail};
/// use zengate::ratelimit::Permit;
/// async fn earn(permits: Vec<Permit>, trail: &Trail) -> Option<Vec<Queued>> {
///     trail.queue(permits, None).await.ok()
/// }
/// ```
///
/// Dropped before its turn (a panic), it is closed as not sent, and gives its quotas back.
#[derive(Debug)]
pub struct Queued {
    permit: Permit,
    place: QueuePlace,
}

/// The place of an item whose permission is asked for once more.
#[derive(Debug)]
pub struct QueuePlace {
    reset: Reset,
    waiting: Waiting,
}

/// The duty to close what is queued.
struct Waiting {
    writer: Writer,
    metrics: Arc<Metrics>,
    about: Option<About>,
}

/// A batch that could not be put on record; dropping it gives its quotas back.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unqueued {
    pub permits: Vec<Permit>,
    #[source]
    pub error: WriteError,
}

/// An item of a batch that was not sent.
#[derive(Debug)]
pub struct Left {
    pub reset: Reset,
    /// False: that is not on the disk yet, and is being tried again.
    pub recorded: bool,
}

impl Trail {
    /// Puts the resets of a batch on record, all of them or none, before any is tried.
    /// The batch's idempotency key is then its own.
    pub async fn queue(&self, permits: Vec<Permit>, key: Option<&Keyed>) -> Result<Vec<Queued>, Unqueued> {
        let now = now();
        let mut queued: Vec<(Permit, Reset)> = Vec::with_capacity(permits.len());
        for permit in permits {
            let reset = Reset { status: Status::Queued, sealed_password: None, ..Reset::begun(&permit, now) };
            queued.push((permit, reset));
        }
        let mut claim = key.zip(queued.first()).and_then(|(keyed, (permit, reset))| {
            let principal = &permit.authorized().seen().call().principal;
            Some(self.claim(principal, keyed, reset.batch?, now))
        });
        let drafts = queued.iter().map(|(permit, reset)| {
            Draft::queued(now, &Facts::of_queued(reset.id, permit), reset, claim.take())
        });
        let drafts = drafts.collect();
        match self.writer.write_together(drafts).await {
            Ok(places) => {
                let queued = queued.into_iter().zip(places).map(|((permit, mut reset), place)| {
                    reset.receipt = place;
                    let about = About::of(&reset, Some(permit.authorized().seen().call().origin.arrived));
                    let waiting = Waiting {
                        writer: self.writer.clone(),
                        metrics: self.metrics.clone(),
                        about: Some(about),
                    };
                    Queued { permit, place: QueuePlace { reset, waiting } }
                });
                Ok(queued.collect())
            }
            Err(error) => {
                Err(Unqueued { permits: queued.into_iter().map(|(permit, _)| permit).collect(), error })
            }
        }
    }

    /// The turn of one that was queued: the same as [`Trail::open`]. It stays queued where that fails.
    pub async fn open_queued(
        &self,
        place: QueuePlace,
        permit: Permit,
        target: &Target,
    ) -> Result<Intent, (QueuePlace, WriteError)> {
        let QueuePlace { reset, mut waiting } = place;
        let begun = Reset::begun(&permit, reset.created_at);
        let intended = Reset { id: reset.id, ..begun };
        match self.intend(permit, intended, target).await {
            Ok(intent) => {
                waiting.about = None;
                Ok(intent)
            }
            Err(unopened) => Err((QueuePlace { reset, waiting }, unopened.error)),
        }
    }

    /// One that was queued is not sent, for `cause`.
    pub async fn leave(&self, place: QueuePlace, cause: &'static str) -> Left {
        let QueuePlace { mut reset, mut waiting } = place;
        let now = now();
        let recorded = match waiting.about.take() {
            Some(about) => self.writer.write(unsent(&self.metrics, &about, now, cause)).await.is_ok(),
            None => false,
        };
        (reset.status, reset.cause, reset.finished_at) = (Status::NotSent, Some(cause.to_owned()), Some(now));
        Left { reset, recorded }
    }
}

impl Queued {
    /// The reset as it waits.
    pub fn reset(&self) -> &Reset {
        &self.place.reset
    }

    /// Its turn has come: the permit is to be earned once more, and the place kept meanwhile.
    pub fn turn(self) -> (Permit, QueuePlace) {
        (self.permit, self.place)
    }
}

fn unsent(metrics: &Metrics, about: &About, at: Timestamp, cause: &'static str) -> Draft {
    let outcome = Outcome::NotSent(Unsent::Unreachable);
    metrics.reset(outcome.status().as_str());
    Draft::outcome(about, &outcome, None, at, Some(cause))
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("about", &self.about).finish_non_exhaustive()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(about) = self.about.take() {
            self.writer.post(unsent(&self.metrics, &about, now(), "abandoned"));
        }
    }
}
