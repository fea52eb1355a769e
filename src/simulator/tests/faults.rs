//! What each fault puts on the wire, and what it leaves behind.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Instant;

use jiff::fmt::rfc2822::DateTimeParser;

use super::*;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Closed,
    Reset,
    /// Neither, while the test waited.
    Open,
}

/// Whether a struck reset takes effect.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Effect {
    /// The call is not read, so there is no record of it.
    Unread,
    Ever,
    Never,
    /// As the rule says.
    Either,
}

use Effect::{Either, Ever, Never, Unread};
use End::{Closed, Open, Reset};

fn heard(stream: &mut TcpStream) -> (String, End) {
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes) {
        Ok(_) => Closed,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Reset,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Open,
        Err(error) => panic!("{error}"),
    };
    (String::from_utf8(bytes).expect("text"), end)
}

/// A signed reset, after which the connection closes.
fn last_reset_at(now: i64) -> String {
    let head = signed_head_at(now, RESET, GOOD);
    format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n{GOOD}", GOOD.len())
}

fn last_reset() -> String {
    last_reset_at(Timestamp::now().as_second())
}

/// All that is heard on a fresh connection after one reset.
fn reset(simulator: &Simulator, patience: Duration) -> (String, End) {
    let mut stream = connect(simulator);
    stream.set_read_timeout(Some(patience)).expect("a timeout");
    stream.write_all(last_reset().as_bytes()).expect("sent");
    heard(&mut stream)
}

fn order(simulator: &Simulator, fault: &Value) {
    let (status, answer) = control(simulator, "POST", "faults", &json!([fault]).to_string());
    assert_eq!(status, 200, "{fault}: {answer}");
}

fn resets(simulator: &Simulator) -> u64 {
    control(simulator, "GET", "instances", "").1["instances"][0]["resets"].as_u64().expect("a number")
}

fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let head = text.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Seconds from now to the time of a header.
fn seconds_from_now(text: &str, name: &str) -> i64 {
    let date = header(text, name).unwrap_or_else(|| panic!("no {name}: {text}"));
    let date = DateTimeParser::new().parse_timestamp(date).unwrap_or_else(|e| panic!("{date}: {e}"));
    date.as_second() - Timestamp::now().as_second()
}

/// Orders the fault, sends a reset, and compares what is heard, recorded and held.
fn check(simulator: &Simulator, fault: &Value, says: &[&str], end: End, effect: Effect) {
    order(simulator, fault);
    control(simulator, "DELETE", "calls", "");
    let before = resets(simulator);
    let (text, seen) = reset(simulator, Duration::from_millis(if end == Open { 150 } else { 5000 }));
    assert_eq!(seen, end, "{fault}: {text}");
    assert_eq!(text.is_empty(), says.is_empty(), "{fault}: {text}");
    says.iter().for_each(|part| assert!(text.contains(part), "{fault}: {part:?} is not in {text}"));
    if text.contains("\r\n\r\n") {
        assert!(seconds_from_now(&text, "date").abs() <= 2, "{fault}: {text}");
    }
    let calls = calls(simulator);
    let applied = calls.first().map(|call| call["applied"] == true);
    assert_eq!(calls.len(), usize::from(effect != Unread), "{fault}");
    assert_eq!(applied.unwrap_or(false), effect == Ever, "{fault}: {calls:?}");
    assert_eq!(resets(simulator) - before, u64::from(effect == Ever), "{fault}");
}

