//! All replicas are restarted, one after the other, and no caller hears of it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use super::cluster::{Balancer, Cluster, INSTANCES, web};
use crate::http::try_read;
use crate::support::FREE;
use crate::trail::{sent, until};

/// What one caller was told, other than what it asked for.
struct Told {
    good: usize,
    bad: Vec<String>,
}

/// Resets and looks by turns, over one connection for as long as it stays.
fn caller(at: SocketAddr, first: usize, token: &str, ended: &AtomicBool) -> Told {
    let (mut told, mut stream) = (Told { good: 0, bad: Vec::new() }, None);
    for n in first.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let instance = format!("web-{}", n % INSTANCES);
        let (ask, wanted) = match n % 2 {
            0 => (format!("GET /v1/instances/{instance} HTTP/1.1\r\n"), 200),
            _ => (format!("POST /v1/instances/{instance}/password-resets HTTP/1.1\r\n"), 201),
        };
        let body = if wanted == 201 { r#"{"password":"Abcd~1234"}"# } else { "" };
        let request = format!(
            "{ask}host: h\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let open = stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(at).expect("connected");
            stream.set_read_timeout(Some(Duration::from_secs(40))).expect("set");
            stream
        });
        match open.write_all(request.as_bytes()).and_then(|()| try_read(open)) {
            Ok(answer) if answer.status == wanted => {
                told.good += 1;
                if answer.header("connection") == Some("close") {
                    stream = None;
                }
            }
            Ok(answer) => told.bad.push(format!("{answer:?}")),
            Err(error) => {
                told.bad.push(error.to_string());
                stream = None;
            }
        }
        sleep(Duration::from_millis(10));
    }
    told
}

#[test]
fn a_rolling_restart_costs_no_caller_an_answer() {
    let mut cluster = Cluster::of(3, FREE, &[("ZENGATE__SERVER__DRAIN_SECONDS", "2")]);
    // One that tries nothing twice, as most do not: it has only its looks to go by.
    let once = [
        ("    retries 1\n", "    retries 0\n"),
        ("    retry-on conn-failure 503\n", ""),
        ("    option redispatch 1\n", ""),
    ];
    let balancer = Balancer::before(&cluster.replicas, &once);
    // So that each stop meets some in flight.
    cluster
        .simulator
        .fault(r#"[{"fault":"delay","milliseconds":300,"share":0.3,"action":"ResetInstancePassword"}]"#);
    let (token, ended) = (web(), AtomicBool::new(false));
    let told: Vec<Told> = scope(|scope| {
        let (at, token, ended) = (balancer.address, &token, &ended);
        let callers: Vec<_> = (0..6).map(|n| scope.spawn(move || caller(at, n * 31, token, ended))).collect();
        let mut restart = || {
            for replica in &mut cluster.replicas {
                let busy = replica.answered();
                until("callers reach it", || replica.answered() > busy + 5.0);
                replica.gateway.process.signal("-TERM");
                if !replica.gateway.process.ended().success() {
                    return false;
                }
                replica.start_again();
            }
            let last = &cluster.replicas[2];
            until("callers reach the last again", || last.answered() > 5.0);
            true
        };
        // Whatever goes wrong, the callers must end.
        let restarted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut restart));
        ended.store(true, Ordering::Relaxed);
        let told = callers.into_iter().map(|caller| caller.join().expect("no panic")).collect();
        assert!(restarted.is_ok_and(|stopped| stopped), "each stops in order and serves again");
        told
    });
    let bad: Vec<_> = told.iter().flat_map(|told| &told.bad).collect();
    assert!(bad.is_empty(), "{} of them: {:#?}", bad.len(), &bad[..bad.len().min(5)]);
    let good: usize = told.iter().map(|told| told.good).sum();
    let resets = sent(&cluster.simulator).len();
    assert!(good > 200 && resets > 100, "{good} answers, {resets} resets");
}
