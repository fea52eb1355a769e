//! What is true of every request, and knows nothing of resets: its id, its bounds, its headers, one log line.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError, web};
use jiff::Timestamp;
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;

use super::problem::{Kind, Problem};
use super::{Shared, client, shown};
use crate::authn::Origin;
use crate::domain::{InstanceId, ResetId, TeamName};
use crate::ratelimit::Standing;
use crate::reset::Gateway;

/// Longest head of a request, in bytes: its line and its headers.
const LONGEST_HEAD: usize = 32 << 10;

/// What a request is known by from its first byte on; handlers add what its log line should say.
#[derive(Clone)]
pub(super) struct Context(Rc<Known>);

struct Known {
    origin: Origin,
    noted: RefCell<Noted>,
}

/// What became known of a request while it was handled.
#[derive(Default)]
struct Noted {
    user: Option<String>,
    team: Option<TeamName>,
    instance: Option<InstanceId>,
    reset: Option<ResetId>,
    caller: Option<Standing>,
}

impl Context {
    /// The context of a request that came through [`edge`].
    pub(super) fn of(request: &actix_web::HttpRequest) -> Self {
        request.extensions().get::<Self>().expect("every request comes through the edge").clone()
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub(super) fn note_user(&self, user: String, standing: Standing) {
        let mut noted = self.0.noted.borrow_mut();
        (noted.user, noted.caller) = (Some(user), Some(standing));
    }

    pub(super) fn note_team(&self, team: &TeamName) {
        self.0.noted.borrow_mut().team = Some(team.clone());
    }

    pub(super) fn note_instance(&self, instance: &InstanceId) {
        self.0.noted.borrow_mut().instance = Some(instance.clone());
    }

    pub(super) fn note_reset(&self, reset: ResetId) {
        self.0.noted.borrow_mut().reset = Some(reset);
    }

    pub(super) fn caller_standing(&self) -> Option<Standing> {
        self.0.noted.borrow().caller
    }
}

/// The outermost middleware of the callers' listener.
pub async fn edge<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let shared = request.app_data::<web::Data<Shared>>().expect("`app` gives it to every worker").clone();
    let context = Context(Rc::new(Known { origin: origin(&request, &shared), noted: RefCell::default() }));
    request.extensions_mut().insert(context.clone());

    let response = if head_length(&request) > LONGEST_HEAD {
        let problem =
            Problem::new(Kind::HeadTooLarge, "The request line and headers are longer than 32 KiB.");
        request.error_response(problem)
    } else {
        // A handler's error comes as a response too; nothing below returns another.
        next.call(request).await?.map_into_boxed_body()
    };
    let (http, response) = response.into_parts();
    let (mut response, problem) = finish(response, &context);
    let standings = standings(&http, &context).await;
    put_headers(&http, &mut response, &context, &standings);
    if shared.drain.leaving() {
        // Its next request finds another replica.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    let route = http.match_pattern();
    let route = route.as_deref().unwrap_or("unmatched");
    let method = shown(http.method());
    let took = context.origin().arrived.elapsed();
    let slug = problem.map(Kind::slug).unwrap_or_default();
    shared.metrics.answered(route, method, response.status().as_u16(), slug, took);
    log(&context, route, method, response.status(), slug, took.as_secs_f64() * 1000.0);
    Ok(ServiceResponse::new(http, response))
}

fn origin(request: &ServiceRequest, shared: &Shared) -> Origin {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let (address, request_id) = client::origin(peer, request.headers(), &shared.trusted_proxies);
    let trace = client::trace(request.headers());
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let user_agent = agent.map(|text| text.chars().filter(|c| !c.is_control()).take(256).collect());
    Origin { request_id, trace, address, user_agent, at: Timestamp::now(), arrived: Instant::now() }
}

fn head_length(request: &ServiceRequest) -> usize {
    let line = request.uri().path().len() + request.query_string().len() + 16;
    line + request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>()
}

/// Problems become answers here, since only here the request's id is known.
fn finish(response: HttpResponse, context: &Context) -> (HttpResponse, Option<Kind>) {
    let id = &context.origin().request_id;
    let Some(error) = response.error() else { return (response, None) };
    let (mut rendered, kind) = match error.as_error::<Problem>() {
        Some(problem) => (problem.render(id), problem.kind),
        None => {
            let problem = of_actix(error.as_response_error());
            (problem.render(id), problem.kind)
        }
    };
    // What lets a page of another origin read it stands on the answer that is replaced here.
    for (name, value) in response.headers() {
        if *name == header::VARY || name.as_str().starts_with("access-control-") {
            rendered.headers_mut().append(name.clone(), value.clone());
        }
    }
    (rendered, Some(kind))
}

/// actix's own refusals; none of its extractors is used, so few are left.
fn of_actix(error: &dyn ResponseError) -> Problem {
    match error.status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Kind::PayloadTooLarge, "The body is longer than 64 KiB.")
        }
        status if status.is_client_error() => {
            Problem::new(Kind::InvalidRequest, "The request cannot be understood.")
        }
        _ => Problem::unavailable("The request could not be handled."),
    }
}

