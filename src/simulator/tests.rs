//! Over a real socket, byte by byte.

mod faults;

use std::io::{Read, Write};
use std::net::TcpStream;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;

const RESET: &str = "ResetInstancePassword";
const GOOD: &str = r#"{"instanceId":"ins-a","password":"Abcd~1234"}"#;

fn settings(listen: SocketAddr, busy: Duration) -> Settings {
    let instances = json!([
        {"instanceId": "ins-a", "status": "RUNNING", "enableAgent": true},
        {"instanceId": "ins-b", "status": "RUNNING", "enableAgent": null},
    ]);
    Settings {
        listen,
        instances: parse_instances(&instances.to_string()).expect("good instances"),
        access_key_id: "ak".into(),
        access_key_password: Zeroizing::new("secret".into()),
        busy,
    }
}

fn simulator(busy: Duration) -> Simulator {
    Simulator::start(settings(([127, 0, 0, 1], 0).into(), busy)).expect("a free port")
}

fn connect(simulator: &Simulator) -> TcpStream {
    let stream = TcpStream::connect(simulator.addr()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    stream
}

/// Everything up to the framing headers, which the caller adds.
fn signed_head(action: &str, body: &str) -> String {
    signed_head_at(Timestamp::now().as_second(), action, body)
}

fn signed_head_at(now: i64, action: &str, body: &str) -> String {
    let hashed = |text: &str| hex::encode(Sha256::digest(text));
    let canonical =
        format!("POST\n/\n\ncontent-type:application/json\nhost:sim\n\ncontent-type;host\n{}", hashed(body));
    let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").expect("any length");
    mac.update(format!("ZC2-HMAC-SHA256\n{now}\n{}", hashed(&canonical)).as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!(
        "POST /api/v2/zec HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\nx-zc-action: {action}\r\n\
         x-zc-version: 2025-09-01\r\nx-zc-signature-method: ZC2-HMAC-SHA256\r\nx-zc-timestamp: {now}\r\n\
         authorization: ZC2-HMAC-SHA256 Credential=ak, SignedHeaders=content-type;host, Signature={signature}\r\n"
    )
}

fn signed(action: &str, body: &str) -> String {
    format!("{}content-length: {}\r\n\r\n{body}", signed_head(action, body), body.len())
}

/// Status and body of the next answer; None when the connection ends without one.
fn answer(stream: &mut TcpStream) -> Option<(u16, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).expect("a head of text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).ok()?;
    Some((status, String::from_utf8(body).expect("a body of text")))
}

fn ask(simulator: &Simulator, request: &str) -> Option<(u16, Value)> {
    let mut stream = connect(simulator);
    stream.write_all(request.as_bytes()).expect("it reads");
    let (status, body) = answer(&mut stream)?;
    Some((status, serde_json::from_str(&body).unwrap_or(Value::String(body))))
}

fn control(simulator: &Simulator, method: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "{method} /_simulator/{path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    ask(simulator, &request).expect("control calls are answered")
}

fn code(simulator: &Simulator, action: &str, body: &str) -> (u16, String) {
    let (status, answer) = ask(simulator, &signed(action, body)).expect("an answer");
    assert!(answer["requestId"].as_str().is_some_and(|id| id.starts_with('T')), "{answer}");
    (status, answer["code"].as_str().unwrap_or("ok").to_owned())
}

fn calls(simulator: &Simulator) -> Vec<Value> {
    control(simulator, "GET", "calls", "").1["calls"].as_array().expect("a list").clone()
}

#[test]
fn a_reset_changes_the_password_and_leaves_a_call() {
    let simulator = simulator(Duration::ZERO);
    let (status, answer) = ask(&simulator, &signed(RESET, GOOD)).expect("an answer");
    assert_eq!(status, 200);
    assert_eq!(answer["requestId"], answer["response"]["requestId"]);
    let instance = control(&simulator, "GET", "instances", "").1["instances"][0].clone();
    assert_eq!((&instance["password"], &instance["resets"]), (&json!("Abcd~1234"), &json!(1)));
    let call = calls(&simulator)[0].clone();
    assert_eq!((&call["seq"], &call["action"], &call["body"]), (&json!(1), &json!(RESET), &json!(GOOD)));
    assert_eq!((&call["verdict"], &call["applied"]), (&json!("ok"), &json!(true)));
    assert_eq!(call["headers"]["host"], "sim");
    assert_eq!(control(&simulator, "DELETE", "calls", "").0, 200);
    assert!(calls(&simulator).is_empty());
}

#[test]
fn an_instance_that_is_not_ready_is_refused_by_its_code() {
    let simulator = simulator(Duration::from_secs(60));
    for (fields, status, expected) in [
        (json!({"status": "STOPPED"}), 403, "OPERATION_DENIED_INSTANCE_NOT_RUNNING"),
        (json!({"status": "RECYCLE"}), 403, "OPERATION_DENIED_INSTANCE_RECYCLED"),
        (json!({"status": "RUNNING", "enableAgent": false}), 400, "INVALID_PARAMETER_VALUE"),
        (json!({"status": null, "enableAgent": null}), 200, "ok"),
        (json!({}), 400, "OPERATION_DENIED_INSTANCE_IN_OPERATION"),
    ] {
        assert_eq!(control(&simulator, "POST", "instances/ins-a", &fields.to_string()).0, 200);
        assert_eq!(code(&simulator, RESET, GOOD), (status, expected.into()), "{fields}");
    }
    assert_eq!(calls(&simulator).iter().filter(|call| call["applied"] == true).count(), 1);
}

#[test]
fn what_the_api_does_not_have_is_refused() {
    let simulator = simulator(Duration::ZERO);
    assert_eq!(code(&simulator, "ResetInstance", GOOD), (400, "INVALID_PARAMETER_VALUE".into()));
    assert_eq!(code(&simulator, RESET, "[]"), (400, "INVALID_PARAMETER_TYPE".into()));
    let good = signed(RESET, GOOD);
    for (from, to, status) in [
        ("2025-09-01", "2024-04-01", 200),
        ("2025-09-01", "2023-01-01", 400),
        ("x-zc-version: 2025-09-01\r\n", "", 400),
        ("/api/v2/zec", "/api/v2/vm", 404),
        ("POST", "GET", 405),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_eq!(ask(&simulator, &changed).map(|(status, _)| status), Some(status), "{from:?} -> {to:?}");
    }
    assert_eq!(calls(&simulator).len(), 7, "refused calls are kept too");
}

#[test]
fn one_connection_carries_counted_and_chunked_bodies() {
    let simulator = simulator(Duration::ZERO);
    let mut stream = connect(&simulator);
    let (first, rest) = GOOD.split_at(10);
    let chunked = format!(
        "{}transfer-encoding: chunked\r\n\r\n{:x};note=1\r\n{first}\r\n{:X}\r\n{rest}\r\n0\r\ntrailer: x\r\n\r\n",
        signed_head(RESET, GOOD),
        first.len(),
        rest.len()
    );
    for request in [signed(RESET, GOOD), chunked.clone(), signed(RESET, GOOD)] {
        // Byte by byte, so that every place is one where reading may have to wait.
        for byte in request.as_bytes() {
            stream.write_all(&[*byte]).expect("it reads");
        }
        assert_eq!(answer(&mut stream).map(|(status, _)| status), Some(200));
    }
    let expecting =
        signed(RESET, GOOD).replacen("content-length", "expect: 100-continue\r\ncontent-length", 1);
    let (head, body) = expecting.split_once("\r\n\r\n").expect("a head");
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).expect("it reads");
    assert_eq!(answer(&mut stream), Some((100, String::new())));
    stream.write_all(body.as_bytes()).expect("it reads");
    assert_eq!(answer(&mut stream).map(|(status, _)| status), Some(200));
    let last = signed(RESET, GOOD).replacen("content-length", "connection: close\r\ncontent-length", 1);
    stream.write_all(last.as_bytes()).expect("it reads");
    assert_eq!(answer(&mut stream).map(|(status, _)| status), Some(200));
    assert_eq!(answer(&mut stream), None, "closed as asked");
    assert!(calls(&simulator).iter().all(|call| call["body"] == GOOD));
}

#[test]
fn what_is_not_one_request_of_a_bounded_size_is_refused() {
    let simulator = simulator(Duration::ZERO);
    for (request, status) in [
        ("GARBAGE\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\ncontent-length:\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n".into(), 400),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n".into(), 413),
        ("POST / HTTP/1.1\r\ncontent-length: 1048577\r\n\r\n".into(), 413),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024)), 431),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200)), 431),
    ] {
        let start = &request[..request.len().min(80)];
        assert_eq!(ask(&simulator, &request).map(|(status, _)| status), Some(status), "{start:?}");
    }
    assert!(calls(&simulator).is_empty());
}

