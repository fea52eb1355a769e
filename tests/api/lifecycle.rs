//! Resets outlive their connections, and a stop waits for them.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::{PASSWORD, Setup, TestGateway, again, payments, records};
use crate::http::{self, read, request};

fn ask(gateway: &TestGateway, instance: &str) -> TcpStream {
    let bearer = format!("Bearer {}", payments());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "password": PASSWORD }).to_string();
    let path = format!("/v1/instances/{instance}/password-resets");
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.write_all(&request("POST", &path, &headers, Some(body.as_bytes()))).expect("written");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

fn wait_until_sent(gateway: &TestGateway, count: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    while gateway.resets_sent() < count {
        assert!(Instant::now() < until, "the reset reaches Zenlayer");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An RST in place of a FIN, as a killed client's kernel sends it.
fn reset_connection(stream: TcpStream) {
    let socket = rustix_linger(&stream);
    drop(socket);
    drop(stream);
}

fn rustix_linger(stream: &TcpStream) -> std::io::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).map_err(Into::into)
}

#[test]
fn a_caller_that_hangs_up_and_then_a_stop_leave_the_outcome_in_the_trail() {
    for (row, abrupt) in [("FIN", false), ("RST", true)] {
        let mut gateway = TestGateway::spawn();
        gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 1000 }));
        let stream = ask(&gateway, "pay-1");
        wait_until_sent(&gateway, 1);
        if abrupt {
            reset_connection(stream)
        } else {
            drop(stream)
        }
        gateway.finish();
        let records = records(&gateway.folder.path().join("zengate.db"));
        let kinds = records.iter().map(|r| r["kind"].as_str().unwrap_or_default());
        // What the gateway says of itself besides is not what this is about.
        let of_itself = ["policy", "key", "checkpoint"];
        let kinds: Vec<_> = kinds.filter(|kind| !of_itself.contains(kind)).collect();
        assert_eq!(kinds, ["start", "intent", "outcome", "stop"], "{row}");
        let outcome = records.iter().find(|record| record["kind"] == "outcome").expect("an outcome");
        assert_eq!(outcome["outcome"], "accepted", "{row}");
    }
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let mut gateway = TestGateway::spawn();
    let mut idle = TcpStream::connect(gateway.address).expect("connected");
    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 1200 }));
    let mut waiting = ask(&gateway, "pay-1");
    wait_until_sent(&gateway, 1);
    gateway.begin_stop();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        crate::http::call(gateway.operations, "GET", "/readyz", None, None).status,
        503,
        "not ready any more"
    );
    let bearer = format!("Bearer {}", payments());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "password": PASSWORD }).to_string();
    let late = request("POST", "/v1/instances/pay-2/password-resets", &headers, Some(body.as_bytes()));
    idle.write_all(&late).expect("written");
    assert_eq!(read(&mut idle).problem(), "unavailable", "a new reset is told to come back");
    assert_eq!(read(&mut waiting).status, 201, "the one in flight is answered");
    gateway.finish();
    assert_eq!(gateway.resets_sent(), 1);
}

#[test]
fn a_second_gateway_reads_what_the_first_one_wrote() {
    let gateway = TestGateway::spawn();
    let made = gateway.reset(&payments(), "pay-1");
    let location = made.header("location").expect("a place").to_owned();
    let gateway = again(gateway);
    let read = gateway.call("GET", &location, Some(&payments()), None);
    assert_eq!((read.status, read.json()), (200, made.json()));
    let starts = gateway.records_of("start", 2);
    let head = &starts[1]["heads"][0];
    assert_eq!(head["writer"], starts[0]["writer"], "the second chain anchors the first one's end");
    let records = gateway.records_until(|_| true);
    let last = records.iter().rfind(|record| record["writer"] == starts[0]["writer"]);
    assert_eq!(head["sequence"], last.expect("a chain")["sequence"]);
}

#[test]
fn a_stop_serves_on_while_a_balancer_finds_out() {
    let overrides = [("ZENGATE__SERVER__DRAIN_SECONDS", "2")];
    let mut gateway = TestGateway::with(Setup { overrides: &overrides, ..Setup::default() });
    let bearer = format!("Bearer {}", payments());
    let get = format!("GET /v1/whoami HTTP/1.1\r\nhost: gateway\r\nauthorization: {bearer}\r\n\r\n");
    let mut kept = TcpStream::connect(gateway.address).expect("connected");
    let mut told = || {
        kept.write_all(get.as_bytes()).expect("written");
        let told = read(&mut kept);
        (told.status, told.header("connection").map(str::to_owned))
    };
    assert_eq!(told(), (200, None), "it is kept");
    gateway.begin_stop();
    let ready = |gateway: &TestGateway| http::call(gateway.operations, "GET", "/readyz", None, None);
    let until = Instant::now() + Duration::from_secs(1);
    while ready(&gateway).status == 200 {
        assert!(Instant::now() < until, "not ready from the first moment of a stop");
    }
    assert_eq!(ready(&gateway).json()["status"], "draining");
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201, "who comes all the same is served");
    assert_eq!(told(), (200, Some("close".to_owned())), "and has to come again elsewhere");
    gateway.finish();
    assert_eq!(gateway.resets_sent(), 1);
}
