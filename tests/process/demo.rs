//! The demo as a newcomer runs it, and its answers against the specification.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::http::{Answer, call, raw, request};
use crate::support::{Process, address_of, python, root, run, said, tool, zengate};

#[test]
fn once_walks_the_tour_and_ends_well() {
    let output = run(&["demo", "--once"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for shown in [
        "\"status\": \"accepted\"",
        "urn:zengate:problem:forbidden",
        "`cooldown`",
        "`team` is spent",
        "\"kind\":\"intent\"",
    ] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
}

struct Recorder {
    gateway: std::net::SocketAddr,
    lines: Vec<Value>,
}

impl Recorder {
    fn record(&mut self, method: &str, route: &str, answer: Answer) -> Answer {
        let body = serde_json::from_str(&answer.body).unwrap_or_else(|_| json!(answer.body));
        let headers: serde_json::Map<_, _> =
            answer.headers.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        self.lines.push(json!({
            "method": method, "route": route, "status": answer.status,
            "contentType": answer.header("content-type"), "headers": headers, "body": body,
        }));
        answer
    }

    fn reset(&mut self, token: Option<&str>, instance: &str, body: &str) -> Answer {
        let path = format!("/v1/instances/{instance}/password-resets");
        let answer = call(self.gateway, "POST", &path, token, Some(body));
        self.record("POST", "/v1/instances/{instanceId}/password-resets", answer)
    }

    fn get(&mut self, token: Option<&str>, path: &str, route: &str) -> Answer {
        let answer = call(self.gateway, "GET", path, token, None);
        self.record("GET", route, answer)
    }
}

/// Everything a caller of the demo may be answered with.
fn exchange(
    recorder: &mut Recorder,
    simulator: std::net::SocketAddr,
    token: &str,
    ids: &[String],
    foreign: &str,
) {
    let good = r#"{"password":"Example~2026","reason":"r","ticket":"T-1"}"#;
    let (whoami, read) = ("/v1/whoami", "/v1/password-resets/{id}");
    assert_eq!(recorder.get(Some(token), whoami, whoami).status, 200);
    assert_eq!(recorder.get(None, whoami, whoami).status, 401);
    assert_eq!(recorder.get(Some(token), "/v1/whoami?team=web", whoami).status, 403);
    let made = recorder.reset(Some(token), &ids[0], good);
    assert_eq!(made.status, 201);
    let location = made.header("location").expect("a place").to_owned();
    assert_eq!(recorder.get(Some(token), &location, read).status, 200);
    assert_eq!(recorder.get(Some(token), "/v1/password-resets/x", read).status, 400);
    let unknown = "/v1/password-resets/019ab3f0-c4d2-7f5e-8d1c-2b3a49586774";
    assert_eq!(recorder.get(Some(token), unknown, read).status, 404);
    assert_eq!(recorder.reset(Some(token), &ids[0], good).status, 429);
    assert_eq!(recorder.reset(Some(token), foreign, good).status, 403);
    assert_eq!(recorder.reset(Some(token), &ids[1], "{}").status, 400);
    assert_eq!(recorder.reset(Some(token), &ids[1], r#"{"password":"short"}"#).status, 422);
    assert_eq!(recorder.reset(Some(token), &ids[1], &"x".repeat(70_000)).status, 413);
    assert_eq!(recorder.reset(None, &ids[1], good).status, 401);
    let bearer = format!("Bearer {token}");
    let text = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
    let path = format!("/v1/instances/{}/password-resets", ids[1]);
    let answer = raw(recorder.gateway, &request("POST", &path, &text, Some(b"x")));
    assert_eq!(recorder.record("POST", "/v1/instances/{instanceId}/password-resets", answer).status, 415);
    for (index, (status, body, expected)) in [
        (400, r#"{"requestId":"T1","code":"OPERATION_DENIED_INSTANCE_IN_OPERATION"}"#, 409),
        (403, r#"{"requestId":"T1","code":"AUTHFAILURE_UNAUTHORIZED_OPERATION"}"#, 502),
        (429, r#"{"requestId":"T1","code":"REQUEST_LIMIT_EXCEEDED"}"#, 503),
        (500, "", 504),
    ]
    .into_iter()
    .enumerate()
    {
        let fault =
            json!([{ "action": "ResetInstancePassword", "fault": "answer", "status": status, "body": body }]);
        assert_eq!(call(simulator, "POST", "/_simulator/faults", None, Some(&fault.to_string())).status, 200);
        assert_eq!(recorder.reset(Some(token), &ids[2 + index], good).status, expected);
    }
}

#[test]
fn a_served_demo_keeps_its_word_and_its_specification() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ready.json");
    let mut demo = Process::spawn(zengate().arg("demo").arg("--ready-file").arg(&file).stdout(Stdio::null()));
    let ready = demo.wait_for(&file);
    let text = |name: &str| ready[name].as_str().unwrap_or_else(|| panic!("{name} in {ready}")).to_owned();
    let ids = |team: &str| -> Vec<String> {
        let list = ready["instances"][team].as_array().expect("a list");
        list.iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
    };
    let (payments, web) = (ids("payments"), ids("web"));
    assert!(payments.len() >= 10 && web.len() >= 10, "{ready}");
    assert!(payments.iter().chain(&web).all(|id| id.len() == payments[0].len()), "ids of one length");
    let token = ready["tokens"]["payments"].as_str().expect("a token").to_owned();
    let gateway = address_of(&text("gatewayUrl"));
    let simulator = address_of(&text("upstreamUrl"));
    let config = text("configPath");
    let shipped = |name: &str| fs::read(root("policies").join(name));
    let beside = |name: &str| fs::read(std::path::Path::new(&config).with_file_name("policies").join(name));
    for name in
        ["schema.cedarschema", "global.cedar", "limits.toml", "teams/payments.cedar", "teams/web.cedar"]
    {
        assert_eq!(beside(name).expect(name), shipped(name).expect(name), "{name}");
    }
    let limits = call(gateway, "GET", "/v1/whoami", Some(&token), None).json();
    assert_eq!(
        (&limits["limits"][1]["remaining"], &limits["limits"][1]["burst"]),
        (&json!(100), &json!(100)),
        "untouched"
    );

    let mut recorder = Recorder { gateway, lines: Vec::new() };
    exchange(&mut recorder, simulator, &token, &payments, &web[0]);
    let recorded = folder.path().join("recorded.jsonl");
    let mut lines = fs::File::create(&recorded).expect("a file");
    recorder.lines.iter().for_each(|line| writeln!(lines, "{line}").expect("written"));
    let checked =
        python().args(["tests/tools/check_answers.py", "openapi/openapi.json"]).arg(&recorded).output();
    let checked = checked.expect("Python runs");
    assert!(checked.status.success(), "{}", said(&checked));

    let metrics = call(address_of(&text("opsUrl")), "GET", "/metrics", None, None).body;
    let mut promtool = tool("ZENGATE_TEST_PROMTOOL", "promtool");
    let mut promtool = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    promtool.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("written");
    let checked = promtool.wait_with_output().expect("promtool ends");
    assert!(checked.status.success() && said(&checked).is_empty(), "{}", said(&checked));

    for command in [vec!["check"], vec!["check", "--show"], vec!["audit", "verify"], vec!["audit", "export"]]
    {
        let output = zengate().args(&command).args(["--config", &config]).output().expect("runs");
        assert!(output.status.success(), "{command:?} beside the running gateway: {}", said(&output));
        assert!(!said(&output).contains(&text("upstreamAccessKeyPassword")), "{command:?} shows no secret");
    }
    demo.signal("-INT");
    assert_eq!(demo.ended().code(), Some(0), "SIGINT ends it well");
}

#[test]
fn an_independent_linter_accepts_the_specification() {
    let usual = "target/tools/node/node_modules/.bin/redocly lint --config tests/tools/redocly.yaml";
    let output =
        tool("ZENGATE_TEST_SPEC_LINT", usual).arg("openapi/openapi.json").output().expect("the linter runs");
    assert!(output.status.success(), "{}", said(&output));
}
