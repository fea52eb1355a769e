mod text;

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::authn::{Call, Identity, Origin};
use crate::authz::{Authorized, Denied};
use crate::domain::{Effort, InstanceId, Outcome, ResetId, rfc3339};
use crate::http;
use crate::ratelimit::{Limited, LimitedAll, Permit, Standings};

use super::{About, Position, Reset};

/// The version of the record's shape, its first field.
const VERSION: u8 = 2;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Start,
    Stop,
    Refused,
    /// An item of a batch waits for its turn.
    Queued,
    Intent,
    Outcome,
    /// Of the gateway itself, see [`super::Event`].
    Checkpoint,
    Policy,
    Key,
    Degraded,
    Pruned,
    Restored,
    /// The trail was read by a caller.
    Read,
}

/// It names no kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", Kind::ALL.map(Kind::as_str).join(", "))]
pub struct NoKind;

impl Kind {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::Start,
        Self::Stop,
        Self::Refused,
        Self::Queued,
        Self::Intent,
        Self::Outcome,
        Self::Checkpoint,
        Self::Policy,
        Self::Key,
        Self::Degraded,
        Self::Pruned,
        Self::Restored,
        Self::Read,
    ];

    /// As records write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Refused => "refused",
            Self::Queued => "queued",
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Checkpoint => "checkpoint",
            Self::Policy => "policy",
            Self::Key => "key",
            Self::Degraded => "degraded",
            Self::Pruned => "pruned",
            Self::Restored => "restored",
            Self::Read => "read",
        }
    }
}

impl FromStr for Kind {
    type Err = NoKind;

    fn from_str(name: &str) -> Result<Self, NoKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(NoKind)
    }
}

/// Everything a record says besides its place in the chain. An absent field does not apply.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts<'f> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'f str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scopes: &'f [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<&'f [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "quotas")]
    quotas: Option<&'f Standings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'f str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    generated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_password: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_code: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_request_id: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'f str>,
}

/// Why a request was refused, as records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    /// Policy does not permit it.
    Policy,
    /// The caller's team is missing, or not theirs.
    Team,
    /// Zenlayer has no such instance.
    NotFound,
    /// Not running, or without agent.
    NotReady,
    /// blocks.toml stops the caller.
    Blocked,
    CallerLimit,
    TeamQuota,
    Cooldown,
    /// Quotas cannot be counted.
    Limiter,
    /// Zenlayer did not describe the instance.
    Inventory,
    /// The caller asked about too many instances that are not its own to view.
    LookupLimit,
    /// Most calls to Zenlayer failed lately, so none is made.
    Circuit,
    /// The account's budget of calls to Zenlayer is spent.
    AccountBudget,
    /// As many batches run as may.
    Batches,
    /// The intent could not be put on record.
    Trail,
    /// The same request, by its idempotency key, is worked on.
    IdempotencyInFlight,
    /// The idempotency key stands for another request.
    IdempotencyKeyReused,
    /// Nobody can tell whether the idempotency key is new, or there are too many.
    IdempotencyUnavailable,
}

impl<'f> Facts<'f> {
    pub(super) fn of_identity(identity: &'f Identity, origin: &'f Origin) -> Self {
        Self {
            request_id: Some(origin.request_id.as_str()),
            trace_id: origin.trace.as_ref().map(|trace| trace.as_str()),
            issuer: Some(identity.issuer().as_str()),
            subject: Some(identity.subject()),
            client: identity.client(),
            actor: identity.actor(),
            token_id: identity.token_id(),
            scopes: identity.scopes(),
            client_address: Some(origin.address.to_string()),
            user_agent: origin.user_agent.as_deref(),
            ..Self::default()
        }
    }

    /// A reset that was asked for.
    pub fn of_call(call: &'f Call) -> Self {
        Self {
            team: Some(call.principal.team().as_str()),
            action: Some("ResetPassword"),
            instance_id: Some(call.request.instance.as_str()),
            reason: call.request.reason.as_ref().map(|text| text.as_str()),
            ticket: call.request.ticket.as_ref().map(|text| text.as_str()),
            batch_id: call.request.batch.map(|batch| batch.id.to_string()),
            batch_size: call.request.batch.map(|batch| batch.size),
            generated: call.request.password.is_generated(),
            ..Self::of_identity(call.principal.identity(), &call.origin)
        }
    }

    /// A reset that policy refused.
    pub fn of_denied(denied: &'f Denied) -> Self {
        Self {
            decision: Some("deny"),
            policies: Some(&denied.forbids),
            revision: Some(denied.revision.as_str()),
            ..Self::of_call(denied.seen.call())
        }
    }

    /// A reset that policy permitted.
    pub fn of_authorized(authorized: &'f Authorized) -> Self {
        Self {
            decision: Some("allow"),
            policies: Some(authorized.policies()),
            revision: Some(authorized.revision().id().as_str()),
            ..Self::of_call(authorized.seen().call())
        }
    }

    /// An item of a batch that is within its quotas, and waits for its turn.
    pub(super) fn of_queued(id: ResetId, permit: &'f Permit) -> Self {
        Self {
            reset_id: Some(id.to_string()),
            quotas: Some(permit.standings()),
            ..Self::of_authorized(permit.authorized())
        }
    }

