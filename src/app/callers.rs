//! The callers' listener: HTTP/1.1 over TCP, or over TLS.
//!
//! Not by actix-web's `HttpServer`: with actix-http's feature `http2`, which awc turns on, that offers `h2` in every
//! TLS handshake, and what bounds a caller's head and body here was made for HTTP/1.1.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::h1::H1Service;
use actix_http::{HttpService, Request};
use actix_server::{GracefulShutdownSignal, Server, ServerBuilder};
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::TlsError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error, web};
use rustls::ServerConfig;
use tracing_actix_web::TracingLogger;

use super::bounded::{Bounded, Bounds, our_turn};
use super::{Parts, StartError};
use crate::api::{self, RootSpan};
use crate::config::{self, Waits};
use crate::http::Client;
use crate::inventory::Inventory;
use crate::reset::Gateway;
use crate::zenlayer::Zenlayer;

/// Longest time for a TLS handshake; past it the connection is closed.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Most TLS handshakes that one worker has under way; further connections wait for one to end. Those who connect and
/// say nothing take a place for [`HANDSHAKE`], so there are many.
const MOST_HANDSHAKES: usize = 1024;

/// Longest wait for a caller to take the end of a connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves callers until `drained` ends, over TLS alone where there is a configuration of it.
pub(super) fn server(
    listener: TcpListener,
    settings: &config::Server,
    tls: Option<ServerConfig>,
    parts: &Parts,
    drained: impl Future<Output = ()> + Send + 'static,
) -> Result<Server, StartError> {
    let parts = parts.clone();
    let server = Server::build().workers(settings.workers).shutdown_signal(drained).shutdown_timeout(5);
    // Each worker counts its own.
    let server = server.max_concurrent_connections(settings.max_connections.div_ceil(settings.workers));
    let waits = settings.waits;
    let server = listen(server, listener, tls, waits, move || app(parts.clone()));
    Ok(server.map_err(StartError::Server)?.run())
}

/// What one worker answers callers with.
fn app(
    parts: Parts,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse<impl MessageBody>,
    Error = Error,
    InitError = (),
    Service: Service<Request, Future: 'static>,
    Future: 'static,
> {
    let Parts {
        metrics,
        policies,
        limiter,
        trail,
        endpoint,
        upstream,
        mirror,
        late,
        in_flight,
        cors,
        shared,
    } = parts;
    // awc's client cannot leave its thread: each worker has its own connections to Zenlayer.
    let client = Client::new(endpoint);
    let gateway = Gateway {
        inventory: Inventory::new(client.clone(), mirror),
        policies,
        limiter,
        trail,
        zenlayer: Zenlayer::new(client, &upstream, metrics.clone()),
        late,
        in_flight,
        metrics,
    };
    let app = App::new()
        .app_data(web::Data::new(gateway))
        .app_data(web::Data::new(shared))
        .wrap(api::cross_origin(&cors))
        .wrap(TracingLogger::<RootSpan>::new())
        .wrap(from_fn(api::edge))
        .wrap(from_fn(our_turn))
        .configure(api::configure);
    map_config(app, |()| AppConfig::default())
}

fn listen<S, B>(
    server: ServerBuilder,
    listener: TcpListener,
    tls: Option<ServerConfig>,
    waits: Waits,
    app: impl Fn() -> S + Send + Clone + 'static,
) -> io::Result<ServerBuilder>
where
    S: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = Error> + 'static,
    S: ServiceFactory<Request, InitError: Debug, Future: 'static, Service: Service<Request, Future: 'static>>,
    B: MessageBody + 'static,
{
    let stopping = server.graceful_shutdown_signal();
    let bounds = Bounds { next: waits.idle + waits.head, take: waits.send };
    let Some(tls) = tls else {
        return server.listen("callers", listener, move || {
            let bounded = move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                ready(Ok((Bounded::new(stream, bounds), peer)))
            };
            fn_service(bounded).and_then(http1(app(), waits, stopping.clone()))
        });
    };
    actix_tls::accept::max_concurrent_tls_connect(MOST_HANDSHAKES);
    server.listen("callers", listener, move || {
        let http1 = http1(app(), waits, stopping.clone()).map_err(TlsError::Service);
        handshakes(tls.clone(), bounds).and_then(http1)
    })
}

/// A TCP connection becomes a TLS stream and its peer's address.
fn handshakes<E>(
    tls: ServerConfig,
    bounds: Bounds,
) -> impl ServiceFactory<
    TcpStream,
    Config = (),
    Response = (Bounded<TlsStream<TcpStream>>, Option<SocketAddr>),
    Error = TlsError<io::Error, E>,
    InitError = (),
> {
    let mut acceptor = Acceptor::new(tls);
    acceptor.set_handshake_timeout(HANDSHAKE);
    acceptor.map_err(told).map(move |stream: TlsStream<TcpStream>| {
        let peer = stream.get_ref().0.peer_addr().ok();
        (Bounded::new(stream, bounds), peer)
    })
}

/// Nobody else tells of it. Port scans fail too, so it is for who looks into a caller's trouble.
fn told<E>(fault: TlsError<io::Error, Infallible>) -> TlsError<io::Error, E> {
    match &fault {
        TlsError::Tls(e) => tracing::debug!("a TLS handshake failed: {e}"),
        TlsError::Timeout => tracing::debug!("a TLS handshake took too long"),
        TlsError::Service(never) => match *never {},
    }
    fault.into_service_error()
}

/// What speaks HTTP/1.1 over a stream of the kind `T`.
fn http1<T, S, B>(app: S, waits: Waits, stopping: GracefulShutdownSignal) -> H1Service<Bounded<T>, S, B>
where
    T: 'static,
    S: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = Error>,
    S: ServiceFactory<Request, InitError: Debug, Service: Service<Request, Future: 'static>>,
    B: MessageBody + 'static,
{
    HttpService::build()
        .keep_alive(waits.idle)
        .client_request_timeout(waits.head)
        .on_connect_ext(|stream: &Bounded<T>, data| _ = data.insert(stream.turn()))
        .client_disconnect_timeout(FAREWELL)
        // Idle connections are closed at a stop, in place of being waited for.
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .h1(app)
}
