//! The composition root: [`Config`] -> [`App`] -> run until stopped.

mod bounded;
mod callers;
mod certificate;
mod reload;
mod watch;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App as ActixApp, HttpServer, web};
use tokio::sync::{Semaphore, oneshot};

use crate::api::ops::{self, Health};
use crate::api::{Batches, Cursors, Drain, Shared};
use crate::audit::{OpenError, Trail};
use crate::authn::{Authenticator, IssuerFault};
use crate::authz::{Policies, PolicyFaults, PolicyRevision};
use crate::config::{self, Config, Upstream};
use crate::domain::Alphabet;
use crate::http::{Client, Endpoint, TlsFault};
use crate::idempotency::{FingerprintKeys, InFlight, KeyFault};
use crate::inventory::Mirror;
use crate::metrics::Metrics;
use crate::ratelimit::Limiter;
use crate::redis::{self, Link};
use crate::telemetry::{self, LogError};

use certificate::Certificate;
pub use certificate::PairFault;
pub use reload::Reloader;

/// Pause between two sweeps of the limiters.
const SWEEP: Duration = Duration::from_secs(30);

/// Late answers that are listened for at a time.
const MOST_LATE: usize = 1024;

/// A gateway whose sockets are bound and whose parts are loaded.
pub struct App {
    address: SocketAddr,
    operations_address: SocketAddr,
    servers: [Server; 2],
    /// Begins the stop when dropped.
    stopper: oneshot::Sender<()>,
    parts: Parts,
    reloader: Reloader,
}

/// What all workers share.
#[derive(Clone)]
struct Parts {
    metrics: Arc<Metrics>,
    policies: Arc<Policies>,
    limiter: Arc<Limiter>,
    trail: Arc<Trail>,
    endpoint: Arc<Endpoint>,
    upstream: Arc<Upstream>,
    mirror: Arc<Mirror>,
    late: Arc<Semaphore>,
    in_flight: Arc<InFlight>,
    cors: Arc<config::Cors>,
    shared: Shared,
}

