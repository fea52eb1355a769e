//! What Zenlayer does, and what the caller and the trail are told of it.

use serde_json::{Value, json};

use crate::gateway::{PASSWORD, Setup, TestGateway, payments};

fn answer(status: u16, headers: Value, body: &str) -> Value {
    json!({ "action": "ResetInstancePassword", "fault": "answer", "status": status, "headers": headers, "body": body })
}

#[test]
fn each_answer_of_zenlayers_has_its_status_and_its_outcome() {
    let gateway = TestGateway::spawn();
    let coded = |code: &str| format!(r#"{{"requestId":"T-42","code":"{code}","message":"m"}}"#);
    let html = json!({ "content-type": "text/html", "cf-mitigated": "challenge" });
    for (index, (row, fault, status, problem, outcome)) in [
        (
            "a malformed password",
            answer(400, json!({}), &coded("INVALID_PASSWORD_MALFORMED")),
            422,
            "invalid-value",
            "rejected",
        ),
        (
            "busy",
            answer(400, json!({}), &coded("OPERATION_DENIED_INSTANCE_IN_OPERATION")),
            409,
            "instance-not-ready",
            "rejected",
        ),
        (
            "gone meanwhile",
            answer(404, json!({}), &coded("INVALID_INSTANCE_NOT_FOUND")),
            404,
            "not-found",
            "rejected",
        ),
        (
            "a bad signature",
            answer(401, json!({}), &coded("AUTHFAILURE_SIGNATURE_FAILURE")),
            502,
            "upstream-refused",
            "rejected",
        ),
        ("an unknown code", answer(418, json!({}), &coded("TEAPOT")), 502, "upstream-refused", "rejected"),
        ("the firewall", answer(403, html, "<html>"), 502, "upstream-refused", "rejected"),
        ("451", answer(451, json!({}), ""), 502, "upstream-refused", "rejected"),
        (
            "timed out at Zenlayer",
            answer(400, json!({}), &coded("REQUEST_TIMED_OUT")),
            504,
            "outcome-unknown",
            "unknown",
        ),
        ("500", answer(500, json!({}), &coded("INTERNAL_SERVER_ERROR")), 504, "outcome-unknown", "unknown"),
        ("200 with a code", answer(200, json!({}), &coded("X")), 504, "outcome-unknown", "unknown"),
        ("200 in HTML", answer(200, json!({}), "<html>"), 504, "outcome-unknown", "unknown"),
        (
            "a redirect",
            answer(302, json!({ "location": "http://127.0.0.1:1/" }), ""),
            504,
            "outcome-unknown",
            "unknown",
        ),
        (
            "closed after reading",
            json!({ "action": "ResetInstancePassword", "fault": "close-after-read" }),
            504,
            "outcome-unknown",
            "unknown",
        ),
        (
            "an answer that is too large",
            answer(200, json!({}), &"x".repeat(65 << 10)),
            504,
            "outcome-unknown",
            "unknown",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        gateway.fault(fault);
        let told = gateway.reset(&payments(), &format!("pay-{}", index + 1));
        assert_eq!((told.status, told.problem().as_str()), (status, problem), "{row}: {told:?}");
        let location = told.header("location").unwrap_or_else(|| panic!("{row}: {told:?}")).to_owned();
        assert!(location.ends_with(told.json()["resetId"].as_str().expect("an id")), "{row}");
        let read = gateway.call("GET", &location, Some(&payments()), None).json();
        assert_eq!(read["status"], outcome, "{row}");
        assert_eq!(read.get("upstreamCode"), told.json().get("upstreamCode"), "{row}");
        if row == "500" {
            assert_eq!(told.json()["upstreamRequestId"], "T-42", "Zenlayer's request id is never lost");
        }
    }
}

#[test]
fn zenlayer_s_own_limit_is_told_and_holds_all_calls_back() {
    let gateway = TestGateway::spawn();
    let body = r#"{"requestId":"T-42","code":"REQUEST_LIMIT_EXCEEDED","message":"m"}"#;
    gateway.fault(answer(429, json!({ "retry-after": "7" }), body));
    let told = gateway.reset(&payments(), "pay-1");
    assert_eq!((told.status, told.problem().as_str()), (503, "unavailable"), "{told:?}");
    assert_eq!((told.header("retry-after"), &told.json()["upstreamRequestId"]), (Some("7"), &json!("T-42")));
    assert_eq!(gateway.resets_sent(), 1, "7 s are longer than a reset is tried again");
    let told = gateway.reset(&payments(), "pay-2");
    assert_eq!(told.status, 503, "{told:?}");
    assert_eq!(gateway.resets_sent(), 1, "nor is another tried meanwhile");
    let waits: u64 = told.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((2..=7).contains(&waits), "{waits}");
    let ratio = gateway.metric("zengate_upstream_rate_ratio");
    assert!((0.5..0.9).contains(&ratio), "half, and recovering: {ratio}");
}

#[test]
fn a_hang_after_reading_is_unknown_and_is_not_sent_again() {
    let gateway = TestGateway::spawn();
    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "hang-after-read", "applied": true }));
    let told = gateway.reset(&payments(), "pay-1");
    assert_eq!((told.status, told.problem().as_str()), (504, "outcome-unknown"), "{told:?}");
    assert_eq!(gateway.resets_sent(), 1);
    assert_eq!(gateway.metric(r#"zengate_resets_total{outcome="unknown"}"#), 1.0);
}

#[test]
fn a_delay_within_the_timeout_is_waited_for() {
    let gateway = TestGateway::spawn();
    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 700 }));
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
}

