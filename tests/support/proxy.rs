//! A way to some server that can be closed and opened again, held up, and made long.

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
    for (mut read, mut write) in [(from.try_clone()?, there.try_clone()?), (there, from)] {
        let way = way.clone();
        std::thread::spawn(move || {
            _ = way.copy(&mut read, &mut write);
            _ = write.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

impl Way {
    fn copy(&self, read: &mut TcpStream, write: &mut TcpStream) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        loop {
            let count = read.read(&mut bytes)?;
            // Also an end waits.
            let held = self.held.lock().expect("no panic");
            drop(self.released.wait_while(held, |held| *held).expect("no panic"));
            let delay = *self.delay.lock().expect("no panic");
            std::thread::sleep(delay);
            if count == 0 {
                return Ok(());
            }
            write.write_all(&bytes[..count])?;
        }
    }
}
