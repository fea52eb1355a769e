//! Servers that end every connection in one way, and tell what they read.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// What is under HTTP.
#[derive(Clone)]
pub enum Over {
    Tcp,
    Tls(Arc<ServerConfig>),
}

/// What is done about one request. A connection ends after its last step.
#[derive(Clone)]
pub struct Step {
    pub read: Read,
    pub say: String,
    pub then: Then,
}

/// How much of a request is read.
#[derive(Clone, Copy)]
pub enum Read {
    /// What comes first.
    Some,
    Head,
    Whole,
    /// Until the client hangs up.
    All,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    /// The connection stays for the next step; after the last one it stays idle.
    Next,
    Close,
    Reset,
    /// Reads on and says no more.
    Hang,
    CloseWhenTold,
}

/// Serves for as long as the test process lives.
pub struct Peer {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    read: Mutex<Vec<u8>>,
    met: AtomicUsize,
    told: Notify,
    closed: AtomicUsize,
}

impl Peer {
    pub fn start(over: Over, steps: Vec<Step>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("set");
        let seen = Arc::new(Seen::default());
        let own = Arc::clone(&seen);
        // A thread of its own: a test may stand still while its peer goes on.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    own.met.fetch_add(1, SeqCst);
                    tokio::spawn(serve(stream, over.clone(), steps.clone(), Arc::clone(&own)));
                }
            });
        });
        Self { address, seen }
    }

    /// Connections so far.
    pub fn met(&self) -> usize {
        self.seen.met.load(SeqCst)
    }

    /// Whether any byte of HTTP arrived; what is read of a handshake is none.
    pub fn heard_a_request(&self) -> bool {
        let read = self.seen.read.lock().expect("no panic while it was held");
        read.windows(5).any(|part| part == b"POST ")
    }

    /// Closes the connection that waits for it, and returns once that is done.
    pub fn close(&self) {
        let before = self.seen.closed.load(SeqCst);
        self.seen.told.notify_one();
        while self.seen.closed.load(SeqCst) == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Loopback hands the end over at once; nothing tells when the other side's kernel has it.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same server, which wants to see a client's certificate by the authority.
pub fn demanding_a_certificate(
    ca: &str,
    config: &ServerConfig,
    version: &'static SupportedProtocolVersion,
) -> Over {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM")).expect("an authority");
    let provider = Arc::clone(config.crypto_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_cert_resolver(Arc::clone(&config.cert_resolver));
    Over::Tls(Arc::new(config))
}

async fn serve(stream: TcpStream, over: Over, steps: Vec<Step>, seen: Arc<Seen>) {
    if steps.iter().any(|step| step.then == Then::Reset) {
        stream.set_zero_linger().expect("set");
    }
    match over {
        Over::Tcp => play(stream, steps, &seen).await,
        Over::Tls(config) => {
            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                play(stream, steps, &seen).await;
            }
        }
    }
    seen.closed.fetch_add(1, SeqCst);
}

async fn play(mut stream: impl AsyncRead + AsyncWrite + Unpin, steps: Vec<Step>, seen: &Seen) {
    for step in steps {
        read(&mut stream, step.read, seen).await;
        // A client that has heard enough may be gone.
        _ = stream.write_all(step.say.as_bytes()).await;
        _ = stream.flush().await;
        match step.then {
            Then::Next => {}
            Then::Close | Then::Reset => return,
            Then::Hang => return read(&mut stream, Read::All, seen).await,
            Then::CloseWhenTold => return seen.told.notified().await,
        }
    }
    std::future::pending().await
}

async fn read(stream: &mut (impl AsyncRead + Unpin), how_much: Read, seen: &Seen) {
    let mut request = Vec::new();
    let mut chunk = [0; 16 << 10];
    while !is_enough(&request, how_much) {
        let Ok(read @ 1..) = stream.read(&mut chunk).await else { return };
        request.extend_from_slice(&chunk[..read]);
        seen.read.lock().expect("no panic while it was held").extend_from_slice(&chunk[..read]);
    }
}

fn is_enough(request: &[u8], how_much: Read) -> bool {
    let head = request.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4);
    match how_much {
        Read::Some => !request.is_empty(),
        Read::Head => head.is_some(),
        Read::Whole => head.is_some_and(|head| request.len() >= head + super::BODY.len()),
        Read::All => false,
    }
}
