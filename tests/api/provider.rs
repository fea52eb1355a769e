//! An identity provider under the test's control: what it answers, and that it is asked.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

/// What a path answers.
#[derive(Clone)]
pub enum Reply {
    Json(Value),
    /// A status, further header lines, a body.
    Other(u16, &'static str, String),
    /// A head that promises a body which comes a byte a second.
    Drip,
    /// A body without an end.
    Endless,
    /// Nothing, on an open connection.
    Hang,
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    asked: Vec<String>,
    stopped: bool,
}

pub struct Provider {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Provider {
    pub fn start() -> Self {
        Self::on("127.0.0.1:0".parse().expect("an address"), HashMap::new())
    }

    fn on(address: SocketAddr, replies: HashMap<String, Reply>) -> Self {
        let listener = TcpListener::bind(address).expect("bound");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { replies, ..State::default() }));
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().expect("no panic").stopped {
                    return;
                }
                let state = shared.clone();
                std::thread::spawn(move || _ = answer(stream.expect("a connection"), &state));
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn set(&self, path: &str, reply: Reply) {
        self.state.lock().expect("no panic").replies.insert(path.to_owned(), reply);
    }

    /// Metadata at its usual place and a key set, as a provider has them.
    pub fn publish(&self, keys: &Value) {
        let metadata = json!({ "issuer": self.url(""), "jwks_uri": self.url("/jwks") });
        self.set("/.well-known/openid-configuration", Reply::Json(metadata));
        self.set("/jwks", Reply::Json(keys.clone()));
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().expect("no panic").asked.iter().filter(|asked| *asked == path).count()
    }

    /// Refuses connections until [`Self::again`].
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.state.lock().expect("no panic").stopped = true;
        // Accepting ends with one more connection.
        _ = TcpStream::connect(self.address);
        thread.join().expect("no panic");
    }

    pub fn again(mut self) -> Self {
        self.stop();
        let replies = std::mem::take(&mut self.state.lock().expect("no panic").replies);
        Self::on(self.address, replies)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let reply = {
        let mut state = state.lock().expect("no panic");
        state.asked.push(path.clone());
        state.replies.get(&path).cloned()
    };
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    match reply {
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        Some(Reply::Json(body)) => {
            let body = body.to_string();
            stream.write_all(format!("{ok}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
        }
        Some(Reply::Other(status, headers, body)) => {
            let head = format!("HTTP/1.1 {status} -\r\nconnection: close\r\n{headers}");
            stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
        }
        Some(Reply::Drip) => {
            stream.write_all(format!("{ok}content-length: 1000\r\n\r\n").as_bytes())?;
            for _ in 0..10 {
                stream.write_all(b" ")?;
                std::thread::sleep(Duration::from_secs(1));
            }
            Ok(())
        }
        Some(Reply::Endless) => {
            stream.write_all(format!("{ok}transfer-encoding: chunked\r\n\r\n").as_bytes())?;
            let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
            (0..1000).try_for_each(|_| stream.write_all(chunk.as_bytes()))
        }
        Some(Reply::Hang) => {
            std::thread::sleep(Duration::from_secs(10));
            Ok(())
        }
    }
}