#[test]
fn each_fault_is_seen_on_the_wire_and_applied_as_it_says() {
    let simulator = simulator(Duration::ZERO);
    let envelope = "{\"requestId\":\"T";
    let wait = json!({"fault": "unavailable", "retryAfterSeconds": 7});
    let limited = json!({"fault": "rate-limited", "retryAfterSeconds": 7});
    for (fault, says, end, effect) in [
        (json!({"fault": "hang-before-read"}), &[][..], Open, Unread),
        (json!({"fault": "reset-before-read"}), &[], Reset, Unread),
        (json!({"fault": "hang-after-read"}), &[], Open, Either),
        (json!({"fault": "reset-after-read"}), &[], Reset, Either),
        (json!({"fault": "close-after-read"}), &[], Closed, Either),
        (json!({"fault": "partial-head"}), &["HTTP/1.1 200 OK\r\n"], Closed, Either),
        (json!({"fault": "partial-body"}), &["HTTP/1.1 200 OK\r\n", envelope], Closed, Either),
        (json!({"fault": "garbage"}), &[" 200 ", "application/json", "\"response\": ]"], Closed, Either),
        (json!({"fault": "huge-body", "bytes": 9999}), &[" 200 ", "xxx\"}}"], Closed, Either),
        (json!({"fault": "internal-error"}), &[" 500 ", envelope, "INTERNAL_SERVER_ERROR"], Closed, Either),
        (json!({"fault": "unavailable"}), &[" 503 ", "SERVICE_TEMPORARY_UNAVAILABLE"], Closed, Either),
        (wait, &[" 503 ", "\r\nretry-after: 7\r\n"], Closed, Either),
        (json!({"fault": "timed-out"}), &[" 504 ", envelope, "REQUEST_TIMED_OUT"], Closed, Either),
        (json!({"fault": "bad-gateway"}), &[" 502 ", "text/html", "<html>"], Closed, Either),
        (json!({"fault": "rate-limited"}), &[" 429 ", envelope, "REQUEST_LIMIT_EXCEEDED"], Closed, Never),
        (limited, &[" 429 ", "\r\nretry-after: 7\r\n"], Closed, Never),
        (json!({"fault": "firewall"}), &[" 403 ", "text/html", "cf-mitigated: challenge"], Closed, Never),
        (json!({"fault": "legal-block"}), &[" 451 ", "content-length: 0\r\n"], Closed, Never),
        (json!({"fault": "error", "status": 400, "code": "TEAPOT"}), &[" 400 ", "\"TEAPOT\""], Closed, Never),
        (
            json!({"fault": "error", "status": 599, "code": "TEAPOT"}),
            &[" 599 ", "\"TEAPOT\""],
            Closed,
            Either,
        ),
        (
            json!({"fault": "answer", "status": 200, "headers": {"a": "b"}, "body": "c"}),
            &["a: b\r\n", "\r\n\r\nc"],
            Closed,
            Either,
        ),
        (
            json!({"fault": "wrong-content-type"}),
            &[" 200 ", "content-type: text/html", envelope],
            Closed,
            Ever,
        ),
        (json!({"fault": "delay", "milliseconds": 1}), &[" 200 ", envelope], Closed, Ever),
        (json!({"fault": "clock-skew", "seconds": 0}), &[" 200 ", envelope], Closed, Ever),
        (json!({"fault": "bad-gateway", "action": "DescribeInstances"}), &[" 200 "], Closed, Ever),
        (json!({"fault": "bad-gateway", "share": 0}), &[" 200 "], Closed, Ever),
    ] {
        if effect != Either {
            check(&simulator, &fault, says, end, effect);
            continue;
        }
        for (applied, effect) in [(json!(false), Never), (json!(true), Ever)] {
            let mut fault = fault.clone();
            fault["applied"] = applied;
            check(&simulator, &fault, says, end, effect);
        }
    }
}

#[test]
fn a_partial_answer_stops_where_it_says() {
    let simulator = simulator(Duration::ZERO);
    order(&simulator, &json!({"fault": "partial-head"}));
    assert!(!reset(&simulator, Duration::from_secs(5)).0.contains("\r\n\r\n"));
    order(&simulator, &json!({"fault": "partial-body"}));
    let (text, _) = reset(&simulator, Duration::from_secs(5));
    let announced: usize = header(&text, "content-length").and_then(|n| n.parse().ok()).expect("a length");
    let sent = text.split_once("\r\n\r\n").expect("a head").1.len();
    assert_eq!(sent, announced / 2, "{text}");
}

#[test]
fn a_huge_body_has_the_size_it_should_and_is_good_json() {
    let simulator = simulator(Duration::ZERO);
    const BYTES: usize = 20 << 20;
    order(&simulator, &json!({"fault": "huge-body", "bytes": BYTES}));
    let (text, _) = reset(&simulator, Duration::from_secs(5));
    let body = text.split_once("\r\n\r\n").expect("a head").1;
    assert_eq!((body.len(), header(&text, "content-length")), (BYTES, Some(BYTES.to_string().as_str())));
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["requestId"], body["response"]["requestId"]);

    order(&simulator, &json!({"fault": "huge-body", "bytes": 40_000, "chunked": true}));
    let (text, _) = reset(&simulator, Duration::from_secs(5));
    assert_eq!(header(&text, "transfer-encoding"), Some("chunked"));
    let chunks = text.split_once("\r\n\r\n").expect("a head").1.strip_suffix("0\r\n\r\n").expect("the last");
    let (sizes, parts): (Vec<_>, Vec<_>) =
        chunks.split_terminator("\r\n").enumerate().partition(|(n, _)| n % 2 == 0);
    let parts: Vec<&str> = parts.into_iter().map(|(_, part)| part).collect();
    let lengths: Vec<String> = parts.iter().map(|part| format!("{:x}", part.len())).collect();
    assert_eq!(sizes.into_iter().map(|(_, size)| size).collect::<Vec<_>>(), lengths);
    assert_eq!(parts.concat().len(), 40_000);
    serde_json::from_str::<Value>(&parts.concat()).expect("JSON");
}