/// What is left of the caller's limit, and of the acting team's.
async fn standings(http: &actix_web::HttpRequest, context: &Context) -> Vec<Standing> {
    let gateway = http.app_data::<web::Data<Gateway>>().expect("`app` gives it to every worker");
    let (caller, team) = {
        let noted = context.0.noted.borrow();
        (noted.caller, noted.team.clone())
    };
    let Some(caller) = caller else { return Vec::new() };
    let mut standings = vec![caller];
    if let Some(team) = team {
        standings.extend(gateway.limiter.team_standing(&gateway.policies.current(), &team).await);
    }
    standings
}

fn put_headers(
    http: &actix_web::HttpRequest,
    response: &mut HttpResponse,
    context: &Context,
    standings: &[Standing],
) {
    let headers = response.headers_mut();
    let id = HeaderValue::try_from(context.origin().request_id.as_str()).expect("an id is visible ASCII");
    headers.insert(HeaderName::from_static("x-request-id"), id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A path may be written otherwise than its route: `/%761/whoami`.
    let pattern = http.match_pattern();
    if pattern.as_deref().unwrap_or(http.path()).starts_with("/v1/") {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if standings.is_empty() {
        return;
    }
    let policy = standings
        .iter()
        .map(|s| format!(r#""{}";q={};w={}"#, s.limit.name(), s.quota.requests, s.quota.period.as_secs()));
    let left = standings.iter().map(|s| {
        format!(r#""{}";r={};t={}"#, s.limit.name(), s.remaining, s.reset.as_secs_f64().ceil() as u64)
    });
    for (name, items) in [("ratelimit-policy", policy.collect::<Vec<_>>()), ("ratelimit", left.collect())] {
        let value = HeaderValue::try_from(items.join(", ")).expect("names and numbers are visible ASCII");
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// One line a request; it reads alone.
fn log(context: &Context, route: &str, method: &str, status: StatusCode, problem: &str, duration_ms: f64) {
    let (origin, noted) = (context.origin(), context.0.noted.borrow());
    tracing::info!(
        request.id = origin.request_id.as_str(),
        trace.id = origin.trace.as_ref().map(|trace| trace.as_str()),
        client.address = %origin.address,
        http.method = method,
        http.route = route,
        http.status = status.as_u16(),
        problem,
        duration_ms,
        user = noted.user.as_deref(),
        team.name = noted.team.as_ref().map(|team| team.as_str()),
        instance.id = noted.instance.as_ref().map(|instance| instance.as_str()),
        audit.id = noted.reset.map(tracing::field::display),
        "{method} {route} answered {}", status.as_u16()
    );
}

/// tracing-actix-web's root span, made only where debug is on: at info a request costs its one line.
pub struct RootSpan;

impl RootSpanBuilder for RootSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request.extensions().get::<Context>().map(|context| context.origin().request_id.clone());
        tracing::debug_span!("request", request.id = id.as_ref().map(|id| id.as_str()))
    }

    fn on_request_end<B: MessageBody>(_: Span, _: &Result<ServiceResponse<B>, Error>) {}
}
