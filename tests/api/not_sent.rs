//! Which failures of a call prove that no byte of it reached Zenlayer: the client's whole word on it, over real
//! sockets. A reset that was surely not sent may be sent again; one that was not answered never.

mod peer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::rt::time::{sleep, timeout};
use serde::de::IgnoredAny;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use zengate::config::Config;
use zengate::http::{Action, Answer, CallError, Client, Endpoint, Share, Slot};
use zeroize::Zeroizing;

use crate::tls::authority;
use peer::{Over, Peer, Read, Step, Then, demanding_a_certificate};

const BODY: &[u8] = br#"{"instanceId":"ins-a","password":"Abcd~1234"}"#;
const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    NotSent,
    Unanswered,
    /// Unanswered, or an answer that is no JSON, which nobody can take for Zenlayer's word: awc takes the end of
    /// a plain connection for the end of the body, whatever length was announced.
    Cut,
    Answered,
}

/// A client with a pool of its own, for Zenlayer at `url` under the authority `ca`.
pub fn client(url: &str, ca: &str) -> Client {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), ca).expect("written");
    std::fs::write(path("secret"), crate::keys::SECRET).expect("written");
    let text = format!(
        "[issuers.corp]\nissuer = \"https://corp.test\"\nalgorithms = [\"HS256\"]\nsecret_file = \"secret\"\n\
         may_assert_teams = [\"payments\"]\n[upstream]\nurl = \"{url}\"\naccess_key_id = \"ak\"\n\
         access_key_password_file = \"secret\"\nca_file = \"ca.pem\"\ntimeout_seconds = 1\n"
    );
    std::fs::write(path("zengate.toml"), text).expect("written");
    let env = std::collections::BTreeMap::<String, String>::new();
    let config = Config::load(&path("zengate.toml"), &env).unwrap_or_else(|e| panic!("{e}"));
    Client::new(Arc::new(Endpoint::new(&config.upstream, Arc::default()).expect("an authority")))
}

/// The one place that knows how a call is made.
pub async fn call(client: &Client) -> Result<Answer, CallError> {
    let slot = client.reserve(Action::ResetPassword, Share::Inventory).await.expect("the account is idle");
    send(client, BODY, slot, "ins-a").await
}

async fn send(client: &Client, body: &[u8], slot: Slot, decided: &str) -> Result<Answer, CallError> {
    let decided = client.target().digest(&decided.parse().expect("an id"));
    client.send(Zeroizing::new(body.to_vec()), slot, &decided).await.answer
}

/// Calls, and compares what the client tells.
async fn expect(row: &str, client: &Client, expected: Told) {
    let got = call(client).await;
    let agrees = match (&got, expected) {
        (Ok(answer), Told::Answered) => answer.status == 200 && answer.body == "{}",
        (Ok(answer), Told::Cut) => serde_json::from_slice::<IgnoredAny>(&answer.body).is_err(),
        (Err(CallError::NotSent(_)), Told::NotSent) => true,
        (Err(CallError::Unanswered(_)), Told::Unanswered | Told::Cut) => true,
        (_, _) => false,
    };
    assert!(agrees, "{row}: {expected:?} is expected, not {got:?}");
}

fn step(read: Read, say: &str, then: Then) -> Vec<Step> {
    vec![Step { read, say: say.to_owned(), then }]
}

/// What a URL needs of a test's authority, and a server under it.
fn plain_and_tls() -> [(&'static str, String, Over); 2] {
    let (ca, config) = authority();
    [("http", ca.clone(), Over::Tcp), ("https", ca, Over::Tls(Arc::new(config)))]
}

fn bound() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    socket
}

/// A port whose listener's queue is full, so that the kernel drops every further SYN: as a host that is down or
/// behind a firewall, an attempt to connect meets silence. Lasts as long as what is returned with it.
async fn silent_port() -> (SocketAddr, impl Sized) {
    let listener = bound().listen(1).expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queued.push(stream.expect("queued"));
    }
    (address, (listener, queued))
}