#[test]
fn a_control_call_that_makes_no_sense_says_so() {
    let simulator = simulator(Duration::ZERO);
    for (method, path, body, status) in [
        ("GET", "nothing", "", 404),
        ("PUT", "faults", "[]", 404),
        ("PUT", "instances", "{}", 400),
        ("PUT", "instances", "[{}]", 400),
        ("PUT", "instances", "\u{fffd}", 400),
        ("POST", "instances/ins-z", "{}", 404),
        ("POST", "instances/ins-a", "[]", 400),
        ("POST", "instances/ins-a", r#"{"instanceId": "ins-b"}"#, 400),
        ("POST", "instances/ins-a", r#"{"status": "#, 400),
    ] {
        let (seen, answer) = control(&simulator, method, path, body);
        assert_eq!((seen, answer["message"].is_string()), (status, true), "{method} {path} {body}: {answer}");
    }
    assert!(calls(&simulator).is_empty(), "control calls are no calls");
}

#[test]
fn stopping_closes_what_is_open() {
    let simulator = simulator(Duration::ZERO);
    let addr = simulator.addr();
    let mut open = connect(&simulator);
    open.write_all(signed(RESET, GOOD).as_bytes()).expect("it reads");
    assert!(answer(&mut open).is_some());
    simulator.stop();
    assert_eq!(answer(&mut open), None);
    assert!(TcpStream::connect(addr).is_err());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_an_error_inside_a_runtime_too() {
    let taken = simulator(Duration::ZERO);
    let error = Simulator::start(settings(taken.addr(), Duration::ZERO)).err().map(|error| error.kind());
    assert_eq!(error, Some(io::ErrorKind::AddrInUse));
}
