//! What is true of every answer.

use serde_json::json;

use crate::gateway::{PASSWORD, Setup, TestGateway, UPSTREAM_HEADERS, payments};
use crate::http::{raw, request};

#[test]
fn a_request_id_and_a_client_address_are_believed_only_from_a_trusted_proxy() {
    let trusting = TestGateway::with(Setup {
        overrides: &[("ZENGATE__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")],
        ..Setup::default()
    });
    let doubting = TestGateway::spawn();
    for (gateway, id, address) in
        [(&trusting, Some("edge-7"), "198.51.100.7"), (&doubting, None, "127.0.0.1")]
    {
        let bearer = format!("Bearer {}", payments());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("x-request-id", "edge-7"),
            ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
            ("forwarded", "for=203.0.113.1"),
            ("x-real-ip", "203.0.113.2"),
            ("user-agent", "portal/1"),
        ];
        let body = json!({ "password": PASSWORD }).to_string();
        let path = "/v1/instances/pay-1/password-resets";
        let answer = raw(gateway.address, &request("POST", path, &headers, Some(body.as_bytes())));
        assert_eq!(answer.status, 201, "{answer:?}");
        let given = answer.header("x-request-id").expect("an id").to_owned();
        match id {
            Some(id) => assert_eq!(given, id),
            None => assert_eq!((given.len(), given == "edge-7"), (32, false)),
        }
        assert_eq!(answer.json()["requestId"].as_str(), Some(given.as_str()));
        let intent = gateway.records_of("intent", 1).remove(0);
        assert_eq!(intent["clientAddress"].as_str(), Some(address));
        assert_eq!(intent["userAgent"], "portal/1");
        assert_eq!(intent["requestId"].as_str(), Some(given.as_str()));
    }
}

