//! The trail: [`Permit`] -> [`Intent`], durable before anything is sent; [`Outcome`] -> [`Receipt`].
//!
//! Append-only: every record holds the hash of its writer's record before it, every process start is a new
//! writer, and none is ever updated. A reset's present state is a projection beside it, written in the same
//! transaction and rebuildable from the records. `docs/audit.md` describes the record.

mod anchors;
mod browse;
mod checkpoint;
mod claim;
mod commit;
mod event;
mod find;
mod history;
mod lock;
mod maintain;
mod opening;
mod postgres;
mod projection;
mod queue;
mod read;
mod record;
mod sink;
mod sqlite;
mod store;
mod thread;
mod verify;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authn::{Identity, Origin, Principal};
use crate::authz::Authorized;
use crate::config;
use crate::domain::{Effort, InstanceId, Keyed, Outcome, RequestId, ResetId, Status, TeamName};
use crate::http::{Digest, Target};
use crate::metrics::Metrics;
use crate::ratelimit::{Charged, Permit};

pub use browse::Page;
pub use checkpoint::{Checkpoint, KeyFault, NoCheckpoint, PublicKeys, SigningKey};
pub use claim::Claimed;
pub use event::{Event, KeyUse, Part};
pub use find::Recorded;
pub use history::{Moment, ResetFilter, ResetPage};
pub use lock::Locked;
pub use maintain::{Held, Maintenance, NotMaintained, Pruning};
pub use queue::{Left, QueuePlace, Queued, Unqueued};
pub use read::{ReadError, Reader};
pub use record::{Facts, Kind, NoKind, Refused};
pub use store::{ChainEnds, Filter, OpenError, Order, Place, StoreError, Stored};
pub use verify::{
    Finding, Lack, Named, Part as VerifiedPart, Progress, Told, Unverified, Verified, What, Witness,
    WitnessFault,
};
pub use writer::WriteError;

use claim::Claim;
use sink::Sink;
use writer::{Draft, Writer};

/// The one trail of this process.
pub struct Trail {
    writer: Writer,
    reader: Reader,
    sink: Option<Sink>,
    /// How long a claimed idempotency key is kept.
    key_life: Duration,
    metrics: Arc<Metrics>,
}

/// Where a record stands, and its hash: given to the caller, it proves later that the record was not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub writer: String,
    pub sequence: u64,
    /// SHA-256 of the record's bytes, hexadecimal.
    pub hash: String,
}

/// A reset as `GET` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    pub id: ResetId,
    /// The batch that it is an item of.
    pub batch: Option<ResetId>,
    pub instance: InstanceId,
    pub team: TeamName,
    pub status: Status,
    pub request_id: RequestId,
    pub upstream_request_id: Option<String>,
    pub upstream_code: Option<String>,
    /// Why nothing was sent.
    pub cause: Option<String>,
    pub reason: Option<String>,
    pub ticket: Option<String>,
    pub policies: Vec<String>,
    /// Compact JWE, which the caller's key alone opens.
    pub sealed_password: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// The intent's; of one that is queued, or was not sent from there, the `queued` record's.
    pub receipt: Position,
}

/// What an outcome is of, so that its record reads alone.
#[derive(Debug, Clone)]
pub struct About {
    pub reset: ResetId,
    pub batch: Option<ResetId>,
    /// The call that asked for the reset.
    pub request: RequestId,
    pub team: TeamName,
    pub instance: InstanceId,
    /// When that call came; None: in a process that is gone.
    pub arrived: Option<Instant>,
}