#[test]
fn what_found_no_connection_was_not_sent() {
    System::new().block_on(async {
        let (ca, _) = authority();
        let (silent, _kept) = silent_port().await;
        // Bound and not listening: nobody else gets the port.
        let bound = bound();
        let refusing = bound.local_addr().expect("an address");
        for scheme in ["http", "https"] {
            for (row, address) in [("refused", refusing), ("silence", silent)] {
                let client = client(&format!("{scheme}://{address}"), &ca);
                expect(&format!("{row}, {scheme}"), &client, Told::NotSent).await;
            }
        }
        // A label has 63 characters at most, so no name server need be asked. Plain HTTP goes to loopback alone.
        let nowhere = format!("https://{}.invalid", "x".repeat(64));
        expect("not resolved", &client(&nowhere, &ca), Told::NotSent).await;
    });
}

#[test]
fn what_failed_in_the_handshake_was_not_sent() {
    System::new().block_on(async {
        let (ca, config) = authority();
        let (stranger, _) = authority();
        let tls = || Over::Tls(Arc::new(config.clone()));
        let good = || step(Read::Whole, GOOD, Then::Next);
        let handshake = |then| step(Read::Some, "", then);
        for (row, host, ca_file, over, steps, expected) in [
            ("all is well", "localhost", &ca, tls(), good(), Told::Answered),
            ("untrusted certificate", "localhost", &stranger, tls(), good(), Told::NotSent),
            ("wrong name", "127.0.0.1", &ca, tls(), good(), Told::NotSent),
            ("reset in the handshake", "localhost", &ca, Over::Tcp, handshake(Then::Reset), Told::NotSent),
            ("end in the handshake", "localhost", &ca, Over::Tcp, handshake(Then::Close), Told::NotSent),
            ("hang in the handshake", "localhost", &ca, Over::Tcp, handshake(Then::Hang), Told::NotSent),
            (
                "no TLS at all",
                "localhost",
                &ca,
                Over::Tcp,
                step(Read::Some, GOOD, Then::Close),
                Told::NotSent,
            ),
            (
                "a certificate of ours demanded, TLS 1.2",
                "localhost",
                &ca,
                demanding_a_certificate(&ca, &config, &TLS12),
                good(),
                Told::NotSent,
            ),
            (
                "a certificate of ours demanded, TLS 1.3: its refusal comes after the request went out",
                "localhost",
                &ca,
                demanding_a_certificate(&ca, &config, &TLS13),
                good(),
                Told::Unanswered,
            ),
        ] {
            let peer = Peer::start(over, steps);
            let url = format!("https://{host}:{}", peer.address.port());
            let sent = expected == Told::Answered;
            expect(row, &client(&url, ca_file), expected).await;
            assert!(peer.met() > 0, "{row}: it was reached");
            assert_eq!(peer.heard_a_request(), sent, "{row}");
        }
    });
}

#[test]
fn what_was_sent_and_not_wholly_answered_is_never_said_not_to_be_sent() {
    System::new().block_on(async {
        let head = "HTTP/1.1 200 OK\r\n";
        let long = "x".repeat((64 << 10) + 1);
        let counted = format!("{head}content-length: {}\r\n\r\n{long}", long.len());
        let chunked =
            format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
        let cut = format!("{head}content-length: 9\r\n\r\n{{");
        let cut_chunk = format!("{head}transfer-encoding: chunked\r\n\r\n9\r\n{{");
        for (scheme, ca, over) in plain_and_tls() {
            for (row, steps, expected) in [
                ("a good answer", step(Read::Whole, GOOD, Then::Next), Told::Answered),
                ("end after the head", step(Read::Head, "", Then::Close), Told::Unanswered),
                ("end after the whole", step(Read::Whole, "", Then::Close), Told::Unanswered),
                ("reset after the head", step(Read::Head, "", Then::Reset), Told::Unanswered),
                ("reset after the whole", step(Read::Whole, "", Then::Reset), Told::Unanswered),
                ("no answer", step(Read::Whole, "", Then::Hang), Told::Unanswered),
                ("a partial head", step(Read::Whole, head, Then::Close), Told::Unanswered),
                ("a partial head, and no end", step(Read::Whole, head, Then::Hang), Told::Unanswered),
                ("a body cut off", step(Read::Whole, &cut, Then::Close), Told::Unanswered),
                ("a chunk cut off", step(Read::Whole, &cut_chunk, Then::Close), Told::Cut),
                ("a body without an end", step(Read::Whole, &cut, Then::Hang), Told::Unanswered),
                ("too long a body", step(Read::Whole, &counted, Then::Next), Told::Unanswered),
                ("too long a body in chunks", step(Read::Whole, &chunked, Then::Next), Told::Unanswered),
            ] {
                let peer = Peer::start(over.clone(), steps);
                let url = format!("{scheme}://localhost:{}", peer.address.port());
                let row = format!("{row}, {scheme}");
                expect(&row, &client(&url, &ca), expected).await;
                assert!(peer.heard_a_request(), "{row}");
            }
        }
    });
}

