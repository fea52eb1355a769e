//! A way to some server that can be closed and opened again, held up, made long, and cut where a PostgreSQL commits.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub struct Proxy {
    pub address: SocketAddr,
    to: SocketAddr,
    way: Arc<Way>,
    open: Option<Open>,
}

/// What befalls the bytes on it.
#[derive(Default)]
struct Way {
    /// Nothing passes, and no connection ends.
    held: Mutex<bool>,
    released: Condvar,
    delay: Mutex<Duration>,
    /// So many commits more, cut off where.
    cuts: Mutex<Option<(u32, Cut)>>,
}

/// Where a connection ends.
#[derive(Clone, Copy, PartialEq)]
pub enum Cut {
    /// With all sent but the word to commit.
    BeforeCommit,
    /// With its answer lost.
    AfterCommit,
}

struct Open {
    ended: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    thread: JoinHandle<()>,
}

impl Proxy {
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let way = Arc::new(Way::default());
        let open = Some(Open::serve(listener, to, way.clone()));
        Self { address, to, way, open }
    }

    /// Refuses connections, and ends those that there are.
    pub fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.ended.store(true, Ordering::SeqCst);
            // It ends at the next look; the port is free from then on.
            open.thread.join().expect("no panic");
            for stream in open.streams.lock().expect("no panic").drain(..) {
                _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    pub fn reopen(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the port is still free");
        self.open = Some(Open::serve(listener, self.to, self.way.clone()));
    }

    /// From now on connections are accepted and nothing passes, as through a network that loses every packet.
    pub fn hold(&self) {
        *self.way.held.lock().expect("no panic") = true;
    }

    /// What was held passes.
    pub fn release(&self) {
        *self.way.held.lock().expect("no panic") = false;
        self.way.released.notify_all();
    }

    /// From now on whatever is read off either side passes so much later.
    pub fn delay(&self, delay: Duration) {
        *self.way.delay.lock().expect("no panic") = delay;
    }

    /// The connections of the next commits are cut, so many of them.
    pub fn cut(&self, commits: u32, cut: Cut) {
        *self.way.cuts.lock().expect("no panic") = Some((commits, cut)).filter(|_| commits > 0);
    }

    /// All that were to be cut have been.
    pub fn has_cut(&self) -> bool {
        self.way.cuts.lock().expect("no panic").is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
        self.release();
    }
}

impl Open {
    fn serve(listener: TcpListener, to: SocketAddr, way: Arc<Way>) -> Self {
        let (ended, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stop, kept) = (ended.clone(), streams.clone());
        listener.set_nonblocking(true).expect("set");
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                match listener.accept() {
                    // The server may be away: then the connection ends at once.
                    Ok((from, _)) => _ = pass_on(from, to, &kept, &way),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self { ended, streams, thread }
    }
}

/// Both ways, each on a thread that ends with its connection.
fn pass_on(from: TcpStream, to: SocketAddr, kept: &Mutex<Vec<TcpStream>>, way: &Arc<Way>) -> io::Result<()> {
    from.set_nonblocking(false)?;
    let there = TcpStream::connect(to)?;
    for stream in [&from, &there] {
        stream.set_nodelay(true)?;
    }
    kept.lock().expect("no panic").extend([from.try_clone()?, there.try_clone()?]);
    let lost = Arc::new(AtomicBool::new(false));
    for (asks, mut read, mut write) in [(true, from.try_clone()?, there.try_clone()?), (false, there, from)] {
        let (way, lost) = (way.clone(), lost.clone());
        std::thread::spawn(move || {
            _ = way.copy(asks, &mut read, &mut write, &lost);
            _ = write.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

impl Way {
    /// `lost` says that the other side is told nothing more.
    fn copy(
        &self,
        asks: bool,
        read: &mut TcpStream,
        write: &mut TcpStream,
        lost: &AtomicBool,
    ) -> io::Result<()> {
        let mut bytes = [0; 64 << 10];
        loop {
            let count = read.read(&mut bytes)?;
            // Also an end waits.
            let held = self.held.lock().expect("no panic");
            drop(self.released.wait_while(held, |held| *held).expect("no panic"));
            let delay = *self.delay.lock().expect("no panic");
            std::thread::sleep(delay);
            let mut pass = &bytes[..count];
            if asks
                && let Some(at) = commit(pass)
                && let Some(cut) = self.next_cut()
            {
                lost.store(true, Ordering::SeqCst);
                pass = if cut == Cut::BeforeCommit { &pass[..at] } else { pass };
            } else if !asks && lost.load(Ordering::SeqCst) {
                return Ok(());
            }
            write.write_all(pass)?;
            if pass.len() < count || count == 0 {
                return Ok(());
            }
        }
    }

    fn next_cut(&self) -> Option<Cut> {
        let mut cuts = self.cuts.lock().expect("no panic");
        let (left, cut) = (*cuts)?;
        *cuts = Some((left - 1, cut)).filter(|(left, _)| *left > 0);
        Some(cut)
    }
}

/// Where the message begins that commits: `Q`, its length, its text (PostgreSQL's protocol, Query).
fn commit(bytes: &[u8]) -> Option<usize> {
    bytes.windows(12).position(|part| part == b"Q\0\0\0\x0bCOMMIT\0")
}