/// A reset on record, durably, and not yet answered. Only [`Trail::open`] makes one:
///
/// ```compile_fail,E0451
/// use zengate::audit::Intent;
/// use zengate::authz::Authorized;
/// fn forge(authorized: Authorized, genuine: Intent) -> Intent {
///     Intent { authorized, ..genuine }
/// }
/// ```
///
/// ```
/// use zengate::audit::{Intent, Trail};
/// use zengate::http::Target;
/// use zengate::ratelimit::Permit;
/// async fn earn(permit: Permit, trail: &Trail, target: &Target) -> Option<Intent> {
///     trail.open(permit, target).await.ok()
/// }
/// ```
///
/// Dropped without an outcome (a panic), it is closed as `unknown`.
#[derive(Debug)]
pub struct Intent {
    authorized: Authorized,
    digest: Digest,
    reset: Reset,
    open: OpenReset,
}

/// The duty to close a reset, and what its quotas charged.
struct OpenReset {
    writer: Writer,
    metrics: Arc<Metrics>,
    about: About,
    charged: Option<Charged>,
}

/// A permit that could not be put on record; dropping it gives its quotas back.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unopened {
    pub permit: Permit,
    #[source]
    pub error: WriteError,
}

/// A reset with its outcome. Only [`Trail::close`] makes one.
#[derive(Debug)]
pub struct Receipt {
    reset: Reset,
    arrived: Option<Instant>,
    outcome: Outcome,
    recorded: bool,
}

impl Trail {
    /// Starts a chain in the store, and closes what dead writers left open as `unknown`.
    pub fn start(settings: &config::Audit, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let key = SigningKey::load(&settings.signing_key_file, settings.make_signing_key)?;
        let (wake, woken) = sink::bell();
        let bell = settings.sink.is_some().then(|| wake.clone());
        let committed = move |head: &Position| {
            // A bell that rings already needs no second pull.
            bell.iter().for_each(|bell| _ = bell.try_send(head.clone()));
        };
        let writer = Writer::start(settings, key, committed, metrics.clone())?;
        let reader = Reader::open(settings)?;
        let sink = settings.sink.as_ref().map(|to| {
            Sink::start(to, (wake, woken), reader.shared_source(), writer.clone(), metrics.clone())
        });
        let sink = sink.transpose().inspect_err(|_| writer.stop())?;
        Ok(Self { writer, reader, sink, key_life: claim::LIFE, metrics })
    }

    /// The same trail, which keeps claimed idempotency keys that long.
    pub fn with_key_life(self, key_life: Duration) -> Self {
        Self { key_life, ..self }
    }

    /// Puts a reset on record, and with it the digest of what may be sent; its idempotency key is then its own. When
    /// this returns an intent, its record is on the disk.
    pub async fn open(&self, permit: Permit, target: &Target) -> Result<Intent, Box<Unopened>> {
        let reset = Reset::begun(&permit, now());
        self.intend(permit, reset, target).await
    }

    async fn intend(
        &self,
        permit: Permit,
        mut reset: Reset,
        target: &Target,
    ) -> Result<Intent, Box<Unopened>> {
        let digest = target.digest(&reset.instance);
        let facts = Facts::of_intent(&reset, &permit, &digest);
        // The intent of a batch's item comes later than the reset began.
        let at = if reset.batch.is_some() { now() } else { reset.created_at };
        let call = permit.authorized().seen().call();
        let claim = call.key.as_ref().map(|keyed| self.claim(&call.principal, keyed, reset.id, at));
        match self.writer.write(Draft::intent(at, &facts, &reset, claim)).await {
            Ok(position) => {
                let (authorized, charged) = permit.into_parts();
                reset.receipt = position;
                let (writer, metrics) = (self.writer.clone(), self.metrics.clone());
                let arrived = authorized.seen().call().origin.arrived;
                let open = OpenReset {
                    writer,
                    metrics,
                    about: About::of(&reset, Some(arrived)),
                    charged: Some(charged),
                };
                Ok(Intent { authorized, digest, reset, open })
            }
            Err(error) => Err(Box::new(Unopened { permit, error })),
        }
    }

