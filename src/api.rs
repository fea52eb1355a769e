//! Every route, one list; requests in, problems out. Only this module and `app` know actix-web.

mod audit;
mod batch;
mod body;
mod client;
mod cors;
mod cursor;
mod edge;
mod history;
mod idempotency;
mod instances;
mod openapi;
pub mod ops;
mod outlook;
mod prefer;
mod principal;
mod problem;
mod query;
mod refusal;
mod reset;
mod shapes;
mod told;
mod view;
mod whoami;
mod wiped;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpRequest, web};
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::authn::Authenticator;
use crate::domain::{Alphabet, TicketPattern};
use crate::idempotency::FingerprintKeys;
use crate::metrics::Metrics;

pub use batch::Batches;
pub use cors::cross_origin;
pub use cursor::Cursors;
pub use edge::{RootSpan, edge};
pub use openapi::document;
pub use problem::{Kind, Problem};

/// Longest wait for a page's turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// A route that callers can reach. `{…}` stands for one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    pub method: &'static str,
    pub pattern: &'static str,
    /// What its query may hold besides `team`.
    pub parameters: &'static [&'static str],
}

/// All of them; what is not in this list is 404.
pub const ROUTES: &[Route] = &[
    route("POST", "/v1/instances/{instanceId}/password-resets", &["dryRun"]),
    route("POST", "/v1/password-resets", &["dryRun"]),
    route("GET", "/v1/instances", instances::PARAMETERS),
    route("GET", "/v1/instances/{instanceId}", &[]),
    route("GET", "/v1/password-resets", history::PARAMETERS),
    route("GET", "/v1/password-resets/{id}", &[]),
    route("GET", "/v1/audit", audit::PARAMETERS),
    route("GET", "/v1/whoami", &[]),
    route("GET", "/openapi.json", &[]),
    route("GET", "/docs", &[]),
    route("GET", "/docs/{file}", &[]),
];

const fn route(method: &'static str, pattern: &'static str, parameters: &'static [&'static str]) -> Route {
    Route { method, pattern, parameters }
}

/// What every worker shares besides its gateway.
#[derive(Clone)]
pub struct Shared {
    pub authenticator: Arc<Authenticator>,
    pub metrics: Arc<Metrics>,
    pub trusted_proxies: Arc<[IpNet]>,
    /// Longest wait for all of a body.
    pub body_wait: Duration,
    pub drain: Drain,
    pub cursors: Arc<Cursors>,
    /// What generated passwords are made of.
    pub alphabet: Arc<Alphabet>,
    /// What every ticket must look like.
    pub ticket_pattern: Option<Arc<TicketPattern>>,
    pub batches: Batches,
    /// What tells a request from another by the same idempotency key.
    pub fingerprints: Arc<FingerprintKeys>,
    /// Pages that are made at the same time.
    pub pages: Arc<Semaphore>,
}

impl Shared {
    /// Waits for the turn to make a page.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = |_| Problem::unavailable("Too many lists are made at the same time. Try again.");
        let turn = tokio::time::timeout(PATIENCE, self.pages.clone().acquire_owned()).await.map_err(busy)?;
        Ok(turn.expect("it is never closed"))
    }
}

/// How far a stop has come, and the resets in flight: they outlive their connections, and a stop waits for them.
#[derive(Clone, Default)]
pub struct Drain {
    pub tracker: TaskTracker,
    leaving: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

impl Drain {
    /// Not ready from now on, so that balancers send their callers elsewhere; who comes is served.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    /// No new reset from now on.
    pub fn begin(&self) {
        self.leave();
        self.draining.store(true, Ordering::SeqCst);
        self.tracker.close();
    }

    /// Whether a stop has begun.
    pub fn leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Whether new resets are refused.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

/// Mounts [`ROUTES`].
pub fn configure(service: &mut web::ServiceConfig) {
    service
        .service(reset::create)
        .service(batch::create)
        .service(instances::list)
        .service(instances::read)
        .service(history::list)
        .service(reset::read)
        .service(audit::list)
        .service(whoami::whoami)
        .service(openapi::specification)
        .service(openapi::docs)
        .service(openapi::docs_file)
        .default_service(web::to(no_route));
}

/// A method guard that does not match ends here too: a known path is 405, any other 404.
async fn no_route(request: HttpRequest) -> Result<&'static str, Problem> {
    let methods: Vec<_> =
        ROUTES.iter().filter(|route| matches(route.pattern, request.path())).map(|r| r.method).collect();
    if methods.is_empty() {
        return Err(Problem::new(Kind::NotFound, "There is no such route; /openapi.json lists them."));
    }
    let allow = methods.join(", ");
    let detail = format!("{} is not allowed here; allowed: {allow}.", shown(request.method()));
    let allow = HeaderValue::try_from(allow).expect("methods are visible ASCII");
    Err(Problem { header: Some((ALLOW, allow)), ..Problem::new(Kind::MethodNotAllowed, detail) })
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(want), Some(have)) if want == have || (want.starts_with('{') && !have.is_empty()) => {}
            _ => return false,
        }
    }
}

/// A caller may invent a method; only the usual ones are repeated.
pub(crate) fn shown(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
