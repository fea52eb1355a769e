//! `GET /v1/audit`: who reads which records of the trail, and what that leaves in it.

mod leave;
mod pages;
mod refusals;

use serde_json::{Value, json};

use crate::gateway::{FREE, Setup, TestGateway, payments, web};
use crate::http::Answer;
use crate::keys::{claims, token};

/// The acting team of those who read.
const AUDITORS: &str = "shop-audit";

const ALL: &str =
    r#"@id("all") permit (principal in Team::"shop-audit", action == Action::"ViewAudit", resource);"#;

/// A gateway whose auditors have these policies.
fn audited(policies: &str) -> TestGateway {
    with(policies, &[])
}

fn with(policies: &str, overrides: &[(&str, &str)]) -> TestGateway {
    let scopes = ("ZENGATE__ISSUERS__CORP__MAY_ASSERT_SCOPES", "zengate:audit");
    let overrides: Vec<(&str, &str)> = overrides.iter().copied().chain([scopes]).collect();
    let team = Some((AUDITORS, policies));
    TestGateway::with(Setup { team, overrides: &overrides, limits: Some(FREE), ..Setup::default() })
}

fn auditor() -> String {
    token(&claims("audrey", json!([AUDITORS])))
}

/// The same, with the scope that policies may ask for.
fn scoped() -> String {
    let mut claims = claims("audrey", json!([AUDITORS]));
    claims["scope"] = json!("zengate:audit");
    token(&claims)
}

/// What makes records of each kind of owner: two resets of payments, one refused to web, and a caller without a team.
fn lived_in(gateway: &TestGateway) {
    for instance in ["pay-1", "pay-2"] {
        assert_eq!(gateway.reset(&payments(), instance).status, 201);
    }
    assert_eq!(gateway.reset(&web(), "pay-1").status, 403);
    assert_eq!(gateway.reset(&token(&claims("carol", json!([]))), "pay-1").status, 403);
    gateway.records_of("refused", 2);
    // The last of the start: which keys are in force.
    gateway.records_of("key", 3);
}

fn read(gateway: &TestGateway, token: &str, query: &str) -> Answer {
    gateway.get(&format!("/v1/audit?{query}"), token)
}

fn items(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let page = answer.json();
    page["items"].as_array().cloned().unwrap_or_else(|| panic!("no items: {page}"))
}

/// All that a filter gives, page by page, with something happening between two pages.
fn walk(gateway: &TestGateway, token: &str, query: &str, mut between: impl FnMut()) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = read(gateway, token, &format!("{query}{cursor}"));
        all.extend(items(&answer));
        match answer.json()["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
        between();
    }
}

/// Whose record it is.
fn owner(item: &Value) -> String {
    item["record"]["team"].as_str().unwrap_or("@gateway").to_owned()
}
