//! What can go wrong between a gateway and its PostgreSQL, on purpose.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

pub(super) struct Proxy {
    pub(super) port: u16,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// Nothing passes, and nothing is refused.
    held: AtomicBool,
    /// Commits whose answer is lost with the connection.
    lost_answers: AtomicU32,
}

impl Proxy {
    pub(super) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let faults = Arc::<Faults>::default();
        let shared = faults.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                pass_on(client, server, &shared);
            }
        });
        Self { port, faults }
    }

    pub(super) fn hold(&self, held: bool) {
        self.faults.held.store(held, Ordering::SeqCst);
    }

    pub(super) fn lose_answers(&self, commits: u32) {
        self.faults.lost_answers.store(commits, Ordering::SeqCst);
    }
}

fn pass_on(client: TcpStream, server: TcpStream, faults: &Arc<Faults>) {
    let cut = Arc::new(AtomicBool::new(false));
    let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
    let (mut from_client, mut to_server) = (clone(&client), clone(&server));
    let (mut from_server, mut to_client) = (server, client);
    let (asks, answers) = (faults.clone(), faults.clone());
    let cuts = cut.clone();
    thread::spawn(move || {
        let mut bytes = [0; 1 << 16];
        while let Ok(count @ 1..) = from_client.read(&mut bytes) {
            wait_while_held(&asks);
            if bytes[..count].windows(7).any(|part| part == b"COMMIT\0") {
                let one_less = |lost: u32| lost.checked_sub(1);
                let lost = asks.lost_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
                cuts.store(lost.is_ok(), Ordering::SeqCst);
            }
            if to_server.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        _ = to_server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let mut bytes = [0; 1 << 16];
        while let Ok(count @ 1..) = from_server.read(&mut bytes) {
            wait_while_held(&answers);
            if cut.load(Ordering::SeqCst) || to_client.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        _ = to_client.shutdown(Shutdown::Both);
    });
}

fn wait_while_held(faults: &Faults) {
    while faults.held.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(5));
    }
}
