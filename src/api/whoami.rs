//! Who the gateway takes the caller for.

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::edge::Context;
use super::principal::Caller;
use super::problem::Problem;
use crate::ratelimit::Standing;
use crate::reset::Gateway;

/// The caller, as its token proves it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Whoami {
    /// The configured name of the token's issuer.
    #[schema(example = "corp")]
    issuer: String,
    #[schema(example = "alice")]
    subject: String,
    /// The program that the token was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "portal")]
    client: Option<String>,
    /// Who acts on the subject's behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "portal-backend")]
    actor: Option<String>,
    /// The teams that the issuer may assert.
    #[schema(example = json!(["payments"]))]
    teams: Vec<String>,
    /// The acting team: the only one, or the one that `team` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "payments")]
    team: Option<String>,
    #[schema(example = json!([]))]
    scopes: Vec<String>,
    limits: Vec<LimitView>,
}

/// A limit, and what is left of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Limit)]
#[serde(rename_all = "camelCase")]
pub(super) struct LimitView {
    /// `caller`: calls of this user. `team`: resets of the acting team. `cooldown`: rest of one instance.
    #[schema(example = "team")]
    limit: &'static str,
    /// Requests in each period.
    #[schema(example = 600)]
    requests: u32,
    #[schema(example = 3600)]
    period_seconds: u64,
    /// Most at once.
    #[schema(example = 100)]
    burst: u32,
    #[schema(example = 99)]
    remaining: u32,
    /// Until all of it is there again.
    #[schema(example = 6)]
    reset_seconds: u64,
}

impl From<Standing> for LimitView {
    fn from(standing: Standing) -> Self {
        Self {
            limit: standing.limit.name(),
            requests: standing.quota.requests.get(),
            period_seconds: standing.quota.period.as_secs(),
            burst: standing.quota.burst.get(),
            remaining: standing.remaining,
            reset_seconds: standing.reset.as_secs_f64().ceil() as u64,
        }
    }
}

/// Who am I?
///
/// The caller, its teams and what is left of its limits. Answers also when the token names no team, or several
/// and none was chosen.
#[utoipa::path(
    operation_id = "whoami",
    tag = "caller",
    params(("team" = Option<String>, Query, description = "The team to act for.", min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "payments")),
    responses((status = 200, description = "The caller.", body = Whoami)),
)]
#[get("/v1/whoami")]
pub(super) async fn whoami(
    caller: Caller,
    request: HttpRequest,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    use crate::authn::TeamFault;
    let team = match &caller.team {
        Ok(team) => Some(team),
        Err(TeamFault::None | TeamFault::Several) => None,
        Err(TeamFault::NotTheirs) => return Err(TeamFault::NotTheirs.into()),
    };
    let texts = |option: Option<&str>| option.map(str::to_owned);
    let identity = &caller.identity;
    let left = match team {
        Some(team) => gateway.limiter.team_standing(&gateway.policies.current(), team).await.ok(),
        None => None,
    };
    let standings = Context::of(&request).caller_standing().into_iter().chain(left);
    Ok(HttpResponse::Ok().json(Whoami {
        issuer: identity.issuer().to_string(),
        subject: identity.subject().to_owned(),
        client: texts(identity.client()),
        actor: texts(identity.actor()),
        teams: identity.teams().iter().map(ToString::to_string).collect(),
        team: team.map(ToString::to_string),
        scopes: identity.scopes().to_vec(),
        limits: standings.map(LimitView::from).collect(),
    }))
}
