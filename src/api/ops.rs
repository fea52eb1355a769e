//! The operations listener: metrics and health, read-only.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::Drain;
use super::problem::{Kind, Problem};
use crate::audit::Trail;
use crate::authn::Authenticator;
use crate::domain::RequestId;
use crate::inventory::Mirror;
use crate::metrics::Metrics;
use crate::redis::Link;

/// What health is judged by.
#[derive(Clone)]
pub struct Health {
    pub metrics: Arc<Metrics>,
    pub drain: Drain,
    pub trail: Arc<Trail>,
    pub authenticator: Arc<Authenticator>,
    pub mirror: Arc<Mirror>,
    /// None: nothing is counted there.
    pub redis: Option<Arc<Link>>,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    checks: std::collections::BTreeMap<&'static str, &'static str>,
}

/// Mounts `/metrics`, `/livez` and `/readyz`.
pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/metrics", web::get().to(metrics))
        .route("/livez", web::get().to(livez))
        .route("/readyz", web::get().to(readyz))
        .default_service(web::to(no_route));
}

async fn metrics(health: web::Data<Health>) -> HttpResponse {
    let headers = (CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    HttpResponse::Ok().insert_header(headers).body(health.metrics.encode())
}

/// The process answers.
async fn livez() -> HttpResponse {
    report(StatusCode::OK, "alive", [("process", "ok")])
}

/// May traffic come? Configuration, policies and trail were loaded before this listener answered; then each
/// issuer's keys are looked for once, and after that only a stop takes readiness away. What is down later shows
/// here and in the metrics, never in the code: one provider's outage must not take all replicas away.
async fn readyz(health: web::Data<Health>) -> HttpResponse {
    let leaving = health.drain.leaving();
    let starting = health.authenticator.untried() > 0;
    let trail = if health.trail.healthy() { "ok" } else { "cannot be written: resets are refused" };
    let issuers = match (starting, health.authenticator.without_keys()) {
        (true, _) => "the keys of an issuer were not looked for yet",
        (false, 0) => "ok",
        (false, _) => "an issuer has no usable key: its callers get 503",
    };
    let inventory = match health.mirror.is_current() {
        true => "ok",
        false => "not refreshed in time: instances are looked up one by one",
    };
    let redis = health.redis.as_ref().map(|redis| ("redis", redis.health()));
    let checks = [
        ("configuration", "ok"),
        ("policies", "ok"),
        ("trail", trail),
        ("issuers", issuers),
        ("inventory", inventory),
        ("draining", if leaving { "stopping" } else { "ok" }),
    ];
    let checks = checks.into_iter().chain(redis);
    match (leaving, starting) {
        (true, _) => report(StatusCode::SERVICE_UNAVAILABLE, "draining", checks),
        (false, true) => report(StatusCode::SERVICE_UNAVAILABLE, "starting", checks),
        (false, false) => report(StatusCode::OK, "ready", checks),
    }
}

async fn no_route(request: HttpRequest) -> HttpResponse {
    let known = ["/metrics", "/livez", "/readyz"].contains(&request.path());
    let problem = match known {
        true => Problem::new(Kind::MethodNotAllowed, "Only GET is allowed here."),
        false => Problem::new(Kind::NotFound, "There is /metrics, /livez and /readyz."),
    };
    problem.render(&RequestId::generate())
}

fn report(
    code: StatusCode,
    status: &'static str,
    checks: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> HttpResponse {
    HttpResponse::build(code).json(Report { status, checks: checks.into_iter().collect() })
}