#[test]
fn a_pooled_connection_that_is_known_to_have_ended_is_not_used() {
    System::new().block_on(async {
        for (scheme, ca, over) in plain_and_tls() {
            let peer = Peer::start(over, step(Read::Whole, GOOD, Then::CloseWhenTold));
            let client = client(&format!("{scheme}://localhost:{}", peer.address.port()), &ca);
            expect(scheme, &client, Told::Answered).await;
            peer.close();
            // Time in which this thread's runtime hears of the end.
            sleep(Duration::from_millis(50)).await;
            expect(scheme, &client, Told::Answered).await;
            assert_eq!(peer.met(), 2, "{scheme}: a new connection");
        }
    });
}

#[test]
fn a_pooled_connection_that_ended_unnoticed_leaves_it_open_whether_it_was_sent() {
    System::new().block_on(async {
        for (scheme, ca, over) in plain_and_tls() {
            let peer = Peer::start(over.clone(), step(Read::Whole, GOOD, Then::CloseWhenTold));
            let unnoticed = client(&format!("{scheme}://localhost:{}", peer.address.port()), &ca);
            expect(scheme, &unnoticed, Told::Answered).await;
            // Between the two calls this thread's runtime does not run, so it cannot hear of the end.
            peer.close();
            expect(&format!("ended before, {scheme}"), &unnoticed, Told::Unanswered).await;
            assert_eq!(peer.met(), 1, "{scheme}: it was not sent again");

            let mut steps = step(Read::Whole, GOOD, Then::Next);
            steps.extend(step(Read::Some, "", Then::Close));
            let peer = Peer::start(over, steps);
            let meanwhile = client(&format!("{scheme}://localhost:{}", peer.address.port()), &ca);
            expect(scheme, &meanwhile, Told::Answered).await;
            expect(&format!("ended meanwhile, {scheme}"), &meanwhile, Told::Unanswered).await;
            assert_eq!(peer.met(), 1, "{scheme}: it was not sent again");
        }
    });
}

#[test]
fn what_is_not_what_was_decided_is_not_sent() {
    System::new().block_on(async {
        let peer = Peer::start(Over::Tcp, step(Read::Whole, GOOD, Then::Next));
        let client = client(&format!("http://{}", peer.address), "");
        let slot = |action| {
            let client = client.clone();
            async move { client.reserve(action, Share::Inventory).await.expect("the account is idle") }
        };
        let reset = || slot(Action::ResetPassword);
        let other = br#"{"instanceId":"ins-b","password":"Abcd~1234"}"#;
        let both = br#"{"instanceId":"ins-a","instanceIds":["ins-b"],"password":"Abcd~1234"}"#;
        for (row, told) in [
            ("a body of another instance", send(&client, other, reset().await, "ins-a").await),
            ("a decision on another instance", send(&client, BODY, reset().await, "ins-b").await),
            ("a body that says more", send(&client, both, reset().await, "ins-a").await),
            ("another action", send(&client, BODY, slot(Action::DescribeInstances).await, "ins-a").await),
            ("no decision", client.call(Zeroizing::new(BODY.to_vec()), reset().await).await),
        ] {
            assert!(matches!(told, Err(CallError::Mismatched)), "{row}: {told:?}");
        }
        sleep(Duration::from_millis(50)).await;
        assert_eq!((peer.met(), peer.heard_a_request()), (0, false), "not even a connection");
        expect("as decided", &client, Told::Answered).await;
        assert!(peer.heard_a_request());
    });
}
