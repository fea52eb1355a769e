//! Zenlayer slow, busy, wrong and gone: what becomes of resets.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{FREE, Setup, TestGateway, payments, web};
use crate::proxy::Proxy;

fn with(overrides: &[(&str, &str)]) -> TestGateway {
    let overrides: Vec<_> =
        overrides.iter().map(|(key, value)| (format!("ZENGATE__UPSTREAM__{key}"), *value)).collect();
    let overrides: Vec<_> = overrides.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let gateway = TestGateway::with(Setup { limits: Some(FREE), overrides: &overrides, ..Setup::default() });
    gateway.refreshed();
    gateway
}

fn on_resets(mut fault: Value) -> Value {
    fault["action"] = json!("ResetInstancePassword");
    fault
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the record of an outcome says it took: calls, Zenlayer's milliseconds, all milliseconds.
fn took(outcome: &Value) -> (u64, u64, u64) {
    let number = |name: &str| outcome[name].as_u64().unwrap_or_else(|| panic!("{name} of {outcome}"));
    (number("attempts"), number("upstreamMs"), number("totalMs"))
}

#[test]
fn a_late_answer_corrects_an_unknown_outcome() {
    let gateway = with(&[]);
    gateway.fault(on_resets(json!({ "fault": "delay", "milliseconds": 3500 })));
    let told = gateway.reset(&payments(), "pay-1");
    assert_eq!((told.status, told.problem().as_str()), (504, "outcome-unknown"), "{told:?}");
    let location = told.header("location").expect("where to look").to_owned();
    let status = || gateway.get(&location, &payments()).json()["status"].clone();
    assert_eq!(status(), "unknown");
    wait("the answer comes", || status() == "accepted");
    let outcomes = gateway.records_of("outcome", 2);
    let told: Vec<_> = outcomes.iter().map(|record| (&record["outcome"], &record["cause"])).collect();
    assert_eq!(told, [(&json!("unknown"), &Value::Null), (&json!("accepted"), &json!("late answer"))]);
    for name in ["resetId", "requestId", "team", "instanceId"] {
        assert!(
            outcomes[0][name].is_string() && outcomes[0][name] == outcomes[1][name],
            "{name}: {outcomes:?}"
        );
    }
    let [given_up, late] = [0, 1].map(|n| took(&outcomes[n]));
    assert_eq!((given_up.0, late.0), (1, 1), "{outcomes:?}");
    assert!((2000..3500).contains(&given_up.1) && given_up.1 <= given_up.2, "until given up: {outcomes:?}");
    assert!((3500..9000).contains(&late.1) && late.1 <= late.2, "until the answer came: {outcomes:?}");
    assert_eq!(gateway.metric(r#"zengate_resets_corrected_total{outcome="accepted"}"#), 1.0);
    assert_eq!(gateway.resets_sent(), 1, "and nothing was sent again");
}

#[test]
fn an_answer_that_begins_too_late_is_given_up_earlier() {
    let gateway = with(&[("TIMEOUT_SECONDS", "10"), ("FIRST_BYTE_TIMEOUT_SECONDS", "1")]);
    gateway.fault(on_resets(json!({ "fault": "hang-after-read" })));
    let began = Instant::now();
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 504);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn what_zenlayer_did_not_take_is_tried_again_and_what_is_unclear_is_not() {
    let gateway = with(&[]);
    let busy = json!({ "fault": "answer", "status": 429, "share": 0.5, "body": r#"{"requestId":"T1","code":"REQUEST_LIMIT_EXCEEDED"}"# });
    gateway.fault(on_resets(busy));
    let statuses: Vec<u16> =
        (1..=4).map(|n| gateway.reset(&payments(), &format!("pay-{n}")).status).collect();
    assert_eq!(statuses, [201; 4]);
    let retried = gateway.metric(r#"zengate_upstream_retries_total{outcome="rejected"}"#);
    assert!(retried >= 2.0 && gateway.resets_sent() == 4 + retried as usize, "{retried} tries more");
    let took: Vec<_> = gateway.records_of("outcome", 4).iter().map(took).collect();
    let attempts: u64 = took.iter().map(|(attempts, _, _)| attempts).sum();
    assert_eq!(attempts, 4 + retried as u64, "{took:?}");
    assert!(took.iter().all(|(_, upstream, total)| upstream <= total), "{took:?}");
    gateway.fault(on_resets(json!({ "fault": "answer", "status": 500, "body": "" })));
    let sent = gateway.resets_sent();
    assert_eq!(gateway.reset(&payments(), "pay-5").status, 504);
    assert_eq!(gateway.resets_sent(), sent + 1, "unclear, so it is not sent again");
}

#[test]
fn tries_are_bounded() {
    let gateway = with(&[]);
    gateway.fault(on_resets(
        json!({ "fault": "answer", "status": 429, "body": r#"{"code":"REQUEST_LIMIT_EXCEEDED"}"# }),
    ));
    let told = gateway.reset(&payments(), "pay-1");
    assert_eq!((told.status, told.json()["upstreamCode"].as_str()), (503, Some("REQUEST_LIMIT_EXCEEDED")));
    assert_eq!(gateway.resets_sent(), 3, "once, and twice more");
}

#[test]
fn what_was_surely_not_sent_is_tried_again_until_zenlayer_is_back() {
    let lender = TestGateway::spawn();
    let mut proxy = Proxy::to(lender.simulator.addr());
    let url = format!("http://{}", proxy.address);
    let gateway = with(&[("URL", &url), ("RETRY_SECONDS", "10"), ("RETRIES", "5")]);
    proxy.close();
    let token = payments();
    let told = std::thread::scope(|scope| {
        let call = scope.spawn(|| gateway.reset(&token, "pay-1"));
        wait("it was tried", || {
            gateway.metric(r#"zengate_upstream_retries_total{outcome="not_sent"}"#) > 0.0
        });
        proxy.reopen();
        call.join().expect("answered")
    });
    assert_eq!(told.status, 201, "{told:?}");
    assert_eq!(lender.resets_sent(), 1);
    let outcome = gateway.records_of("outcome", 1).remove(0);
    let (attempts, upstream, total) = took(&outcome);
    assert!(attempts >= 2 && upstream <= total, "{outcome}");

    proxy.close();
    let told = gateway.reset(&token, "pay-2");
    assert_eq!((told.status, told.problem().as_str()), (503, "unavailable"), "{told:?}");
    let read = gateway.get(told.header("location").expect("a reset"), &token).json();
    assert_eq!(read["status"], "not_sent");
    assert_eq!(lender.resets_sent(), 1);
    let outcome = gateway.records_of("outcome", 2).remove(1);
    assert!(outcome["attempts"].as_u64() > Some(1) && outcome["totalMs"].is_u64(), "{outcome}");
    assert_eq!(outcome.get("upstreamMs"), None, "nothing was sent: {outcome}");
}

#[test]
fn the_circuit_opens_before_the_intent_and_closes_again() {
    let gateway = with(&[("CIRCUIT_OPEN_SECONDS", "2")]);
    let state = |state: &str| {
        gateway
            .metric(&format!(r#"zengate_upstream_circuit{{action="ResetInstancePassword",state="{state}"}}"#))
    };
    gateway.fault(on_resets(json!({ "fault": "answer", "status": 503, "body": "" })));
    for n in 1..=10 {
        assert_eq!(gateway.reset(&payments(), &format!("pay-{n}")).status, 504);
    }
    assert_eq!((state("open"), state("closed")), (1.0, 0.0));
    let told = gateway.reset(&payments(), "pay-11");
    assert_eq!((told.status, told.problem().as_str()), (503, "unavailable"), "{told:?}");
    assert!(told.header("retry-after").is_some() && told.header("location").is_none(), "no intent: {told:?}");
    assert_eq!(gateway.resets_sent(), 10);
    assert_eq!(gateway.records_of("refused", 1)[0]["refused"], "circuit");
    gateway.records_of("intent", 10);
    assert_eq!(gateway.get("/v1/instances/pay-1", &payments()).status, 200, "reading goes on");
    assert_eq!(gateway.metric(r#"zengate_upstream_refused_total{reason="circuit-open"}"#), 1.0);

    gateway.faults(json!([]));
    wait("one may try, and it succeeds", || gateway.reset(&payments(), "pay-12").status == 201);
    assert_eq!((state("open"), state("closed")), (0.0, 1.0));
}

#[test]
fn overload_is_shed_at_once_and_what_is_admitted_is_answered() {
    let gateway = with(&[
        ("REQUESTS_PER_SECOND", "20"),
        ("MAX_CONCURRENT", "8"),
        ("QUEUE", "20"),
        ("QUEUE_SECONDS", "1"),
    ]);
    let (seconds, ended) = (10, AtomicBool::new(false));
    let (made, shed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tokens = [payments(), web()];
    let began = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..60 {
            let (token, instance) = if n % 2 == 0 { (&tokens[0], "pay-1") } else { (&tokens[1], "web-1") };
            let (ended, made, shed, gateway) = (&ended, &made, &shed, &gateway);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let told = gateway.reset(token, instance);
                    assert!(
                        asked.elapsed() < Duration::from_secs(5),
                        "nobody waits long: {:?}",
                        asked.elapsed()
                    );
                    match told.status {
                        201 => _ = made.fetch_add(1, Ordering::Relaxed),
                        503 => {
                            assert!(told.header("retry-after").is_some(), "{told:?}");
                            shed.fetch_add(1, Ordering::Relaxed);
                            // Callers that are told to wait do so, a little.
                            std::thread::sleep(Duration::from_millis(100));
                        }
                        _ => panic!("{told:?}"),
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_secs(seconds));
        ended.store(true, Ordering::Relaxed);
    });
    let (made, shed, took) = (made.into_inner(), shed.into_inner(), began.elapsed().as_secs_f64());
    let sent = gateway.resets_sent();
    assert_eq!(sent, made, "each admitted one was sent once and answered");
    // A second's worth at once, and then so many a second; refreshes of the inventory take some.
    assert!(made as f64 <= 20.0 + 20.0 * took + 1.0, "{made} in {took} s");
    assert!(made >= 120, "the budget is used: {made}");
    assert!(shed > 50, "there was overload: {shed}");
    wait("it recovers", || gateway.reset(&tokens[0], "pay-1").status == 201);
    let teams = gateway.calls("ResetInstancePassword");
    let of_web =
        teams.iter().filter(|call| call["body"].as_str().is_some_and(|body| body.contains("web-1"))).count();
    assert!(of_web * 3 > sent && of_web * 3 < sent * 2, "shared fairly: {of_web} of {sent}");
}

#[test]
fn a_rotation_of_the_access_key_under_load_fails_no_reset() {
    let gateway = with(&[]);
    let zenlayer_takes = |passwords: &[&str]| {
        let keys: Vec<_> =
            passwords.iter().map(|password| json!({ "id": "ak-test", "password": password })).collect();
        let (address, body) = (gateway.simulator.addr(), json!(keys).to_string());
        let told = crate::http::call(address, "PUT", "/_simulator/access-keys", None, Some(&body));
        assert_eq!(told.status, 200, "{told:?}");
    };
    let file = gateway.folder.path().join("access-key-password");
    let signed_by = |revision: f64| gateway.metric("zengate_access_key_changes_total") == revision;
    let (ended, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let token = payments();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let told = gateway.reset(&token, "pay-1");
                    assert_eq!(told.status, 201, "{told:?}");
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Half of a rotation, say: Zenlayer never takes it, so the one before it stays the one to fall back on.
        std::fs::write(&file, "sk-half").expect("written");
        wait("the half key signs", || signed_by(1.0));
        std::thread::sleep(Duration::from_millis(300));
        for (turn, before, password) in [(2, "sk-test", "sk-second"), (3, "sk-second", "sk-third")] {
            // The gateway has the new key before Zenlayer does; until then the one before is tried.
            std::fs::write(&file, password).expect("written");
            wait("the new key signs", || signed_by(turn.into()));
            std::thread::sleep(Duration::from_millis(300));
            zenlayer_takes(&[before, password]);
            std::thread::sleep(Duration::from_millis(300));
            zenlayer_takes(&[password]);
            std::thread::sleep(Duration::from_millis(300));
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(made.into_inner() > 20, "there was load");
    assert!(gateway.metric("zengate_access_key_previous_tried_total") > 0.0, "the overlap was needed");

    std::fs::write(&file, "").expect("written");
    wait("an empty file is told", || gateway.metric("zengate_access_key_last_read_successful") == 0.0);
    assert_eq!(gateway.reset(&token, "pay-1").status, 201, "and changes nothing");
}

#[test]
fn a_clock_that_is_off_is_named() {
    let gateway = with(&[]);
    gateway.fault(on_resets(json!({ "fault": "clock-skew", "seconds": 400 })));
    let told = gateway.reset(&payments(), "pay-1");
    assert_eq!(
        (told.status, told.json()["upstreamCode"].as_str()),
        (502, Some("AUTHFAILURE_SIGNATURE_EXPIRED"))
    );
    let offset = gateway.metric("zengate_upstream_clock_offset_seconds");
    assert!((-402.0..=-398.0).contains(&offset), "we are behind: {offset}");
    let errors = r#"zengate_upstream_errors_total{action="ResetInstancePassword",code="AUTHFAILURE_SIGNATURE_EXPIRED"}"#;
    assert_eq!(gateway.metric(errors), 1.0);
}

#[test]
fn only_a_refusal_is_tried_with_the_key_before() {
    let gateway = with(&[]);
    let file = gateway.folder.path().join("access-key-password");
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201, "the key is proven");
    std::fs::write(&file, "sk-second").expect("written");
    wait("the new key signs", || gateway.metric("zengate_access_key_changes_total") == 1.0);
    let body = r#"{"requestId":"T1","code":"AUTHFAILURE_SIGNATURE_FAILURE"}"#;
    for status in [500, 503, 302, 202] {
        gateway.fault(on_resets(
            json!({ "fault": "answer", "status": status, "body": body, "applied": status >= 500 }),
        ));
        let sent = gateway.resets_sent();
        assert_eq!(gateway.reset(&payments(), "pay-2").status, 504, "{status}: unclear");
        assert_eq!(gateway.resets_sent(), sent + 1, "{status}: so it is not sent again");
    }
}

#[test]
fn an_absurd_wait_is_no_panic() {
    let gateway = with(&[]);
    let headers = json!({ "retry-after": u64::MAX.to_string() });
    let body = r#"{"code":"REQUEST_LIMIT_EXCEEDED"}"#;
    gateway.fault(on_resets(json!({ "fault": "answer", "status": 429, "headers": headers, "body": body })));
    let told = gateway.reset(&payments(), "pay-1");
    assert_eq!((told.status, told.header("retry-after")), (503, Some("3600")), "{told:?}");
    assert_eq!(gateway.records_of("outcome", 1)[0]["outcome"], "rejected");
}

#[test]
fn an_interim_answer_never_leaves_the_real_one_to_the_next_call() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = std::thread::spawn(move || {
        for (n, interim) in
            ["HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", ""].into_iter().enumerate()
        {
            let (mut stream, _) = listener.accept().expect("a connection of its own");
            let mut chunk = [0; 4096];
            while !String::from_utf8_lossy(&chunk).contains("password") {
                assert!(std::io::Read::read(&mut stream, &mut chunk).expect("a request") > 0);
            }
            std::io::Write::write_all(&mut stream, interim.as_bytes()).expect("written");
            let body = format!(r#"{{"requestId":"T-{n}"}}"#);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            // The client may have given the connection up, as it should.
            _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    let client = crate::not_sent::client(&url, "");
    actix_web::rt::System::new().block_on(async {
        for _ in 0..2 {
            let told = crate::not_sent::call(&client).await;
            assert!(matches!(told, Err(zengate::http::CallError::Unanswered(_))), "{told:?}");
        }
        let told = crate::not_sent::call(&client).await.expect("answered");
        assert_eq!(told.request_id.as_deref(), Some("T-2"), "its own answer, and no other's");
    });
    server.join().expect("three connections");
}

#[test]
fn further_headers_can_be_signed() {
    let gateway = with(&[("SIGNED_HEADERS", "content-type,host,x-zc-action,x-zc-version,x-zc-timestamp")]);
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201, "the simulated Zenlayer honours the list");
    let calls = gateway.calls("ResetInstancePassword");
    let authorization = calls[0]["headers"]["authorization"].as_str().expect("a header");
    let list = "SignedHeaders=content-type;host;x-zc-action;x-zc-timestamp;x-zc-version,";
    assert!(authorization.contains(list), "{authorization}");
}
