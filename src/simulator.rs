//! A faithful Zenlayer: verifies signatures, holds instances, takes resets, can be told to fail.
//!
//! Written from the vendor's documentation and sharing no code with the gateway, so that the two check each
//! other. Plain HTTP/1.1 over a bare socket, because faults need control of every byte. Beside the API it
//! answers unsigned control calls under `/_simulator/`; `docs/simulator.md` has those, and all that can go wrong.

mod calls;
mod cloud;
mod control;
mod describe;
mod envelope;
mod faults;
mod http;
mod instances;
mod message;
mod parameters;
mod refusal;
mod reset;
mod response;
mod server;
mod signature;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use zeroize::Zeroizing;

pub use faults::{BadFaults, Faults, REFERENCE as FAULTS};
pub use instances::{BadInstances, Instance, parse_instances};

use cloud::Cloud;

/// What a simulator starts with. Holds the account's key, so it has no `Debug`.
pub struct Settings {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub instances: Vec<Instance>,
    pub access_key_id: String,
    pub access_key_password: Zeroizing<String>,
    /// How long an instance answers busy after a reset.
    pub busy: Duration,
}

/// A running simulator on a thread of its own. Dropping it stops it.
pub struct Simulator {
    addr: SocketAddr,
    /// Dropped to stop.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Listens before it returns. Fails if the address cannot be had.
    pub fn start(settings: Settings) -> io::Result<Self> {
        Self::start_with(settings, Faults::default())
    }

    /// With faults in force from the first call on.
    pub fn start_with(settings: Settings, faults: Faults) -> io::Result<Self> {
        let (running, stopped) = oneshot::channel();
        let (started, listening) = mpsc::channel();
        // The runtime lives and dies on the thread: a caller's own runtime would not let one be dropped.
        let thread = thread::Builder::new().name("simulator".into()).spawn(move || {
            let listen = settings.listen;
            if let Err(error) = run(listen, Cloud::new(settings, faults), &started, stopped) {
                // Whoever waits for it is told; past that point there are no errors.
                let _ = started.send(Err(error));
            }
        })?;
        let addr = listening.recv().map_err(|_| io::Error::other("the simulator's thread ended"))??;
        Ok(Self { addr, running: Some(running), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes every connection and waits for the thread.
    pub fn stop(self) {}
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.running.take();
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already.
            let _ = thread.join();
        }
    }
}

fn run(
    listen: SocketAddr,
    cloud: Cloud,
    started: &mpsc::Sender<io::Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = server::listen(listen)?;
        // A caller that does not wait dropped the sender of `stopped` too.
        let _ = started.send(listener.local_addr());
        tokio::select! {
            () = server::accept(listener, Rc::new(RefCell::new(cloud))) => {}
            _ = stopped => {}
        }
        Ok(())
    })
}