    /// Puts the outcome, and what it took, on record, and settles the quotas by it.
    pub async fn close(&self, mut intent: Intent, outcome: Outcome, effort: Effort) -> Receipt {
        self.metrics.reset(outcome.status().as_str());
        if let Some(charged) = intent.open.charged.take() {
            match outcome {
                Outcome::Accepted { .. } | Outcome::Unknown { .. } => charged.keep(),
                Outcome::Rejected { .. } => charged.keep_team(),
                Outcome::NotSent(_) => charged.give_back(),
            }
        }
        let now = now();
        let draft = Draft::outcome(&intent.open.about, &outcome, Some(effort), now, None);
        let recorded = self.writer.write(draft).await.is_ok();
        let arrived = intent.open.about.arrived;
        let Intent { mut reset, .. } = intent;
        reset.status = outcome.status();
        reset.cause = outcome.cause().map(str::to_owned);
        reset.upstream_code = outcome.upstream_code().map(str::to_owned);
        reset.upstream_request_id = outcome.upstream_request_id().map(str::to_owned);
        reset.finished_at = Some(now);
        Receipt { reset, arrived, outcome, recorded }
    }

    /// Corrects an `unknown` by an answer that came late.
    pub async fn correct(&self, about: &About, outcome: &Outcome, effort: Effort) {
        let draft = Draft::outcome(about, outcome, Some(effort), now(), Some("late answer"));
        if self.writer.write(draft).await.is_ok() {
            self.metrics.corrected(outcome.status().as_str());
            tracing::info!(audit.id = %about.reset, outcome = outcome.status().as_str(), "an answer came late and corrects the reset's outcome");
        }
    }

    /// Puts a refusal on record. Nobody waits for it: a caller is refused whether or not the trail works.
    pub fn refuse(&self, facts: &Facts<'_>) {
        self.writer.post(Draft::refused(Timestamp::now(), facts));
    }

    /// Counts a refusal that is not put on record, for want of space.
    pub fn leave_out_refusal(&self) {
        self.metrics.refusal_left_out();
    }

    /// Puts on record that a caller reads the trail. Nobody waits for it.
    pub fn note_read(&self, facts: &Facts<'_>) {
        self.writer.post(Draft::read(Timestamp::now(), facts));
    }

    /// Puts on record what the gateway does with itself. Nobody waits for it.
    pub fn note(&self, event: &Event<'_>) {
        self.writer.post(Draft::event(event));
    }

    /// What reads it.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The reset of this id, from the projection.
    pub async fn reset(&self, id: ResetId) -> Result<Option<Reset>, ReadError> {
        self.reader.reset(id).await
    }

    /// The resets of the batch of this id, in its order; none: there is no such batch.
    pub async fn batch(&self, id: ResetId) -> Result<Vec<Reset>, ReadError> {
        self.reader.batch(id).await
    }

    /// That the key goes to what this id names.
    fn claim(&self, principal: &Principal, keyed: &Keyed, target: ResetId, at: Timestamp) -> Box<Claim> {
        Box::new(Claim::new(principal.identity(), keyed, target, at, self.key_life))
    }

    /// Who has the caller's idempotency key, and what became of it by now.
    pub async fn claimed(&self, caller: &Identity, keyed: &Keyed) -> Result<Option<Claimed>, ReadError> {
        let since = claim::before(Timestamp::now(), self.key_life);
        self.reader.claimed(caller.to_string(), keyed.key.as_str().to_owned(), since).await
    }

    /// Until when the trail cannot tell which idempotency keys are new, since it was put back from a backup: what was
    /// claimed after that is not in it.
    pub async fn forgetful_until(&self) -> Result<Option<Timestamp>, ReadError> {
        let since = Some(claim::before(Timestamp::now(), self.key_life));
        let restored = Filter { kind: Some(Kind::Restored), since, ..Filter::default() };
        let newest = self.reader.page(restored, Order::NewestFirst, None, 1).await?;
        let time = newest.first().and_then(|stored| stored.place().time.parse::<Timestamp>().ok());
        Ok(time.map(|time| time.checked_add(self.key_life).unwrap_or(Timestamp::MAX)))
    }

