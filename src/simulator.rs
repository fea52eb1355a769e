//! A faithful Zenlayer, for the demo and the tests (cargo feature `simulator`).
//!
//! It imports nothing of the gateway: signatures are verified from the raw bytes by code of its own, so that
//! signer and verifier can only agree by both being right. The server is its own too, on a bare TCP socket,
//! since a faithful failure (no answer, half an answer) is not something an HTTP framework will produce.

mod actions;
mod control;
mod faults;
mod http;
mod instances;
mod signature;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub use instances::{Instance, ParseError, parse as parse_instances};

use control::Journal;
use faults::Faults;
use http::{Connection, Request, Response};
use instances::Instances;
use signature::AccessKey;

/// What a simulator is started with.
pub struct Settings {
    pub listen: SocketAddr,
    pub instances: Vec<Instance>,
    pub access_key_id: String,
    pub access_key_password: String,
    /// How long an instance is busy after a reset.
    pub busy: Duration,
}

/// A running simulator, on a thread of its own. Dropped, it stops.
pub struct Simulator {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Everything that a simulated Zenlayer knows.
struct World {
    key: AccessKey,
    instances: Mutex<Instances>,
    faults: Mutex<Faults>,
    journal: Mutex<Journal>,
    busy: Duration,
}

impl Simulator {
    /// Binds and serves.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(settings.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let world = Arc::new(World {
            key: AccessKey::new(settings.access_key_id, settings.access_key_password.as_bytes()),
            instances: Mutex::new(Instances::new(settings.instances)),
            faults: Mutex::default(),
            journal: Mutex::default(),
            busy: settings.busy,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, world) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to stop.
            _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, world: Arc<World>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = tokio::spawn(serve(stream, world.clone())),
            // Out of file descriptors, say: others may close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(stream: TcpStream, world: Arc<World>) {
    // Whatever the caller does to its connection ends this connection alone.
    _ = stream.set_nodelay(true);
    let mut connection = Connection::new(stream);
    while let Ok(Some(request)) = connection.read().await {
        let Some(response) = respond(&world, &request).await else { return };
        if connection.write(&response).await.is_err() {
            return;
        }
    }
}

/// None: the connection ends without an answer.
async fn respond(world: &World, request: &Request) -> Option<Response> {
    match request.path.split('?').next().unwrap_or_default() {
        path if path.starts_with("/_simulator/") => Some(control::respond(world, request, path)),
        _ => actions::respond(world, request).await,
    }
}

impl World {
    fn instances(&self) -> MutexGuard<'_, Instances> {
        self.instances.lock().expect("nothing panics while it holds the lock")
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("nothing panics while it holds the lock")
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests;
