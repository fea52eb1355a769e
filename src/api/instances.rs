//! The instances that the caller may view, each with what a reset would meet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, get, web};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::edge::Context;
use super::principal::Caller;
use super::problem::{Kind, Problem};
use super::query::{Faults, Query};
use super::reset::segment;
use super::{Shared, refusal};
use crate::audit::{Refused as Why, caller_facts};
use crate::authz::Viewer;
use crate::domain::{InstanceId, rfc3339};
use crate::inventory::{Agent, Attributes, Blind, Known, Mirror};
use crate::ratelimit::Limiter;
use crate::reset::{Blocker, Gateway, obstacles};

/// What the list may be asked with.
pub(super) const PARAMETERS: &[&str] =
    &["zoneId", "resourceGroupId", "tag", "name", "status", "limit", "cursor"];

/// Instances that one page looks at, at most; what it does not reach is behind its cursor.
const MOST_EXAMINED: usize = 2000;
/// Longest wait for a page's turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// The list that a cursor is of.
const LIST: &str = "instances";

/// An instance, as Zenlayer described it at `asOf`. What it does not tell is absent.
#[derive(Serialize, ToSchema)]
#[schema(as = Instance)]
#[serde(rename_all = "camelCase")]
struct InstanceView {
    #[schema(example = "pay-0001")]
    instance_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "payments-db-1")]
    name: Option<String>,
    /// Zenlayer's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "RUNNING")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "z2a.cpu.1")]
    instance_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "img-debian-12")]
    image_id: Option<String>,
    /// Whether the guest agent, which sets the password, is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = true)]
    enable_agent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "asia-southeast-1a")]
    zone_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "rg-payments")]
    resource_group_id: Option<String>,
    /// Public and private.
    #[schema(example = json!(["10.0.0.1"]))]
    addresses: Vec<String>,
    #[schema(example = json!({"team": "payments"}))]
    tags: BTreeMap<String, String>,
    #[schema(format = DateTime, example = "2026-11-24T12:00:00.000Z")]
    as_of: String,
    reset: Outlook,
}

/// What a reset would meet now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outlook {
    /// Policy permits to reset it alone, with a reason, a ticket and a typed password. `dryRun` judges a whole
    /// request.
    #[schema(example = true)]
    allowed: bool,
    /// Nothing but policy stands against it.
    #[schema(example = true)]
    ready: bool,
    /// What does: `policy`, `not-running`, `busy`, `no-agent`, `cooldown`, `quota`, `stale`.
    #[schema(example = json!([]))]
    blockers: Vec<&'static str>,
}

/// A page of instances.
#[derive(Serialize, ToSchema)]
#[schema(as = InstancePage)]
#[serde(rename_all = "camelCase")]
struct PageView {
    /// In the order of their ids. May be fewer than `limit`, even none, and yet not the last.
    items: Vec<InstanceView>,
    /// Where the next page goes on; absent from the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Zk9…")]
    next_cursor: Option<String>,
}

/// What was asked for; every part must match.
#[derive(Default)]
struct Filter {
    zone: Option<String>,
    resource_group: Option<String>,
    tag: Option<(String, String)>,
    /// In lower case; any part of the name.
    name: Option<String>,
    status: Option<String>,
}

/// One page's work, with all it needs to leave the worker's thread.
struct Listing {
    filter: Filter,
    limit: usize,
    after: Option<InstanceId>,
    eye: Eye,
}

/// One caller's view of instances.
struct Eye {
    viewer: Viewer,
    limiter: Arc<Limiter>,
    mirror: Arc<Mirror>,
}