    /// Has expired idempotency keys forgotten. Nobody waits for it.
    pub fn expire_keys(&self) {
        self.writer.expire_keys(claim::before(Timestamp::now(), self.key_life));
    }

    /// Whether the last commit succeeded.
    pub fn healthy(&self) -> bool {
        self.writer.healthy()
    }

    /// Whether free space is below its reserve, so that it is kept for intents and outcomes.
    pub fn scarce(&self) -> bool {
        self.writer.scarce()
    }

    /// Writes what is queued and the `stop` record, and gives the lock up. Blocks until it is done.
    pub fn stop(&self) {
        self.writer.stop();
        self.sink.iter().for_each(Sink::stop);
    }
}

/// In the precision that records and answers have.
fn now() -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond()).expect("the present is within bounds")
}

impl About {
    fn of(reset: &Reset, arrived: Option<Instant>) -> Self {
        Self {
            reset: reset.id,
            batch: reset.batch,
            request: reset.request_id.clone(),
            team: reset.team.clone(),
            instance: reset.instance.clone(),
            arrived,
        }
    }
}

impl Reset {
    /// As it is when its intent is put on record.
    fn begun(permit: &Permit, created_at: Timestamp) -> Self {
        let call = permit.authorized().seen().call();
        Self {
            id: ResetId::generate(),
            batch: call.request.batch.map(|batch| batch.id),
            instance: call.request.instance.clone(),
            team: call.principal.team().clone(),
            status: Status::Sent,
            request_id: call.origin.request_id.clone(),
            upstream_request_id: None,
            upstream_code: None,
            cause: None,
            reason: call.request.reason.as_ref().map(|text| text.as_str().to_owned()),
            ticket: call.request.ticket.as_ref().map(|text| text.as_str().to_owned()),
            policies: permit.authorized().policies().to_vec(),
            sealed_password: call.request.password.sealed().map(str::to_owned),
            created_at,
            finished_at: None,
            receipt: Position { writer: String::new(), sequence: 0, hash: String::new() },
        }
    }
}

impl Intent {
    /// What is about to be sent.
    pub fn authorized(&self) -> &Authorized {
        &self.authorized
    }

    /// Of what was decided: nothing else may be sent for it.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether no other can have taken its writer for dead, and told what became of the reset: then nothing may be
    /// sent for it any more. A process may have been paused for any time since the intent was written.
    pub fn stands(&self) -> bool {
        self.open.writer.lives_as(&self.reset.receipt.writer)
    }

    /// The id that answers and records know the reset by.
    pub fn reset_id(&self) -> ResetId {
        self.reset.id
    }
}

impl std::fmt::Debug for OpenReset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenReset").field("about", &self.about).finish_non_exhaustive()
    }
}

impl Drop for OpenReset {
    fn drop(&mut self) {
        if let Some(charged) = self.charged.take() {
            charged.keep();
            let unknown = Outcome::Unknown { upstream_code: None, upstream_request_id: None };
            self.metrics.reset(unknown.status().as_str());
            self.writer.post(Draft::outcome(&self.about, &unknown, None, now(), Some("abandoned")));
        }
    }
}

impl Receipt {
    /// The reset as it now is.
    pub fn reset(&self) -> &Reset {
        &self.reset
    }

    /// What a correction of it would be of.
    pub fn about(&self) -> About {
        About::of(&self.reset, self.arrived)
    }

    /// What came of the call.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// False: the outcome is not on the disk yet, and is being tried again.
    pub fn recorded(&self) -> bool {
        self.recorded
    }
}

/// Facts of a caller that came no further than its identity.
pub fn caller_facts<'f>(identity: &'f Identity, origin: &'f Origin) -> Facts<'f> {
    Facts::of_identity(identity, origin)
}

#[cfg(test)]
pub(crate) mod tests;
