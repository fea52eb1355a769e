//! A way to Zenlayer that can be closed and opened again.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub struct Proxy {
    pub address: SocketAddr,
    to: SocketAddr,
    open: Option<Open>,
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
        Self { address, to, open: Some(Open::serve(listener, to)) }
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
        self.open = Some(Open::serve(listener, self.to));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
    }
}

impl Open {
    fn serve(listener: TcpListener, to: SocketAddr) -> Self {
        let (ended, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stop, kept) = (ended.clone(), streams.clone());
        listener.set_nonblocking(true).expect("set");
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((from, _)) => pass_on(from, to, &kept).expect("Zenlayer is there"),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self { ended, streams, thread }
    }
}

/// Both ways, each on a thread that ends with its connection.
fn pass_on(from: TcpStream, to: SocketAddr, kept: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    from.set_nonblocking(false)?;
    let there = TcpStream::connect(to)?;
    kept.lock().expect("no panic").extend([from.try_clone()?, there.try_clone()?]);
    for (mut read, mut write) in [(from.try_clone()?, there.try_clone()?), (there, from)] {
        std::thread::spawn(move || {
            _ = io::copy(&mut read, &mut write);
            _ = write.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