/// List instances
///
/// The instances that policy lets the acting team view, in the order of their ids. A page looks at no more than
/// 2,000 instances, so it may hold fewer than `limit` and yet have a `nextCursor`.
#[utoipa::path(
    operation_id = "listInstances",
    tag = "instances",
    params(
        ("team" = Option<String>, Query, description = "The team to act for; required when the token names several.", min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "payments"),
        ("zoneId" = Option<String>, Query, description = "Of this zone.", example = "asia-southeast-1a"),
        ("resourceGroupId" = Option<String>, Query, description = "Of this resource group.", example = "rg-payments"),
        ("tag" = Option<String>, Query, description = "With this tag: `key:value`.", pattern = "^[^:]+:.*$", example = "team:payments"),
        ("name" = Option<String>, Query, description = "With this in its name, in any case of letters.", example = "pay"),
        ("status" = Option<String>, Query, description = "With this status, in Zenlayer's word.", example = "RUNNING"),
        ("limit" = Option<u16>, Query, description = "Most items; 50 if not given.", minimum = 1, maximum = 200, example = 50),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before."),
    ),
    responses((status = 200, description = "A page.", body = PageView)),
)]
#[get("/v1/instances")]
pub(super) async fn list(
    caller: Caller,
    request: HttpRequest,
    gateway: web::Data<Gateway>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let (filter, limit, after) = asked(&caller.query, &shared)?;
    let principal = caller.acting(&request)?;
    let busy = |_| Problem::unavailable("Too many lists are made at the same time. Try again.");
    let turn = tokio::time::timeout(PATIENCE, shared.pages.clone().acquire_owned()).await.map_err(busy)?;
    let eye = Eye::of(&gateway, gateway.policies.viewer(&principal, context.origin()));
    let listing = Listing { filter, limit, after, eye };
    // Thousands of decisions: not on a thread that others wait for.
    let made = web::block(move || {
        let _turn = turn;
        listing.page()
    });
    let failed = |_| Problem::unavailable("The list could not be made. Try again.");
    let page = made.await.map_err(failed)?;
    let (items, next) =
        page.ok_or_else(|| Problem::unavailable("The inventory is not loaded yet. Try again."))?;
    let next_cursor = next.map(|id| shared.cursors.seal(LIST, id.as_str()));
    Ok(HttpResponse::Ok().json(PageView { items, next_cursor }))
}

/// Read an instance
///
/// As Zenlayer describes it, and what a reset would meet. An instance that the acting team may not view is answered
/// like one that does not exist.
#[utoipa::path(
    operation_id = "readInstance",
    tag = "instances",
    params(
        ("instanceId" = String, Path, description = "The instance.", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]*$", example = "pay-0001"),
        ("team" = Option<String>, Query, description = "The team to act for; required when the token names several.", min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "payments"),
    ),
    responses((status = 200, description = "The instance.", body = InstanceView)),
)]
#[get("/v1/instances/{instanceId}")]
pub(super) async fn read(
    caller: Caller,
    request: HttpRequest,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let principal = caller.acting(&request)?;
    let id: InstanceId = segment(&request, "instanceId")?;
    context.note_instance(&id);
    let eye = Eye::of(&gateway, gateway.policies.viewer(&principal, context.origin()));
    let refused = |why| {
        let facts = caller_facts(principal.identity(), context.origin()).team(principal.team().as_str());
        gateway.trail.refuse(&facts.action("ViewInstance").instance(&id).refused(why));
    };
    let spent = |_: &Blind| refused(Why::LookupLimit);
    let (known, charged) = match gateway.inventory.find(principal.identity(), &id).await {
        Ok(found) => found,
        // What was known before is still worth showing: it says itself that it is stale.
        Err(blind @ Blind::Failed(_)) => (Some(eye.last_known(&id).ok_or(blind)?), false),
        Err(blind @ Blind::Spent { .. }) => return Err(blind).inspect_err(spent)?,
    };
    let unknown = || Arc::new(Attributes::unknown(id.clone()));
    let told = known.as_ref().map_or_else(unknown, |known| known.attributes.clone());
    if !eye.viewer.may_view(&told) {
        gateway.inventory.charge_stranger(principal.identity(), charged).inspect_err(spent)?;
        refused(Why::Policy);
        return Err(refusal::not_viewable());
    }
    let known =
        known.ok_or_else(|| Problem::new(Kind::NotFound, "Zenlayer has no instance with this id."))?;
    Ok(HttpResponse::Ok().json(eye.look(&known)))
}