/// What is wrong with a configuration that could be read: the folders and files it names.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{0}")]
    Issuer(IssuerFault),
    #[error("{0}")]
    Policies(PolicyFaults),
    #[error("upstream: {0}")]
    Tls(TlsFault),
    #[error("{0}")]
    Certificate(PairFault),
    #[error("{0}")]
    Log(LogError),
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Unusable(Vec<Unusable>),
    #[error(transparent)]
    Trail(#[from] OpenError),
    #[error(transparent)]
    Redis(#[from] redis::StartFault),
    #[error(transparent)]
    IdempotencyKey(#[from] KeyFault),
    #[error("{key}: cannot listen on {address}: {source}")]
    Listen { key: &'static str, address: SocketAddr, source: std::io::Error },
    #[error("the servers cannot be started: {0}")]
    Server(std::io::Error),
}

/// Runs a future to its end on a runtime that an [`App`] can be started in.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

/// What a configuration names, loaded.
pub struct Loaded {
    pub authenticator: Authenticator,
    pub revision: PolicyRevision,
    pub endpoint: Endpoint,
    certificate: Option<Arc<Certificate>>,
    pub metrics: Arc<Metrics>,
}

/// Loads everything that `config` names, or says all that is unusable. `zengate check` ends here.
pub fn load(config: &Config) -> Result<Loaded, Vec<Unusable>> {
    let mut faults = Vec::new();
    let metrics = Arc::new(Metrics::new());
    let authenticator = Authenticator::new(config.issuers.clone(), &config.tokens, metrics.clone())
        .map_err(|issuers| faults.extend(issuers.into_iter().map(Unusable::Issuer)));
    let revision = PolicyRevision::load(&config.policies.dir).map_err(|e| faults.push(Unusable::Policies(e)));
    let endpoint =
        Endpoint::new(&config.upstream, metrics.clone()).map_err(|e| faults.push(Unusable::Tls(e)));
    let certificate = Certificate::load(config.server.tls.as_ref(), &metrics)
        .map_err(|pair| faults.extend(pair.into_iter().map(Unusable::Certificate)));
    let filter = telemetry::filter(&config.telemetry).map_err(|e| faults.push(Unusable::Log(e)));
    match (authenticator, revision, endpoint, certificate, filter) {
        (Ok(authenticator), Ok(revision), Ok(endpoint), Ok(certificate), Ok(_)) => {
            Ok(Loaded { authenticator, revision, endpoint, certificate, metrics })
        }
        _ => Err(faults),
    }
}

impl App {
    /// Loads, takes the trail's lock, binds. Must be called inside an actix runtime.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let Loaded { authenticator, revision, endpoint, certificate, metrics } =
            load(&config).map_err(StartError::Unusable)?;
        let redis = config.limits.redis.as_ref();
        let redis = redis.map(|settings| Link::start(settings, metrics.clone()).map(Arc::new)).transpose()?;
        let limiter = Arc::new(Limiter::new(&revision, &config.limits, redis.clone(), metrics.clone()));
        let endpoint = match &redis {
            Some(redis) => endpoint.sharing(&config.upstream, redis.clone()),
            None => endpoint,
        };
        tracing::info!(policy.revision = %revision.id(), teams = revision.team_count(), "the policies are loaded");
        let callers = bind("server.listen", config.server.listen)?;
        let operations = bind("operations.listen", config.operations.listen)?;
        let trail = Trail::start(&config.audit, metrics.clone())?.with_key_life(config.idempotency.life);
        let trail = Arc::new(trail);
        // Whoever has the trail makes the key beside it.
        let fingerprints = FingerprintKeys::load(&config.idempotency).inspect_err(|_| trail.stop())?;
        let drain = Drain::default();
        let upstream = Arc::new(config.upstream);
        let mirror = Arc::new(Mirror::new(&config.inventory, metrics.clone()));
        let authenticator = Arc::new(authenticator);
        let parts = Parts {
            policies: Arc::new(Policies::new(revision, config.policies.time_zone, metrics.clone())),
            limiter,
            trail: trail.clone(),
            endpoint: Arc::new(endpoint),
            mirror: mirror.clone(),
            late: Arc::new(Semaphore::new(MOST_LATE)),
            in_flight: Arc::new(InFlight::new(config.idempotency.max_in_flight)),
            upstream: upstream.clone(),
            cors: Arc::new(config.cors),
            shared: Shared {
                authenticator: authenticator.clone(),
                metrics: metrics.clone(),
                trusted_proxies: config.server.trusted_proxies.as_slice().into(),
                body_wait: config.server.waits.body,
                drain: drain.clone(),
                cursors: Arc::new(Cursors::new(upstream.access_key.secret.expose())),
                ticket_pattern: config.tickets.pattern.map(Arc::new),
                batches: Batches::new(config.batch, upstream.timeout),
                alphabet: Arc::new(Alphabet::new(config.generated.exclude_look_alikes)),
                fingerprints: Arc::new(fingerprints),
                pages: Arc::new(Semaphore::new(config.server.workers)),
            },
            metrics: metrics.clone(),
        };
        let (stopper, stop) = oneshot::channel();
        let address = callers.local_addr().map_err(StartError::Server)?;
        let operations_address = operations.local_addr().map_err(StartError::Server)?;
        let tls = certificate.clone().map(Certificate::server_config);
        let drained = drained(stop, drain.clone(), config.server.drain, config.server.shutdown);
        let servers = [
            callers::server(callers, &config.server, tls, &parts, drained)?,
            operations_server(operations, Health { metrics, drain, trail, authenticator, mirror, redis })?,
        ];
        let reloader = Reloader::new(config.policies.dir, config.policies.shadow_dir, certificate, &parts);
        reloader.note_start();
        Ok(Self { address, operations_address, servers, stopper, parts, reloader })
    }

    /// Where callers reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Prometheus and Kubernetes reach it.
    pub fn operations_address(&self) -> SocketAddr {
        self.operations_address
    }

    /// What reloads the policies, from anywhere.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until `stop` ends; then drains, finishes the resets in flight and closes the trail.
    pub async fn run(self, stop: impl Future<Output = ()>) -> std::io::Result<()> {
        let Self { servers: [callers, operations], stopper, parts, reloader, .. } = self;
        let sweeper =
            actix_web::rt::spawn(sweep(parts.limiter.clone(), parts.mirror.clone(), parts.trail.clone()));
        let watcher = actix_web::rt::spawn(async move { reloader.watch().await });
        let authenticator = parts.shared.authenticator.clone();
        let keeper = actix_web::rt::spawn(async move { authenticator.keep_keys().await });
        let (mirror, client) = (parts.mirror.clone(), Client::new(parts.endpoint.clone()));
        let refresher = actix_web::rt::spawn(async move { mirror.keep(&client).await });
        let operations_handle = operations.handle();
        let operations = actix_web::rt::spawn(operations);
        let mut callers = actix_web::rt::spawn(callers);
        let served = tokio::select! {
            () = stop => {
                drop(stopper);
                callers.await
            }
            served = &mut callers => served,
        };
        sweeper.abort();
        watcher.abort();
        keeper.abort();
        refresher.abort();
        operations_handle.stop(false).await;
        // Its own server has ended already; only the trail's end remains to be waited for.
        _ = operations.await;
        let trail = parts.trail.clone();
        _ = tokio::task::spawn_blocking(move || trail.stop()).await;
        tracing::info!("stopped");
        served.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)))
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { key, address, source })
}

fn operations_server(listener: TcpListener, health: Health) -> Result<Server, StartError> {
    let server = HttpServer::new(move || {
        ActixApp::new().app_data(web::Data::new(health.clone())).configure(ops::configure)
    });
    let server = server.workers(1).disable_signals();
    Ok(server.listen(listener).map_err(StartError::Server)?.run())
}

/// actix begins its own stop when this ends: after the resets in flight, since it counts a worker without
/// connections as idle and would drop their tasks. Before that a balancer has had `pause` to look elsewhere.
async fn drained(stop: oneshot::Receiver<()>, drain: Drain, pause: Duration, bound: Duration) {
    // Both mean the same: used, or dropped.
    _ = stop.await;
    drain.leave();
    if !pause.is_zero() {
        tracing::info!(seconds = pause.as_secs(), "not ready any more: who comes is served before the stop");
        tokio::time::sleep(pause).await;
    }
    tracing::info!(seconds = bound.as_secs(), "stopping: no new resets, those in flight are finished");
    drain.begin();
    if tokio::time::timeout(bound, drain.tracker.wait()).await.is_err() {
        tracing::error!(
            resets = drain.tracker.len(),
            "resets are still in flight after server.shutdown_seconds: they are recorded as unknown"
        );
    }
}

async fn sweep(limiter: Arc<Limiter>, mirror: Arc<Mirror>, trail: Arc<Trail>) {
    loop {
        actix_web::rt::time::sleep(SWEEP).await;
        trail.expire_keys();
        let (limiter, mirror) = (limiter.clone(), mirror.clone());
        let sweep = move || {
            limiter.sweep();
            mirror.sweep();
        };
        _ = tokio::task::spawn_blocking(sweep).await;
    }
}
