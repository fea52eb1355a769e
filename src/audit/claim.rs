use std::time::Duration;

use jiff::Timestamp;

use super::Reset;
use crate::authn::Identity;
use crate::domain::{Fingerprint, Keyed, ResetId};

/// How long a claimed key is kept unless the settings say otherwise.
pub(super) const LIFE: Duration = Duration::from_secs(86_400);

/// An idempotency key that goes to a reset, or to a batch, in the transaction of the record that begins it.
pub(super) struct Claim {
    /// The user, as records name it: `corp|alice`.
    pub(super) caller: String,
    pub(super) key: String,
    pub(super) fingerprint: String,
    /// The reset or the batch.
    pub(super) target: ResetId,
    pub(super) at: Timestamp,
    /// What was claimed before this may be claimed anew.
    pub(super) expired: Timestamp,
}

impl Claim {
    pub(super) fn new(
        caller: &Identity,
        keyed: &Keyed,
        target: ResetId,
        at: Timestamp,
        life: Duration,
    ) -> Self {
        Self {
            caller: caller.to_string(),
            key: keyed.key.as_str().to_owned(),
            fingerprint: keyed.fingerprint.kept(),
            target,
            at,
            expired: before(at, life),
        }
    }
}

/// That long before.
pub(super) fn before(at: Timestamp, life: Duration) -> Timestamp {
    at.checked_sub(life).unwrap_or(Timestamp::MIN)
}

/// What has the key, of those that were claimed and not released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub(super) fingerprint: String,
    /// The reset or the batch.
    pub target: ResetId,
    /// None: it is no reset, or it was pruned.
    pub reset: Option<Reset>,
}

impl Claimed {
    /// Whether it was claimed for the same request.
    pub fn is_of(&self, fingerprint: &Fingerprint) -> bool {
        fingerprint.is_of(&self.fingerprint)
    }
}