fn asked(query: &Query, shared: &Shared) -> Result<(Filter, usize, Option<InstanceId>), Problem> {
    let mut faults = Faults::default();
    let text = |name: &str| query.text(name).map(str::to_owned);
    let tag = query.text("tag").and_then(|tag| match tag.split_once(':') {
        Some((key, value)) if !key.is_empty() => Some((key.to_owned(), value.to_owned())),
        _ => {
            faults.add("tag", "`tag` must be `key:value`.".to_owned());
            None
        }
    });
    let after = query.text("cursor").and_then(|cursor| {
        let id = shared.cursors.open(LIST, cursor).and_then(|position| position.parse().ok());
        if id.is_none() {
            faults.add("cursor", "`cursor` is not a `nextCursor` of this list: start anew.".to_owned());
        }
        id
    });
    let limit = faults.number(query, "limit", 50, 1..=200);
    faults.none()?;
    let name = query.text("name").map(str::to_lowercase);
    let (zone, resource_group, status) = (text("zoneId"), text("resourceGroupId"), text("status"));
    Ok((Filter { zone, resource_group, tag, name, status }, limit, after))
}

impl Filter {
    fn matches(&self, told: &Attributes) -> bool {
        let same = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == has)
        };
        same(&self.zone, told.zone.as_deref())
            && same(&self.resource_group, told.resource_group.as_deref())
            && same(&self.status, Some(&told.status))
            && self.name.as_ref().is_none_or(|part| told.name.to_lowercase().contains(part.as_str()))
            && self.tag.as_ref().is_none_or(|(key, value)| {
                told.tags.iter().any(|tag| *tag.key == **key && *tag.value == **value)
            })
    }
}

impl Listing {
    /// The page, and the last instance it looked at if there are more. None: nothing is known yet.
    fn page(&self) -> Option<(Vec<InstanceView>, Option<InstanceId>)> {
        let snapshot = self.eye.mirror.snapshot()?;
        let rest = snapshot.after(self.after.as_ref());
        let (mut items, mut examined) = (Vec::new(), 0);
        for known in rest.iter().take(MOST_EXAMINED) {
            if items.len() == self.limit {
                break;
            }
            examined += 1;
            if self.filter.matches(&known.attributes) && self.eye.viewer.may_view(&known.attributes) {
                items.push(self.eye.look(known));
            }
        }
        let more = examined < rest.len();
        let last = examined.checked_sub(1).filter(|_| more);
        Some((items, last.map(|last| rest[last].attributes.id.clone())))
    }
}

impl Eye {
    fn of(gateway: &Gateway, viewer: Viewer) -> Self {
        Self { viewer, limiter: gateway.limiter.clone(), mirror: gateway.inventory.mirror().clone() }
    }

    fn last_known(&self, id: &InstanceId) -> Option<Known> {
        self.mirror.snapshot()?.get(id).cloned()
    }

    /// The instance as the caller sees it.
    fn look(&self, known: &Known) -> InstanceView {
        let told = &known.attributes;
        let allowed = self.viewer.may_reset(told);
        let mut met = obstacles(&self.limiter, self.viewer.revision(), self.viewer.team(), told);
        met.extend((!self.mirror.is_fresh(known)).then_some(Blocker::Stale));
        let reset = Outlook { allowed, ready: met.is_empty(), blockers: blockers(allowed, &met) };
        let text = |text: &Arc<str>| (!matches!(&**text, "" | "UNKNOWN")).then(|| text.to_string());
        InstanceView {
            instance_id: told.id.to_string(),
            name: text(&told.name),
            status: text(&told.status),
            instance_type: text(&told.instance_type),
            image_id: text(&told.image),
            enable_agent: match told.agent {
                Agent::Present => Some(true),
                Agent::Absent => Some(false),
                Agent::Unknown => None,
            },
            zone_id: told.zone.as_deref().map(str::to_owned),
            resource_group_id: told.resource_group.as_deref().map(str::to_owned),
            addresses: told.addresses.iter().map(ToString::to_string).collect(),
            tags: told.tags.iter().map(|tag| (tag.key.to_string(), tag.value.to_string())).collect(),
            as_of: rfc3339(wall(known.asked)),
            reset,
        }
    }
}

/// All that stands against a reset, policy first.
pub(super) fn blockers(allowed: bool, met: &[Blocker]) -> Vec<&'static str> {
    let policy = (!allowed).then_some(Blocker::Policy);
    policy.iter().chain(met).map(|blocker| blocker.as_str()).collect()
}

/// The time of day at an instant that is past.
fn wall(instant: Instant) -> Timestamp {
    let ago = SignedDuration::try_from(instant.elapsed()).unwrap_or_default();
    Timestamp::now() - ago
}