#[test]
fn nothing_of_the_callers_reaches_an_upstream_header() {
    let gateway = TestGateway::spawn();
    let bearer = format!("Bearer {}", payments());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json; charset=canary"),
        ("x-zc-action", "canary"),
        ("x-zc-version", "canary"),
        ("cookie", "canary"),
        ("user-agent", "canary"),
        ("x-request-id", "canary"),
        ("traceparent", "00-canary-canary-01"),
    ];
    let body = json!({ "password": PASSWORD, "reason": "canary", "ticket": "canary" }).to_string();
    let path = "/v1/instances/pay-1/password-resets";
    assert_eq!(raw(gateway.address, &request("POST", path, &headers, Some(body.as_bytes()))).status, 201);
    let calls = gateway.calls("ResetInstancePassword");
    let mut names: Vec<_> =
        calls[0]["headers"].as_object().expect("headers").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, UPSTREAM_HEADERS);
    assert!(!calls[0].to_string().contains("canary"), "{}", calls[0]);
    assert_eq!(calls[0]["body"], format!(r#"{{"instanceId":"pay-1","password":"{PASSWORD}"}}"#));
    assert_eq!(calls[0]["verdict"], "ok");
}

#[test]
fn the_trace_of_a_request_is_on_record_when_it_is_one() {
    let gateway = TestGateway::spawn();
    let bearer = format!("Bearer {}", payments());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let good = format!("00-{trace}-00f067aa0ba902b7-01");
    let other = good.replace("4bf9", "4bf8");
    for (place, (row, parents, taken)) in [
        ("one", vec![good.as_str()], true),
        ("none", vec![], false),
        ("two", vec![&good, &other], false),
        ("twice the same", vec![&good, &good], false),
        ("one that is none", vec!["00-canary-canary-01"], false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(parents.iter().map(|parent| ("traceparent", *parent)));
        headers.push(("tracestate", "rojo=canary"));
        let body = json!({ "password": PASSWORD }).to_string();
        let path = format!("/v1/instances/pay-{}/password-resets", place + 1);
        let told = raw(gateway.address, &request("POST", &path, &headers, Some(body.as_bytes())));
        assert_eq!(told.status, 201, "{row}: {told:?}");
        let intent = gateway.records_of("intent", place + 1).remove(place);
        assert_eq!(intent.get("traceId"), taken.then(|| json!(trace)).as_ref(), "{row}");
        let sent = gateway.calls("ResetInstancePassword")[place].to_string();
        assert!(!sent.contains(&trace[4..]) && !sent.contains("canary"), "{row}: {sent}");
    }
    // A refusal says it too.
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("traceparent", &good)];
    let body = json!({ "password": PASSWORD }).to_string();
    let path = "/v1/instances/web-1/password-resets";
    assert_eq!(raw(gateway.address, &request("POST", path, &headers, Some(body.as_bytes()))).status, 403);
    let refused = gateway.records_of("refused", 1).remove(0);
    assert_eq!((&refused["traceId"], &refused["v"]), (&json!(trace), &json!(2)));
}

#[test]
fn limits_stand_on_every_answer_past_authentication() {
    let gateway = TestGateway::spawn();
    let body = json!({ "password": PASSWORD }).to_string();
    let path = "/v1/instances/pay-1/password-resets";
    for (row, answer) in [
        ("201", gateway.call("POST", path, Some(&payments()), Some(&body))),
        ("429", gateway.call("POST", path, Some(&payments()), Some(&body))),
        ("400", gateway.call("POST", path, Some(&payments()), Some("{"))),
        ("400 by the query", gateway.call("POST", &format!("{path}?x=1"), Some(&payments()), Some(&body))),
        ("200", gateway.call("GET", "/v1/whoami", Some(&payments()), None)),
    ] {
        let limits = answer.header("ratelimit").unwrap_or_else(|| panic!("{row}: {answer:?}"));
        assert!(limits.starts_with(r#""caller";r="#), "{row}: {limits}");
        let policy = answer.header("ratelimit-policy").expect("the limits themselves");
        assert!(policy.starts_with(r#""caller";q=600;w=60"#), "{row}: {policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{row}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{row}");
    }
    let stranger = gateway.call("GET", "/v1/whoami", None, None);
    assert_eq!((stranger.status, stranger.header("ratelimit")), (401, None));
    assert_eq!(stranger.header("cache-control"), Some("no-store"));
}

#[test]
fn metrics_and_health_are_on_a_listener_of_their_own() {
    let gateway = TestGateway::spawn();
    gateway.reset(&payments(), "pay-1");
    gateway.reset(&payments(), "web-1");
    gateway.call("GET", "/no/such/route", None, None);
    for (series, value) in [
        (r#"zengate_resets_total{outcome="accepted"}"#, 1.0),
        (r#"zengate_decisions_total{decision="allow",team="payments"}"#, 1.0),
        (r#"zengate_decisions_total{decision="deny",team="payments"}"#, 1.0),
        (r#"zengate_upstream_requests_total{action="ResetInstancePassword",outcome="accepted"}"#, 1.0),
        (
            r#"zengate_http_requests_total{method="GET",problem="not-found",route="unmatched",status="404"}"#,
            1.0,
        ),
        ("zengate_policy_last_reload_successful", 1.0),
    ] {
        assert_eq!(gateway.metric(series), value, "{series} in\n{}", gateway.metrics());
    }
    let described = r#"zengate_upstream_requests_total{action="DescribeInstances",outcome="ok"}"#;
    assert!(gateway.metric(described) >= 1.0);
    let of = |path: &str| crate::http::call(gateway.operations, "GET", path, None, None);
    assert_eq!((of("/livez").status, of("/livez").json()["status"].as_str()), (200, Some("alive")));
    let ready = of("/readyz");
    assert_eq!((ready.status, &ready.json()["checks"]["trail"]), (200, &json!("ok")));
    assert_eq!(of("/v1/whoami").problem(), "not-found");
    assert_eq!(
        crate::http::call(gateway.operations, "POST", "/metrics", None, None).problem(),
        "method-not-allowed"
    );
}