#[test]
fn a_clock_that_is_off_shows_in_the_date_and_judges_signatures() {
    let simulator = simulator(Duration::ZERO);
    for (seconds, signed_off_by, verdict) in [
        (290, 0, "ok"),
        (-290, 0, "ok"),
        (310, 0, "AUTHFAILURE_SIGNATURE_EXPIRED"),
        (-310, 0, "AUTHFAILURE_SIGNATURE_EXPIRED"),
        (86_400, 86_400, "ok"),
    ] {
        order(&simulator, &json!({"fault": "clock-skew", "seconds": seconds}));
        let mut stream = connect(&simulator);
        let request = last_reset_at(Timestamp::now().as_second() + signed_off_by);
        stream.write_all(request.as_bytes()).expect("sent");
        let (text, _) = heard(&mut stream);
        assert!((seconds_from_now(&text, "date") - seconds).abs() <= 2, "{seconds}: {text}");
        let call = calls(&simulator).pop().expect("a call");
        assert_eq!(
            (&call["verdict"], &call["applied"]),
            (&json!(verdict), &json!(verdict == "ok")),
            "{seconds}"
        );
    }
}

#[test]
fn a_wait_can_be_told_as_a_date() {
    let simulator = simulator(Duration::ZERO);
    for name in ["rate-limited", "unavailable"] {
        order(&simulator, &json!({"fault": name, "retryAfterSeconds": 90, "retryAfterDate": true}));
        let (text, _) = reset(&simulator, Duration::from_secs(5));
        assert!((88..=92).contains(&seconds_from_now(&text, "retry-after")), "{text}");
    }
}

#[test]
fn a_delay_holds_the_answer_back_and_not_the_record() {
    let simulator = simulator(Duration::ZERO);
    order(&simulator, &json!({"fault": "delay", "milliseconds": 800, "jitterMilliseconds": 10}));
    let started = Instant::now();
    let mut stream = connect(&simulator);
    stream.write_all(last_reset().as_bytes()).expect("sent");
    while calls(&simulator).is_empty() {
        assert!(started.elapsed() < Duration::from_millis(800), "recorded before it is answered");
    }
    assert!(heard(&mut stream).0.starts_with("HTTP/1.1 200 "));
    assert!(started.elapsed() >= Duration::from_millis(800));
}

#[test]
fn what_flaps_is_struck_only_while_down() {
    let simulator = simulator(Duration::ZERO);
    for (up, then, says, end, effect) in [
        (3_600_000, json!({"fault": "hang-before-read"}), &[" 200 "][..], Closed, Ever),
        (0, json!({"fault": "reset-before-read"}), &[], Reset, Unread),
        (0, json!({"fault": "unavailable", "applied": true}), &[" 503 "], Closed, Ever),
        (0, json!({"fault": "unavailable"}), &[" 503 "], Closed, Never),
    ] {
        let fault = json!({"fault": "flapping", "upMilliseconds": up, "downMilliseconds": 1, "then": then});
        check(&simulator, &fault, says, end, effect);
    }
}

#[test]
fn a_kept_connection_is_struck_before_its_next_call_is_read() {
    let simulator = simulator(Duration::ZERO);
    for (fault, end) in [("hang-before-read", Open), ("reset-before-read", Reset)] {
        control(&simulator, "DELETE", "faults", "");
        control(&simulator, "DELETE", "calls", "");
        let mut kept = connect(&simulator);
        kept.write_all(signed(RESET, GOOD).as_bytes()).expect("sent");
        assert_eq!(answer(&mut kept).map(|(status, _)| status), Some(200));
        order(&simulator, &json!({"fault": fault}));
        kept.set_read_timeout(Some(Duration::from_millis(if end == Open { 150 } else { 5000 })))
            .expect("set");
        kept.write_all(signed(RESET, GOOD).as_bytes()).expect("sent");
        assert_eq!(heard(&mut kept), (String::new(), end), "{fault}");
        assert_eq!(calls(&simulator).len(), 1, "{fault}: control calls go on, and the second was not read");
    }
}

#[test]
fn who_hangs_up_on_a_hang_is_let_go() {
    let simulator = simulator(Duration::ZERO);
    for fault in ["hang-before-read", "hang-after-read"] {
        order(&simulator, &json!({"fault": fault}));
        let mut stream = connect(&simulator);
        stream.write_all(last_reset().as_bytes()).expect("sent");
        stream.shutdown(Shutdown::Write).expect("half closed");
        let (text, end) = heard(&mut stream);
        assert!(text.is_empty() && end != Open, "{fault}: {text} {end:?}");
    }
}

#[test]
fn the_list_is_shown_as_it_was_given_and_a_bad_one_changes_nothing() {
    let simulator = simulator(Duration::ZERO);
    let rule = json!({"fault": "delay", "milliseconds": 120, "share": 0.5, "action": RESET});
    order(&simulator, &rule);
    let shown = control(&simulator, "GET", "faults", "").1;
    assert_eq!(shown, json!({"faults": [rule]}));
    let (status, answer) = control(&simulator, "POST", "faults", r#"[{"fault": "explode"}]"#);
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(status == 400 && message.contains("fault 1: unknown variant `explode`"), "{answer}");
    assert_eq!(control(&simulator, "GET", "faults", "").1, shown);
    assert_eq!(control(&simulator, "DELETE", "faults", "").0, 200);
    assert_eq!(control(&simulator, "GET", "faults", "").1, json!({"faults": []}));
}
