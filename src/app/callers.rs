//! The callers' listener: HTTP/1.1 over TCP.
//!
//! Not by actix-web's `HttpServer`: with actix-http's feature `http2`, which awc turns on, that offers `h2` in every
//! TLS handshake, and what bounds a caller's head and body here was made for HTTP/1.1.

use std::fmt::Debug;
use std::net::TcpListener;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::h1::H1Service;
use actix_http::{HttpService, Request};
use actix_server::{GracefulShutdownSignal, Server};
use actix_service::{Service, ServiceFactory, map_config};
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, web};
use tracing_actix_web::TracingLogger;

use super::{Parts, StartError};
use crate::api::{self, RootSpan};
use crate::http::Client;
use crate::inventory::Inventory;
use crate::reset::Gateway;
use crate::zenlayer::Zenlayer;

/// Longest wait for a caller to take the end of a connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves callers until `drained` ends.
pub(super) fn server(
    listener: TcpListener,
    workers: usize,
    parts: &Parts,
    drained: impl Future<Output = ()> + Send + 'static,
) -> Result<Server, StartError> {
    let parts = parts.clone();
    let server = Server::build().workers(workers).shutdown_signal(drained).shutdown_timeout(5);
    let stopping = server.graceful_shutdown_signal();
    let server =
        server.listen("callers", listener, move || http1(app(parts.clone()), stopping.clone()).tcp());
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
    let Parts { metrics, policies, limiter, trail, endpoint, upstream, mirror, late, shared } = parts;
    // awc's client cannot leave its thread: each worker has its own connections to Zenlayer.
    let client = Client::new(endpoint);
    let gateway = Gateway {
        inventory: Inventory::new(client.clone(), mirror),
        policies,
        limiter,
        trail,
        zenlayer: Zenlayer::new(client, &upstream, metrics),
        late,
    };
    let app = App::new()
        .app_data(web::Data::new(gateway))
        .app_data(web::Data::new(shared))
        .wrap(TracingLogger::<RootSpan>::new())
        .wrap(from_fn(api::edge))
        .configure(api::configure);
    map_config(app, |()| AppConfig::default())
}

/// What speaks HTTP/1.1 over a stream of the kind `T`.
fn http1<T, S, B>(app: S, stopping: GracefulShutdownSignal) -> H1Service<T, S, B>
where
    S: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = Error>,
    S: ServiceFactory<Request, InitError: Debug, Service: Service<Request, Future: 'static>>,
    B: MessageBody + 'static,
{
    HttpService::build()
        .client_disconnect_timeout(FAREWELL)
        // Idle connections are closed at a stop, in place of being waited for.
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .h1(app)
}
