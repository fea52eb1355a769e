//! Who calls: first in every handler's argument list, so that a stranger's body is not read.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use jiff::Timestamp;

use super::Shared;
use super::edge::Context;
use super::problem::{Kind, Problem};
use super::query::Query;
use crate::audit::{Refused, caller_facts};
use crate::authn::{Identity, LONGEST_TOKEN, Principal, Refusal, TeamFault};
use crate::domain::TeamName;
use crate::reset::Gateway;

/// An authenticated caller, within the caller limit, whose query is understood.
pub(super) struct Caller {
    pub(super) identity: Arc<Identity>,
    /// The team to act for, or why there is none.
    pub(super) team: Result<TeamName, TeamFault>,
}

impl Caller {
    fn from(request: &HttpRequest) -> Result<Self, Problem> {
        let shared = request.app_data::<web::Data<Shared>>().expect("`app` gives it to every worker");
        let gateway = request.app_data::<web::Data<Gateway>>().expect("`app` gives it to every worker");
        let context = Context::of(request);
        let identity = authenticate(request, shared, gateway, &context)?;
        // The limit comes before anything else the caller wrote is looked at; a query that cannot be
        // understood names no team.
        let query = Query::parse(request);
        let named = query.as_ref().ok().and_then(|query| query.team.as_ref());
        let team = identity.team(named).cloned();
        if gateway.policies.current().blocks(&identity, team.as_ref().ok()) {
            if gateway.limiter.first_refusal_in_a_minute(&identity) {
                let facts = caller_facts(&identity, context.origin());
                gateway.trail.refuse(&facts.refused(Refused::Blocked));
            }
            return Err(Problem::new(Kind::Forbidden, "This caller is blocked."));
        }
        let standing = gateway.limiter.check_caller(&identity, team.as_ref().ok());
        let standing = standing.inspect_err(|_| {
            if gateway.limiter.first_refusal_in_a_minute(&identity) {
                let facts = caller_facts(&identity, context.origin());
                gateway.trail.refuse(&facts.refused(Refused::CallerLimit));
            }
        })?;
        context.note_user(identity.to_string(), standing);
        query?;
        if let Ok(team) = &team {
            context.note_team(team);
        }
        Ok(Self { identity, team })
    }

    /// The caller acting for its team; without one nothing but `whoami` is for it.
    pub(super) fn acting(self, request: &HttpRequest) -> Result<Principal, Problem> {
        let team = match &self.team {
            Ok(team) => team,
            Err(fault) => {
                let gateway =
                    request.app_data::<web::Data<Gateway>>().expect("`app` gives it to every worker");
                if *fault != TeamFault::Several {
                    let context = Context::of(request);
                    let facts = caller_facts(&self.identity, context.origin());
                    gateway.trail.refuse(&facts.refused(Refused::Team));
                }
                return Err((*fault).into());
            }
        };
        Ok(self.identity.clone().acting_for(Some(team))?)
    }
}

/// Never waits: every key is at hand.
impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::from(request))
    }
}

/// A token that was verified before goes on at once; another only while its client's network has not failed too
/// often, since the check of a signature is what a stranger can make us pay for.
fn authenticate(
    request: &HttpRequest,
    shared: &Shared,
    gateway: &Gateway,
    context: &Context,
) -> Result<Arc<Identity>, Problem> {
    let (now, client) = (Timestamp::now(), context.origin().address);
    let refused = |refusal: Refusal| {
        shared.metrics.unauthenticated(refusal.label());
        tracing::debug!(request.id = %context.origin().request_id, "a caller is not authenticated: {refusal}");
        // A request without a token is a mistake, not a try.
        if refusal != Refusal::Missing {
            gateway.limiter.charge_failure(client);
        }
        Problem::from(refusal)
    };
    let token = bearer(request).map_err(refused)?;
    if let Some(identity) = shared.authenticator.remembered(token, now) {
        return Ok(identity);
    }
    gateway.limiter.check_network(client)?;
    shared.authenticator.verify(token, now).map_err(refused)
}

/// The one bearer token (RFC 6750, section 2.1).
fn bearer(request: &HttpRequest) -> Result<&str, Refusal> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next().ok_or(Refusal::Missing)?;
    if headers.next().is_some() {
        return Err(Refusal::NotBearer);
    }
    if header.len() > LONGEST_TOKEN + "Bearer ".len() {
        return Err(Refusal::TooLong);
    }
    let (scheme, token) =
        header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Refusal::NotBearer)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim_start_matches(' '))
    } else {
        Err(Refusal::NotBearer)
    }
}
