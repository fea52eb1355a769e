//! The instances that the caller may view, each with what a reset would meet.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::edge::Context;
use super::outlook::{Eye, Filter, InstanceView, Listing, PageView};
use super::principal::Caller;
use super::problem::{Kind, Problem};
use super::query::{Faults, Query, segment};
use super::{Shared, refusal};
use crate::audit::{Refused as Why, caller_facts};
use crate::domain::InstanceId;
use crate::inventory::{Attributes, Blind};
use crate::reset::Gateway;

/// What the list may be asked with.
pub(super) const PARAMETERS: &[&str] =
    &["zoneId", "resourceGroupId", "tag", "name", "status", "limit", "cursor"];

/// The list that a cursor is of.
const LIST: &str = "instances";

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
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before.", pattern = "^[A-Za-z0-9_-]+$"),
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
    let turn = shared.turn().await?;
    let eye = Eye::of(&gateway, gateway.policies.viewer(&principal, context.origin()));
    let listing = Listing { filter, limit, after, eye: eye.clone() };
    // Thousands of decisions: not on a thread that others wait for.
    let made = web::block(move || {
        let _turn = turn;
        listing.page()
    });
    let failed = |_| Problem::unavailable("The list could not be made. Try again.");
    let page = made.await.map_err(failed)?;
    let (items, next) =
        page.ok_or_else(|| Problem::unavailable("The inventory is not loaded yet. Try again."))?;
    let items = eye.look_at(&items).await;
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
        gateway.refuse(principal.identity(), &facts.action("ViewInstance").instance(&id).refused(why));
    };
    let spent = |_: &Blind| refused(Why::LookupLimit);
    let (known, charged, failed) = match gateway.inventory.find(principal.identity(), &id).await {
        Ok((known, charged)) => (known, charged, None),
        // Before the first refresh all instances are alike, and unknown.
        Err(blind @ Blind::Failed { .. }) if gateway.inventory.last_known(&id).is_none() => {
            return Err(blind.into());
        }
        // What was known before is still worth showing: it says itself that it is stale.
        Err(Blind::Failed { error, charged }) => (eye.last_known(&id), charged, Some(error)),
        Err(blind @ Blind::Spent { .. }) => return Err(blind).inspect_err(spent)?,
    };
    let unknown = || Arc::new(Attributes::unknown(id.clone()));
    let told = known.as_ref().map_or_else(unknown, |known| known.attributes.clone());
    if !eye.viewer.may_view(&told) {
        gateway.inventory.charge_stranger(principal.identity(), charged).inspect_err(spent)?;
        refused(Why::Policy);
        return Err(refusal::not_viewable());
    }
    match (known, failed) {
        (Some(known), _) => Ok(HttpResponse::Ok().json(eye.look(known).await)),
        (None, Some(error)) => Err(Blind::Failed { error, charged }.into()),
        (None, None) => Err(Problem::new(Kind::NotFound, "Zenlayer has no instance with this id.")),
    }
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