#[test]
fn nothing_is_decided_on_an_instance_that_cannot_be_seen() {
    let config = &[("ZENGATE__INVENTORY__MAX_AGE_SECONDS", "1")];
    let gateway = TestGateway::with(Setup { overrides: config, ..Setup::default() });
    gateway.refreshed();
    let describe = |status: u16, body: &str| json!({ "action": "DescribeInstances", "fault": "answer", "status": status, "body": body });
    for (row, fault) in [
        ("an error", describe(500, "")),
        ("a refusal", describe(401, r#"{"code":"AUTHFAILURE_SIGNATURE_FAILURE"}"#)),
        ("garbage", describe(200, "garbage")),
        ("no list", describe(200, r#"{"requestId":"T","response":{"totalCount":1}}"#)),
        ("closed", json!({ "action": "DescribeInstances", "fault": "close-after-read" })),
    ] {
        gateway.fault(fault);
        // By then what was known is too old to be decided on.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let told = gateway.reset(&payments(), "pay-1");
        assert_eq!((told.status, told.problem().as_str()), (503, "unavailable"), "{row}: {told:?}");
        assert!(told.header("retry-after").is_some(), "{row}");
        assert!(
            !told.body.contains("SIGNATURE"),
            "{row}: the gateway's own trouble is not the caller's to read"
        );
    }
    assert_eq!(gateway.resets_sent(), 0);
    assert_eq!(gateway.records_of("refused", 5)[0]["refused"], "inventory");
}

#[test]
fn readiness_is_judged_before_anything_is_charged_or_sent() {
    let gateway = TestGateway::spawn();
    for (row, fields, status) in [
        ("stopped", json!({ "status": "STOPPED" }), 409),
        ("booting", json!({ "status": "BOOTING" }), 409),
        ("no agent", json!({ "status": "RUNNING", "enableAgent": false }), 409),
        ("nothing told", json!({ "status": null, "enableAgent": null }), 201),
    ] {
        gateway.set_instance("pay-1", fields);
        let told = gateway.reset(&payments(), "pay-1");
        assert_eq!(told.status, status, "{row}: {told:?}");
    }
    assert_eq!(gateway.resets_sent(), 1, "the refused ones cost neither a call nor the cool-down");
    // A word of Zenlayer's that is new is no error: Zenlayer itself knows what it means.
    gateway.set_instance("pay-2", json!({ "status": "HIBERNATED" }));
    let told = gateway.reset(&payments(), "pay-2").json();
    assert_eq!(told["upstreamCode"], "OPERATION_DENIED_INSTANCE_NOT_RUNNING", "{told}");
}

#[test]
fn what_is_answered_is_what_zenlayer_did() {
    let gateway = TestGateway::spawn();
    let told = gateway.reset(&payments(), "pay-1").json();
    assert_eq!(
        (&told["kind"], &told["status"], &told["team"]),
        (&json!("reset"), &json!("accepted"), &json!("payments"))
    );
    assert!(told["upstreamRequestId"].as_str().is_some_and(|id| id.starts_with('T')), "{told}");
    let intent = gateway.records_of("intent", 1).remove(0);
    assert_eq!(
        (&told["receipt"]["sequence"], &told["receipt"]["writer"]),
        (&intent["sequence"], &intent["writer"])
    );
    assert_eq!(told.get("password"), None);
    let held = crate::http::call(gateway.simulator.addr(), "GET", "/_simulator/instances", None, None).json();
    let held =
        held["instances"].as_array().expect("a list").iter().find(|i| i["instanceId"] == "pay-1").cloned();
    let held = held.expect("the instance");
    assert_eq!((&held["password"], &held["resets"]), (&json!(crate::gateway::PASSWORD), &json!(1)));
}

#[test]
fn an_answer_that_tells_the_password_back_is_not_kept_in_its_words() {
    let gateway = TestGateway::spawn();
    for (instance, status, code, told) in [("pay-1", 200, None, 201), ("pay-2", 400, Some("INVALID_"), 502)] {
        let mut body = json!({ "requestId": format!("T-{PASSWORD}") });
        if let Some(code) = code {
            body["code"] = json!(format!("{code}{PASSWORD}"));
        }
        gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "answer", "status": status, "body": body.to_string() }));
        let answer = gateway.reset(&payments(), instance);
        assert_eq!(answer.status, told, "{answer:?}");
        assert!(!answer.body.contains(PASSWORD), "{answer:?}");
    }
    let records = gateway.records_of("outcome", 2);
    assert!(!format!("{records:?}").contains(PASSWORD), "{records:#?}");
}
