//! Resets and batches as answers show them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::told::Told;
use crate::audit;
use crate::domain::{ResetId, Status, rfc3339};

/// A reset and how far it has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Reset)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResetView {
    #[schema(example = "reset")]
    kind: &'static str,
    /// A UUIDv7.
    #[schema(format = Uuid, example = "019ab3f0-c4d2-7f5e-8d1c-2b3a49586774")]
    id: String,
    /// The batch that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Uuid, example = "019ab3f0-c4d2-7f5e-8d1c-2b3a49586770")]
    batch_id: Option<String>,
    #[schema(example = "pay-0001")]
    instance_id: String,
    #[schema(example = "payments")]
    team: String,
    status: StatusName,
    /// The `X-Request-Id` of the call that made it.
    #[schema(example = "019ab3f0c4d27f5e8d1c2b3a49586774")]
    request_id: String,
    /// Zenlayer's own id of its call: what its support asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "TEEFDCA5B-76FB-4E91-A18E-DF7F5D2CE41F")]
    upstream_request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "OPERATION_DENIED_INSTANCE_IN_OPERATION")]
    upstream_code: Option<String>,
    /// Why it is `not_sent`, in a word of docs/api.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "busy")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "the owner lost it")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "OPS-1234")]
    ticket: Option<String>,
    /// The permits that decided.
    #[schema(example = json!(["payments/reset-own"]))]
    policies: Vec<String>,
    #[schema(format = DateTime, example = "2026-11-24T12:00:00.000Z")]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime, example = "2026-11-24T12:00:00.345Z")]
    finished_at: Option<String>,
    /// The generated password: in the first answer to the POST, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, format = Password, example = "aV7~qT2$kM9=xR4w")]
    pub(super) password: Option<Told>,
    /// The generated password, sealed to the `recipientKey`: compact JWE (RFC 7516).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "eyJhbGciOiJFQ0RILUVTIiwgLi4ufQ..iv.ciphertext.tag")]
    sealed_password: Option<String>,
    receipt: ReceiptView,
}

/// How far a reset has come. `queued`: of a batch, and not tried yet. `accepted`: Zenlayer took it, which is not yet proof that it is done. `rejected`:
/// Zenlayer said no. `unknown`: no trustworthy answer came, the password may have changed. `not_sent`: it surely
/// never reached Zenlayer.
#[derive(Serialize, ToSchema)]
#[schema(as = Status, example = "accepted")]
#[serde(rename_all = "snake_case")]
pub(super) enum StatusName {
    Queued,
    Sent,
    Accepted,
    Rejected,
    Unknown,
    NotSent,
}

/// Where the intent (of one that is `queued`, or was not sent from there: the `queued` record) stands in the audit trail, and its hash: keep it to prove later that it was not changed.
#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
struct ReceiptView {
    #[schema(format = Uuid, example = "019ab3f0-c4d2-7f5e-8d1c-2b3a49586775")]
    writer: String,
    #[schema(minimum = 1, example = 42)]
    sequence: u64,
    /// SHA-256, hexadecimal.
    #[schema(
        pattern = "^[0-9a-f]{64}$",
        example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    )]
    hash: String,
}

impl From<&audit::Reset> for ResetView {
    fn from(reset: &audit::Reset) -> Self {
        Self {
            kind: "reset",
            id: reset.id.to_string(),
            batch_id: reset.batch.map(|id| id.to_string()),
            instance_id: reset.instance.to_string(),
            team: reset.team.to_string(),
            status: match reset.status {
                Status::Queued => StatusName::Queued,
                Status::Sent => StatusName::Sent,
                Status::Accepted => StatusName::Accepted,
                Status::Rejected => StatusName::Rejected,
                Status::Unknown => StatusName::Unknown,
                Status::NotSent => StatusName::NotSent,
            },
            request_id: reset.request_id.to_string(),
            upstream_request_id: reset.upstream_request_id.clone(),
            upstream_code: reset.upstream_code.clone(),
            cause: reset.cause.clone(),
            reason: reset.reason.clone(),
            ticket: reset.ticket.clone(),
            policies: reset.policies.clone(),
            created_at: rfc3339(reset.created_at),
            finished_at: reset.finished_at.map(rfc3339),
            password: None,
            sealed_password: reset.sealed_password.clone(),
            receipt: ReceiptView {
                writer: reset.receipt.writer.clone(),
                sequence: reset.receipt.sequence,
                hash: reset.receipt.hash.clone(),
            },
        }
    }
}

/// A batch and how far it has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Batch)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchView {
    #[schema(example = "batch")]
    kind: &'static str,
    /// A UUIDv7.
    #[schema(format = Uuid, example = "019ab3f0-c4d2-7f5e-8d1c-2b3a49586770")]
    id: String,
    #[schema(example = "payments")]
    team: String,
    status: BatchStatus,
    /// How many of its resets have which status.
    #[schema(example = json!({"accepted": 2}))]
    counts: BTreeMap<&'static str, usize>,
    /// In the order in which the call named them.
    pub(super) resets: Vec<ResetView>,
    #[schema(format = DateTime, example = "2026-11-24T12:00:00.000Z")]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime, example = "2026-11-24T12:00:00.345Z")]
    finished_at: Option<String>,
}

/// `running`: some of its resets are `queued` or `sent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = "finished")]
#[serde(rename_all = "snake_case")]
enum BatchStatus {
    Running,
    Finished,
}

impl BatchView {
    /// None: without resets there is no batch.
    pub(super) fn of(id: ResetId, resets: &[audit::Reset]) -> Option<Self> {
        let first = resets.first()?;
        let mut counts = BTreeMap::new();
        for reset in resets {
            *counts.entry(reset.status.as_str()).or_default() += 1;
        }
        let finished = resets.iter().all(|reset| reset.status.is_final());
        let ended = resets.iter().filter_map(|reset| reset.finished_at).max();
        Some(Self {
            kind: "batch",
            id: id.to_string(),
            team: first.team.to_string(),
            status: if finished { BatchStatus::Finished } else { BatchStatus::Running },
            counts,
            resets: resets.iter().map(ResetView::from).collect(),
            created_at: rfc3339(
                resets.iter().map(|reset| reset.created_at).min().unwrap_or(first.created_at),
            ),
            finished_at: ended.filter(|_| finished).map(rfc3339),
        })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.status == BatchStatus::Finished
    }
}

/// A reset, or a batch of them; `kind` says which.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "it is written at once")]
pub(super) enum ResetOrBatch {
    Reset(ResetView),
    Batch(BatchView),
}
