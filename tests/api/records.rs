//! The records against docs/audit.md, by the words of that page alone.

use serde_json::{Value, from_str, json};
use sha2::{Digest, Sha256};

use crate::gateway::{PASSWORD, Setup, TestGateway, payments};
use crate::http::{raw, request};
use crate::keys::{claims, token};

const PAGE: &str = include_str!("../../docs/audit.md");

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The block of the page with this mark, behind this heading.
fn block(heading: &str, mark: &str) -> &'static str {
    let (_, section) = PAGE.split_once(heading).expect("the heading");
    let (_, block) = section.split_once(&format!("```{mark}\n")).expect("a block");
    block.split_once("```").expect("its end").0
}

/// Path, action and version, as the page's example has them.
fn constants() -> [&'static str; 3] {
    let lines: Vec<_> = block("### The digest of what is sent", "text").lines().collect();
    let [_, path, action, version, _] = lines[..] else { panic!("five lines: {lines:?}") };
    [path, action, version]
}

#[test]
fn the_records_of_the_page_are_what_it_says() {
    let records: Vec<_> = block("### Bytes and hash", "json").lines().collect();
    let [intent, outcome] = records[..] else { panic!("two records: {records:?}") };
    let [told, ended]: [Value; 2] = [intent, outcome].map(|text| from_str(text).expect("JSON"));
    assert_eq!(ended["previous"], sha256(intent));
    assert_eq!(told["digest"], sha256(block("### The digest of what is sent", "text")));
    // Every field of the two stands in the table.
    for name in [&told, &ended].into_iter().flat_map(|record| record.as_object().expect("an object").keys()) {
        assert!(PAGE.contains(&format!("\n| `{name}` |")), "{name}");
    }
}

#[test]
fn an_auditor_recomputes_the_digest_from_what_zenlayer_received() {
    let gateway = TestGateway::spawn();
    let [path, action, version] = constants();
    for (place, instance) in ["pay-1", "pay-2"].into_iter().enumerate() {
        assert_eq!(gateway.reset(&payments(), instance).status, 201);
        let host = gateway.simulator.addr();
        let digest = sha256(&format!("{host}\n{path}\n{action}\n{version}\n{instance}\n"));
        assert_eq!(gateway.records_of("intent", place + 1)[place]["digest"], digest, "{instance}");
        let sent = &gateway.calls("ResetInstancePassword")[place];
        let (headers, body) = (&sent["headers"], sent["body"].as_str().expect("a text"));
        let body: Value = from_str(body).expect("JSON");
        let lines = [
            &headers["host"],
            &path.into(),
            &headers["x-zc-action"],
            &headers["x-zc-version"],
            &body["instanceId"],
        ];
        let text: String = lines.map(|line| format!("{}\n", line.as_str().expect("a text"))).concat();
        assert_eq!(sha256(&text), digest, "{instance}: {sent}");
    }
    assert_eq!(gateway.metric("zengate_upstream_digest_mismatches_total"), 0.0);
}

#[test]
fn an_action_of_the_configuration_s_is_in_the_digest() {
    let overrides = &[("ZENGATE__UPSTREAM__ACTION", "ResetPasswords")];
    let gateway = TestGateway::with(Setup { overrides, ..Setup::default() });
    gateway.reset(&payments(), "pay-1");
    let (host, [path, _, version]) = (gateway.simulator.addr(), constants());
    let digest = sha256(&format!("{host}\n{path}\nResetPasswords\n{version}\npay-1\n"));
    assert_eq!(gateway.records_of("intent", 1)[0]["digest"], digest);
    assert_eq!(gateway.calls("ResetPasswords").len(), 1, "and it was sent");
}

#[test]
fn what_callers_write_is_bounded_and_holds_no_control_character() {
    let gateway = TestGateway::spawn();
    let long = format!("a\0b\u{1b}c\u{9b}d\\u0000{}", "x".repeat(300));
    let mut claims = claims("alice", json!(["payments"]));
    (claims["azp"], claims["jti"], claims["act"]) = (json!(long), json!(long), json!({ "sub": long }));
    let (bearer, agent) = (format!("Bearer {}", token(&claims)), format!("a\tb{}", "x".repeat(300)));
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("user-agent", agent.as_str()),
    ];
    let body = json!({ "password": PASSWORD }).to_string();
    let path = "/v1/instances/pay-1/password-resets";
    assert_eq!(raw(gateway.address, &request("POST", path, &headers, Some(body.as_bytes()))).status, 201);
    let intent = gateway.records_of("intent", 1).remove(0);
    let of_tokens = format!("abcd\\u0000{}", "x".repeat(245));
    for name in ["client", "actor", "tokenId"] {
        assert_eq!(intent[name], of_tokens, "{name}");
    }
    assert_eq!(intent["userAgent"], format!("ab{}", "x".repeat(254)));
}
