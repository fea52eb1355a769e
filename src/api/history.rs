//! The resets of a team, or of all whose resets the caller may read, newest first.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::edge::Context;
use super::principal::Caller;
use super::problem::Problem;
use super::query::{Faults, Query};
use super::view::{ResetView, StatusName};
use super::{Shared, refusal};
use crate::audit::{Moment, Refused as Why, ResetFilter, caller_facts};
use crate::authz::Viewer;
use crate::domain::{Status, TeamName};
use crate::reset::Gateway;

/// What the list may be asked with.
pub(super) const PARAMETERS: &[&str] =
    &["ofTeam", "instanceId", "status", "since", "until", "limit", "cursor"];

/// The list that a cursor is of.
const LIST: &str = "password-resets";

/// The action, as records name it.
const ACTION: &str = "ViewReset";

/// A page of resets.
#[derive(Serialize, ToSchema)]
#[schema(as = ResetPage)]
#[serde(rename_all = "camelCase")]
struct PageView {
    /// The newest first. May be fewer than `limit`, even none, and yet not the last.
    items: Vec<ResetView>,
    /// Where the next page goes on; absent from the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Zk9…")]
    next_cursor: Option<String>,
}

impl PageView {
    const NOTHING: Self = Self { items: Vec::new(), next_cursor: None };
}

/// Whose resets are asked for.
enum Whose {
    Own,
    Team(TeamName),
    /// Of every team whose resets the caller may read.
    All,
}

impl Whose {
    /// The only team whose resets can be among them, if there is but one. How many others have is then not looked at,
    /// and so not to be learned from how pages are filled.
    fn one(&self, viewer: &Viewer) -> Option<TeamName> {
        match self {
            Self::Team(team) => Some(team.clone()),
            Self::All if viewer.may_view_others_resets() => None,
            Self::Own | Self::All => Some(viewer.team().clone()),
        }
    }
}

struct Asked {
    whose: Whose,
    filter: ResetFilter,
    limit: usize,
    after: Option<Moment>,
}

/// The caller's eye on one page. It decides once a team, so never more often than a page looks at resets.
struct Eye {
    viewer: Viewer,
    decided: HashMap<TeamName, bool>,
}

impl Eye {
    fn sees(&mut self, team: &TeamName) -> bool {
        if let Some(decided) = self.decided.get(team) {
            return *decided;
        }
        let sees = self.viewer.may_view_resets(team);
        self.decided.insert(team.clone(), sees);
        sees
    }
}

/// List resets
///
/// The resets of the acting team, or of others whose resets policy lets it read: the newest `createdAt` first. A page
/// looks at no more than 2,000 resets, so it may hold fewer than `limit` and yet have a `nextCursor`.
#[utoipa::path(
    operation_id = "listResets",
    tag = "resets",
    params(
        ("team" = Option<String>, Query, description = "The team to act for; required when the token names several.", min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "payments"),
        ("ofTeam" = Option<String>, Query, description = "The team whose resets are read, the acting one if not given; `*`: every team whose resets policy lets the acting team read. One whose resets it may not read looks as if it had none.", min_length = 1, max_length = 63, pattern = r"^(\*|[a-z0-9][a-z0-9_-]*)$", example = "payments"),
        ("instanceId" = Option<String>, Query, description = "Of this instance.", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]*$", example = "pay-0001"),
        ("status" = Option<StatusName>, Query, description = "With this status now."),
        ("since" = Option<String>, Query, description = "With a `createdAt` of this time or later.", format = DateTime, pattern = "^(19[7-9]|[2-9][0-9][0-9])[0-9]-", example = "2026-11-24T00:00:00Z"),
        ("until" = Option<String>, Query, description = "With a `createdAt` of before this time.", format = DateTime, pattern = "^(19[7-9]|[2-9][0-9][0-9])[0-9]-", example = "2026-11-25T00:00:00Z"),
        ("limit" = Option<u16>, Query, description = "Most items; 50 if not given.", minimum = 1, maximum = 200, example = 50),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before.", pattern = "^[A-Za-z0-9_-]+$"),
    ),
    responses((status = 200, description = "A page.", body = PageView)),
)]
#[get("/v1/password-resets")]
pub(super) async fn list(
    caller: Caller,
    request: HttpRequest,
    gateway: web::Data<Gateway>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let Asked { whose, mut filter, limit, after } = asked(&caller.query, &shared)?;
    let given = caller.query.given(PARAMETERS);
    let principal = caller.acting(&request)?;
    if let Some(instance) = &filter.instance {
        context.note_instance(instance);
    }
    let viewer = gateway.policies.viewer(&principal, context.origin());
    let mut eye = Eye { decided: HashMap::new(), viewer };
    if let Some(team) = whose.one(&eye.viewer) {
        if !eye.sees(&team) {
            // To ask for whatever may be read is no attempt at what may not.
            if !matches!(whose, Whose::All) {
                let facts = caller_facts(principal.identity(), context.origin());
                let facts = facts.team(principal.team().as_str()).action(ACTION).filter(given.as_deref());
                gateway.refuse(principal.identity(), &facts.refused(Why::Policy));
                if team == *principal.team() {
                    return Err(refusal::own_resets_forbidden());
                }
            }
            // As if that team had none, or there were no such team.
            return Ok(HttpResponse::Ok().json(PageView::NOTHING));
        }
        filter.team = Some(team);
    }
    let turn = shared.turn().await?;
    let visible = move |team: &TeamName| {
        // Held until the page is made, also if nobody waits for it any more.
        let _turn = &turn;
        eye.sees(team)
    };
    let page = gateway.trail.reader().history(filter, after, limit, visible).await.map_err(|error| {
        tracing::error!("a page of resets cannot be read: {error}");
        Problem::unavailable("The audit trail cannot be read. Try again.")
    })?;
    let next_cursor = page.next.map(|moment| shared.cursors.seal(LIST, &moment.to_string()));
    let items = page.resets.iter().map(ResetView::from).collect();
    Ok(HttpResponse::Ok().json(PageView { items, next_cursor }))
}

fn asked(query: &Query, shared: &Shared) -> Result<Asked, Problem> {
    let mut faults = Faults::default();
    let whose = match query.text("ofTeam") {
        None => Whose::Own,
        Some("*") => Whose::All,
        Some(name) => faults.parsed("ofTeam", name).map_or(Whose::Own, Whose::Team),
    };
    let instance = faults.read(query, "instanceId", str::parse);
    let status = query.text("status").and_then(|name| {
        let status = Status::from_name(name);
        if status.is_none() {
            faults.add(
                "status",
                format!("`status` must be one of {}.", Status::ALL.map(Status::as_str).join(", ")),
            );
        }
        status
    });
    let (since, until) = (faults.time(query, "since"), faults.time(query, "until"));
    let after = query.text("cursor").and_then(|cursor| {
        let moment = shared.cursors.open(LIST, cursor).and_then(|position| position.parse().ok());
        if moment.is_none() {
            faults.add("cursor", "`cursor` is not a `nextCursor` of this list: start anew.".to_owned());
        }
        moment
    });
    let limit = faults.number(query, "limit", 50, 1..=200);
    faults.none()?;
    Ok(Asked { whose, filter: ResetFilter { team: None, instance, status, since, until }, limit, after })
}