    /// A reset that is within its quotas, and is about to be sent. What was queued was charged then.
    pub(super) fn of_intent(reset: &Reset, permit: &'f Permit, decided: &'f http::Digest) -> Self {
        let queued = reset.batch.map(|_| rfc3339(reset.created_at));
        Self {
            reset_id: Some(reset.id.to_string()),
            quotas: queued.is_none().then(|| permit.standings()),
            queued_at: queued,
            digest: Some(decided.as_str()),
            sealed_password: permit.authorized().seen().call().request.password.sealed(),
            ..Self::of_authorized(permit.authorized())
        }
    }

    /// A reset that a quota refused.
    pub fn of_limited(limited: &'f Limited) -> Self {
        Self { quotas: limited.standings.as_ref(), ..Self::of_authorized(&limited.authorized) }
    }

    /// A batch that a quota refused.
    pub fn of_limited_batch(limited: &'f LimitedAll, first: &'f Authorized) -> Self {
        Self { quotas: limited.standings.as_ref(), ..Self::of_authorized(first).whole_batch() }
    }

    /// `effort` is None when nobody can tell it any more.
    pub(super) fn of_outcome(
        about: &'f About,
        outcome: &'f Outcome,
        effort: Option<Effort>,
        cause: Option<&'static str>,
    ) -> Self {
        Self {
            request_id: Some(about.request.as_str()),
            team: Some(about.team.as_str()),
            instance_id: Some(about.instance.as_str()),
            attempts: effort.map(|effort| effort.attempts),
            upstream_ms: effort.and_then(|effort| effort.upstream).map(milliseconds),
            total_ms: about.arrived.map(|arrived| milliseconds(arrived.elapsed())),
            reset_id: Some(about.reset.to_string()),
            batch_id: about.batch.map(|id| id.to_string()),
            outcome: Some(outcome.status().as_str()),
            cause,
            upstream_code: outcome.upstream_code(),
            upstream_request_id: outcome.upstream_request_id(),
            ..Self::default()
        }
    }

    /// The same, for the acting team.
    pub fn team(mut self, team: &'f str) -> Self {
        self.team = Some(team);
        self
    }

    /// The same, of this instance.
    pub fn instance(mut self, id: &'f InstanceId) -> Self {
        self.instance_id = Some(id.as_str());
        self
    }

    /// The same, of all instances of a batch.
    pub fn whole_batch(mut self) -> Self {
        self.instance_id = None;
        self
    }

    /// The same, of another action than a reset.
    pub fn action(mut self, action: &'static str) -> Self {
        self.action = Some(action);
        self
    }

    /// The same, of what was read by this filter.
    pub fn filter(mut self, filter: Option<&'f str>) -> Self {
        self.filter = filter;
        self
    }

    /// The same, refused for `why`.
    pub fn refused(mut self, why: Refused) -> Self {
        self.refused = Some(why);
        self
    }
}

/// In the words of the API.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QuotaFact {
    limit: &'static str,
    requests: u32,
    period_seconds: u64,
    burst: u32,
    remaining: u32,
}

fn quotas<S: Serializer>(standings: &Option<&Standings>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(standings.iter().flat_map(|standings| standings.iter()).map(|standing| {
        QuotaFact {
            limit: standing.limit.name(),
            requests: standing.quota.requests.get(),
            period_seconds: standing.quota.period.as_secs(),
            burst: standing.quota.burst.get(),
            remaining: standing.remaining,
        }
    }))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The rest of a record, ready to be put behind its place in the chain: `"kind":…}`.
pub(super) fn rest(kind: Kind, time: Timestamp, facts: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Rest<'r, F> {
        kind: Kind,
        time: String,
        #[serde(flatten)]
        facts: &'r F,
    }
    let rest = Rest { kind, time: rfc3339(time), facts };
    let mut text = text::json(&rest);
    text.remove(0);
    text
}

/// The end of one writer's chain.
#[derive(Debug, Clone)]
pub(super) struct Chain(Position);

impl Chain {
    pub(super) fn new(writer: String) -> Self {
        Self(Position { writer, sequence: 0, hash: "0".repeat(64) })
    }

    pub(super) fn writer(&self) -> &str {
        &self.0.writer
    }

    /// Its last record; of sequence 0 while it has none.
    pub(super) fn head(&self) -> &Position {
        &self.0
    }

    /// The record's bytes: SHA-256 of exactly these is its hash.
    pub(super) fn append(&mut self, rest: &str) -> (Position, String) {
        let Self(Position { writer, sequence, hash: previous }) = self;
        *sequence += 1;
        let record = format!(
            r#"{{"v":{VERSION},"writer":"{writer}","sequence":{sequence},"previous":"{previous}",{rest}"#
        );
        *previous = hash(&record);
        (self.0.clone(), record)
    }
}

/// SHA-256 of a record's bytes, hexadecimal.
pub(super) fn hash(record: &str) -> String {
    hex::encode(Sha256::digest(record))
}
