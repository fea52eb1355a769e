//! The trail, for those whom policy lets read it.

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::Shared;
use super::edge::Context;
use super::principal::Caller;
use super::problem::{Kind, Problem};
use super::query::{Faults, Query};
use crate::audit::{self, Filter, Page, Place, ReadError, Reader, Refused as Why, Stored, caller_facts};
use crate::authz::{self, Auditor, Owner};
use crate::reset::Gateway;

/// What the trail may be asked with.
pub(super) const PARAMETERS: &[&str] = &[
    "kind",
    "ofTeam",
    "instanceId",
    "user",
    "resetId",
    "requestId",
    "writer",
    "since",
    "until",
    "limit",
    "cursor",
];

/// The list that a cursor is of.
const LIST: &str = "audit";
/// The action, as records name it.
const ACTION: &str = "ViewAudit";

/// The one refusal, whatever was asked for.
const FORBIDDEN: &str = "No policy permits the acting team to read these records.";

/// Records of the audit trail, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditPage)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageView {
    items: Vec<RecordView>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// What a record is about.
struct KindName;

impl PartialSchema for KindName {
    fn schema() -> RefOr<Schema> {
        let names = audit::Kind::ALL.map(audit::Kind::as_str);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for KindName {}

/// A record and its place in the chain of its writer.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditRecord)]
struct RecordView {
    #[schema(format = Uuid, example = "019ab3f0-c4d2-7f5e-8d1c-2b3a49586775")]
    writer: String,
    #[schema(minimum = 1, example = 42)]
    sequence: u64,
    /// SHA-256 of the record's bytes, hexadecimal.
    #[schema(
        pattern = "^[0-9a-f]{64}$",
        example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    )]
    hash: String,
    /// The record itself: exactly the bytes that `hash` is of, so cut it out of the answer's text to check them. Its
    /// fields are in docs/audit.md.
    #[schema(
        value_type = Object,
        example = json!({"v": 1, "writer": "019ab3f0-c4d2-7f5e-8d1c-2b3a49586775", "sequence": 42, "previous": "…", "kind": "outcome", "time": "2026-11-24T12:00:00.345Z", "resetId": "019ab3f0-c4d2-7f5e-8d1c-2b3a49586774", "outcome": "accepted"})
    )]
    record: Box<RawValue>,
}

impl From<Stored> for RecordView {
    fn from(Stored { position, record }: Stored) -> Self {
        let audit::Position { writer, sequence, hash } = position;
        let record = RawValue::from_string(record).expect("a page holds what was read as JSON");
        Self { writer, sequence, hash, record }
    }
}

/// Read the audit trail
///
/// The records of all teams that policy lets the acting team audit (`ViewAudit`), the newest first. A page looks at no
/// more than 5,000 records, so it may hold fewer than `limit` and yet have a `nextCursor`. That it was read is itself
/// put on record.
#[utoipa::path(
    operation_id = "listAuditRecords",
    tag = "audit",
    params(
        ("team" = Option<String>, Query, description = "The team to act for; required when the token names several.", min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "auditors"),
        ("kind" = inline(Option<KindName>), Query, description = "Of this kind.", example = "refused"),
        ("ofTeam" = Option<String>, Query, description = "Of this team; `@gateway`: of the gateway itself, and of callers without a team.", pattern = "^(@gateway|[a-z0-9][a-z0-9_-]{0,62})$", example = "payments"),
        ("instanceId" = Option<String>, Query, description = "Of this instance.", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]*$", example = "pay-0001"),
        ("user" = Option<String>, Query, description = "Of this user: the name of the token's issuer, a bar, and its name for the user.", pattern = r"^[a-z](_?[a-z0-9])*_?\|.", example = "corp|alice"),
        ("resetId" = Option<String>, Query, description = "Of this reset.", format = Uuid, pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$", example = "019ab3f0-c4d2-7f5e-8d1c-2b3a49586774"),
        ("requestId" = Option<String>, Query, description = "Of the call with this `X-Request-Id`.", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$", example = "019ab3f0c4d27f5e8d1c2b3a49586774"),
        ("writer" = Option<String>, Query, description = "Of this writer.", format = Uuid, example = "019ab3f0-c4d2-7f5e-8d1c-2b3a49586775"),
        ("since" = Option<String>, Query, description = "Made at this time or later (RFC 3339).", format = DateTime, pattern = "^(19[7-9]|[2-9][0-9][0-9])[0-9]-", example = "2026-11-24T00:00:00Z"),
        ("until" = Option<String>, Query, description = "Made before this time (RFC 3339).", format = DateTime, pattern = "^(19[7-9]|[2-9][0-9][0-9])[0-9]-", example = "2026-11-25T00:00:00Z"),
        ("limit" = Option<u16>, Query, description = "Most items; 50 if not given.", minimum = 1, maximum = 200, example = 50),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before.", pattern = "^[A-Za-z0-9_-]+$"),
    ),
    responses((status = 200, description = "A page.", body = PageView)),
)]
#[get("/v1/audit")]
pub(super) async fn list(
    caller: Caller,
    request: HttpRequest,
    gateway: web::Data<Gateway>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let (wanted, given) = (Wanted::read(&caller.query, &shared)?, caller.query.given(PARAMETERS));
    let principal = caller.acting(&request)?;
    let turn = shared.turn().await?;
    let mut auditor = gateway.policies.auditor(&principal, context.origin());
    let reader = gateway.trail.reader().clone();
    // Hundreds of decisions and a read of the disk: not on a thread that others wait for.
    let made = web::block(move || {
        let _turn = turn;
        wanted.page(&mut auditor, &reader)
    });
    let failed = |_| Problem::unavailable("The page could not be made. Try again.");
    let facts = caller_facts(principal.identity(), context.origin()).team(principal.team().as_str());
    let facts = facts.action(ACTION).filter(given.as_deref());
    let Some(page) = made.await.map_err(failed)? else {
        gateway.refuse(principal.identity(), &facts.refused(Why::Policy));
        return Err(Problem::new(Kind::Forbidden, FORBIDDEN));
    };
    let Page { records, next } = page.map_err(|error| {
        tracing::error!("the trail cannot be read: {error}");
        Problem::unavailable("The audit trail cannot be read. Try again.")
    })?;
    gateway.trail.note_read(&facts);
    let next_cursor = next.map(|place| shared.cursors.seal(LIST, &written(&place)));
    let items = records.into_iter().map(RecordView::from).collect();
    Ok(HttpResponse::Ok().json(PageView { items, next_cursor }))
}

