//! Who calls: first in every handler's argument list, so that a stranger's body is not read.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::{Either, LocalBoxFuture};
use jiff::Timestamp;

use super::Shared;
use super::edge::Context;
use super::problem::{Kind, Problem};
use super::query::Query;
use crate::audit::{self, caller_facts};
use crate::authn::{Identity, LONGEST_TOKEN, Principal, Refusal, TeamFault};
use crate::domain::TeamName;
use crate::ratelimit::Spent;
use crate::reset::Gateway;

/// An authenticated caller, within the caller limit, whose query is understood.
pub(super) struct Caller {
    pub(super) identity: Arc<Identity>,
    /// The team to act for, or why there is none.
    pub(super) team: Result<TeamName, TeamFault>,
    pub(super) query: Query,
}

impl Caller {
    /// Lets a caller in who has proved who it is.
    fn admit(request: &HttpRequest, identity: Arc<Identity>) -> Result<Self, Problem> {
        let gateway = request.app_data::<web::Data<Gateway>>().expect("`app` gives it to every worker");
        let context = Context::of(request);
        // The limit comes before anything else the caller wrote is looked at; a query that cannot be
        // understood names no team.
        let query = Query::parse(request);
        let named = query.as_ref().ok().and_then(|query| query.team.as_ref());
        let team = identity.team(named).cloned();
        if gateway.policies.current().blocks(&identity, team.as_ref().ok()) {
            let facts = caller_facts(&identity, context.origin());
            gateway.refuse_once_a_minute(&identity, &facts.refused(audit::Refused::Blocked));
            return Err(Problem::new(Kind::Forbidden, "This caller is blocked."));
        }
        let standing = gateway.limiter.check_caller(&identity, team.as_ref().ok());
        let standing = standing.inspect_err(|_| {
            let facts = caller_facts(&identity, context.origin());
            gateway.refuse_once_a_minute(&identity, &facts.refused(audit::Refused::CallerLimit));
        })?;
        context.note_user(identity.to_string(), standing);
        let query = query?;
        if let Ok(team) = &team {
            context.note_team(team);
        }
        Ok(Self { identity, team, query })
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
                    gateway.refuse(&self.identity, &facts.refused(audit::Refused::Team));
                }
                return Err((*fault).into());
            }
        };
        Ok(self.identity.clone().acting_for(Some(team))?)
    }
}

/// Waits only for a key that nobody knows yet.
impl FromRequest for Caller {
    type Error = Problem;
    type Future = Either<Ready<Result<Self, Problem>>, LocalBoxFuture<'static, Result<Self, Problem>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        match authenticate(request) {
            Err(Refused::Token(Refusal::UnknownKey)) => {
                let request = request.clone();
                Either::Right(Box::pin(async move {
                    let identity = authenticate_renewed(&request).await;
                    Self::admit(&request, identity.map_err(|refused| refused.told(&request))?)
                }))
            }
            known => {
                let identity = known.map_err(|refused| refused.told(request));
                Either::Left(ready(identity.and_then(|identity| Self::admit(request, identity))))
            }
        }
    }
}

/// Why a request has no identity.
enum Refused {
    Token(Refusal),
    Network(Spent),
}

impl Refused {
    fn told(self, request: &HttpRequest) -> Problem {
        let (shared, gateway) = parts(request);
        let context = Context::of(request);
        match self {
            Self::Network(spent) => spent.into(),
            Self::Token(refusal) => {
                shared.metrics.unauthenticated(refusal.label());
                tracing::debug!(request.id = %context.origin().request_id, "a caller is not authenticated: {refusal}");
                // A request without a token is a mistake, not a try; and for missing keys nobody can be blamed.
                if !matches!(refusal, Refusal::Missing | Refusal::NoKeys) {
                    gateway.limiter.charge_failure(context.origin().address);
                }
                refusal.into()
            }
        }
    }
}

/// A token that was verified before goes on at once; another only while its client's network has not failed too
/// often, since the check of a signature is what a stranger can make us pay for.
fn authenticate(request: &HttpRequest) -> Result<Arc<Identity>, Refused> {
    let (shared, gateway) = parts(request);
    let now = Timestamp::now();
    let token = bearer(request).map_err(Refused::Token)?;
    if let Some(identity) = shared.authenticator.remembered(token, now) {
        return Ok(identity);
    }
    gateway.limiter.check_network(Context::of(request).origin().address).map_err(Refused::Network)?;
    shared.authenticator.verify(token, now).map_err(Refused::Token)
}

/// Checks once more a token whose key nobody knew, if its issuer's keys were renewed meanwhile.
async fn authenticate_renewed(request: &HttpRequest) -> Result<Arc<Identity>, Refused> {
    let (shared, _) = parts(request);
    let token = bearer(request).map_err(Refused::Token)?;
    if !shared.authenticator.renewed(token).await {
        return Err(Refused::Token(Refusal::UnknownKey));
    }
    shared.authenticator.verify(token, Timestamp::now()).map_err(Refused::Token)
}

fn parts(request: &HttpRequest) -> (&web::Data<Shared>, &web::Data<Gateway>) {
    let shared = request.app_data().expect("`app` gives it to every worker");
    (shared, request.app_data().expect("`app` gives it to every worker"))
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