/// What a page is asked for with.
struct Wanted {
    filter: Filter,
    owner: Option<Owner>,
    limit: usize,
    after: Option<Place>,
}

impl Wanted {
    fn read(query: &Query, shared: &Shared) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let owner = faults.read(query, "ofTeam", str::parse::<Owner>);
        let team = match &owner {
            Some(Owner::Team(team)) => Some(team.clone()),
            Some(Owner::Gateway) | None => None,
        };
        let filter = Filter {
            kind: faults.read(query, "kind", str::parse),
            team,
            instance: faults.read(query, "instanceId", str::parse),
            user: faults.read(query, "user", authz::user),
            reset: faults.read(query, "resetId", str::parse),
            request: faults.read(query, "requestId", str::parse),
            writer: faults.read(query, "writer", writer),
            since: faults.time(query, "since"),
            until: faults.time(query, "until"),
        };
        let limit = faults.number(query, "limit", 50, 1..=200);
        let after = query.text("cursor").and_then(|cursor| {
            let place = shared.cursors.open(LIST, cursor).and_then(|text| place(&text));
            if place.is_none() {
                faults.add("cursor", "`cursor` is not a `nextCursor` of this list: start anew.".to_owned());
            }
            place
        });
        faults.none()?;
        Ok(Self { filter, owner, limit, after })
    }

    /// None: there is nothing among it that the caller may read. Blocks.
    fn page(self, auditor: &mut Auditor, reader: &Reader) -> Option<Result<Page, ReadError>> {
        let Self { filter, owner, limit, after } = self;
        let may = match &owner {
            Some(owner) => auditor.may_read(owner),
            None => auditor.may_read_any(),
        };
        let whose = |of: &Owner| owner.as_ref().is_none_or(|owner| owner == of) && auditor.may_read(of);
        may.then(|| reader.browse(&filter, after, limit, whose))
    }
}

fn writer(text: &str) -> Result<String, &'static str> {
    let shaped = text.len() == 36 && text.bytes().all(|b| b"0123456789abcdef-".contains(&b));
    if shaped { Ok(text.to_owned()) } else { Err("a writer's id is a UUID in its hyphenated form") }
}

fn written(Place { time, writer, sequence }: &Place) -> String {
    format!("{time} {writer} {sequence}")
}

fn place(text: &str) -> Option<Place> {
    let mut words = text.splitn(3, ' ').map(str::to_owned);
    let (time, writer) = (words.next()?, words.next()?);
    Some(Place { time, writer, sequence: words.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_as_it_was_written() {
        let place_of = |time: &str| Place { time: time.to_owned(), writer: "w".to_owned(), sequence: 7 };
        for time in ["2026-11-24T12:00:00.000Z", ""] {
            assert_eq!(place(&written(&place_of(time))), Some(place_of(time)), "{time:?}");
        }
        for text in ["", "a b", "a b c", "a b 1 2", "a b -1"] {
            assert_eq!(place(text), None, "{text:?}");
        }
    }
}
