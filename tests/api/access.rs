//! Every route × every kind of caller. A route without its row fails.

use std::collections::BTreeMap;

use serde_json::json;
use zengate::api::{ROUTES, Route};

use crate::gateway::{PASSWORD, TestGateway, payments, web};
use crate::keys::{self, claims, token};

/// Kinds of callers, in the order of the table's columns.
fn callers() -> Vec<(&'static str, Option<String>)> {
    let expired = {
        let mut claims = claims("alice", json!(["payments"]));
        claims["exp"] = json!(1);
        token(&claims)
    };
    let stranger = keys::signed(
        jsonwebtoken::Algorithm::ES256,
        Some("ec"),
        &claims("alice", json!(["payments"])),
        &keys::KEYS.stranger,
    );
    vec![
        ("nobody", None),
        ("a forger", Some(stranger)),
        ("an expired token", Some(expired)),
        ("a member of the owning team", Some(payments())),
        ("a member of another team", Some(web())),
        ("a member of no team", Some(token(&claims("carol", json!([]))))),
        ("a member of both teams, naming none", Some(token(&claims("dave", json!(["payments", "web"]))))),
        ("a team without policies", Some(token(&claims("erin", json!(["shop-1"]))))),
        ("a team its issuer may not assert", Some(token(&claims("mallory", json!(["finance"]))))),
    ]
}

#[test]
fn every_route_treats_every_caller_as_the_table_says() {
    let gateway = TestGateway::spawn();
    gateway.refreshed();
    let made = gateway.reset(&payments(), "pay-1").json();
    let id = made["id"].as_str().expect("an id").to_owned();
    let open = [200; 9];
    let table: BTreeMap<&str, (String, [u16; 9])> = BTreeMap::from([
        (
            "POST /v1/instances/{instanceId}/password-resets",
            ("/v1/instances/pay-2/password-resets".to_owned(), [401, 401, 401, 201, 403, 403, 400, 403, 403]),
        ),
        (
            "POST /v1/password-resets",
            ("/v1/password-resets".to_owned(), [401, 401, 401, 201, 403, 403, 400, 403, 403]),
        ),
        ("GET /v1/instances", ("/v1/instances".to_owned(), [401, 401, 401, 200, 200, 403, 400, 200, 403])),
        (
            "GET /v1/instances/{instanceId}",
            ("/v1/instances/pay-2".to_owned(), [401, 401, 401, 200, 403, 403, 400, 403, 403]),
        ),
        (
            "GET /v1/password-resets/{id}",
            (format!("/v1/password-resets/{id}"), [401, 401, 401, 200, 404, 403, 400, 404, 403]),
        ),
        ("GET /v1/audit", ("/v1/audit".to_owned(), [401, 401, 401, 403, 403, 403, 400, 403, 403])),
        (
            "GET /v1/password-resets",
            ("/v1/password-resets".to_owned(), [401, 401, 401, 200, 200, 403, 400, 200, 403]),
        ),
        ("GET /v1/whoami", ("/v1/whoami".to_owned(), [401, 401, 401, 200, 200, 200, 200, 200, 200])),
        ("GET /openapi.json", ("/openapi.json".to_owned(), open)),
        ("GET /docs", ("/docs".to_owned(), [308; 9])),
        ("GET /docs/{file}", ("/docs/index.html".to_owned(), open)),
    ]);
    let sent = gateway.resets_sent();
    for Route { method, pattern, .. } in ROUTES {
        let name = format!("{method} {pattern}");
        let (path, expected) = table.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no row here"));
        let callers = callers();
        assert_eq!(callers.len(), expected.len());
        for ((caller, token), expected) in callers.iter().zip(expected) {
            let mut body = json!({ "password": PASSWORD });
            if *pattern == "/v1/password-resets" {
                body["instanceIds"] = json!(["pay-3"]);
            }
            let body = body.to_string();
            let body = (*method == "POST").then_some(body.as_str());
            let answer = gateway.call(method, path, token.as_deref(), body);
            assert_eq!(answer.status, *expected, "{name} by {caller}: {answer:?}");
        }
    }
    assert_eq!(table.len(), ROUTES.len(), "a row without a route");
    assert_eq!(gateway.resets_sent(), sent + 2, "only the owner's resets were sent");
}

#[test]
fn a_caller_of_several_teams_acts_for_the_one_it_names() {
    let gateway = TestGateway::spawn();
    let both = token(&claims("dave", json!(["payments", "web"])));
    let body = json!({ "password": PASSWORD }).to_string();
    let reset = |query: &str| {
        gateway.call("POST", &format!("/v1/instances/pay-1/password-resets{query}"), Some(&both), Some(&body))
    };
    let unnamed = reset("");
    assert_eq!((unnamed.status, unnamed.places()), (400, vec!["team".to_owned()]));
    assert_eq!(reset("?team=web").status, 403, "web may not");
    assert_eq!(reset("?team=tour").problem(), "forbidden", "not one of the caller's");
    let made = reset("?team=payments");
    assert_eq!((made.status, made.json()["team"].as_str()), (201, Some("payments")));
}

#[test]
fn a_foreign_and_a_missing_instance_are_answered_alike() {
    let gateway = TestGateway::spawn();
    let told = |instance: &str| {
        let answer = gateway.reset(&web(), instance);
        let mut body = answer.json();
        body["requestId"] = json!("");
        (answer.status, body)
    };
    let foreign = told("pay-1");
    assert_eq!(foreign.0, 403);
    assert_eq!(foreign, told("no-such-instance"));
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn whoever_may_view_an_instance_learns_why_not() {
    let gateway = TestGateway::spawn();
    gateway.set_instance("pay-1", json!({ "tags": { "tags": [{ "key": "team", "value": "payments" }, { "key": "env", "value": "prod" }] } }));
    let refused = gateway.reset(&payments(), "pay-1");
    let expected = json!([{ "id": "global/production-needs-a-ticket", "effect": "forbid" }]);
    assert_eq!((refused.status, &refused.json()["policies"]), (403, &expected));
    let body = json!({ "password": PASSWORD, "ticket": "OPS-1" }).to_string();
    let made = gateway.call("POST", "/v1/instances/pay-1/password-resets", Some(&payments()), Some(&body));
    assert_eq!((made.status, made.json()["ticket"].as_str()), (201, Some("OPS-1")));
    let denied = gateway.records_of("refused", 1).remove(0);
    assert_eq!(
        (&denied["decision"], &denied["policies"]),
        (&json!("deny"), &json!(["global/production-needs-a-ticket"]))
    );
}

#[test]
fn an_instance_that_policy_permits_and_zenlayer_does_not_have_is_not_found() {
    let by_id = r#"
        @id("named") permit (principal in Team::"shop-1", action, resource == Instance::"gone-1");
    "#;
    let gateway = TestGateway::with_team("shop-1", by_id);
    let shop = token(&claims("erin", json!(["shop-1"])));
    assert_eq!(gateway.reset(&shop, "gone-1").problem(), "not-found");
    assert_eq!(gateway.reset(&shop, "gone-2").problem(), "forbidden");
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn a_forbid_on_reading_resets_bites_the_teams_own_members() {
    let gateway = TestGateway::with(crate::gateway::Setup {
        forbids: r#"@id("no-reading") forbid (principal, action == Action::"ViewReset", resource);"#,
        ..Default::default()
    });
    let made = gateway.reset(&payments(), "pay-1");
    let location = made.header("location").expect("a place").to_owned();
    assert_eq!(gateway.call("GET", &location, Some(&payments()), None).problem(), "forbidden");
    assert_eq!(gateway.call("GET", &location, Some(&web()), None).problem(), "not-found");
    let refused = gateway.records_of("refused", 2);
    assert!(refused.iter().all(|record| record["action"] == "ViewReset"), "{refused:#?}");
}

#[test]
fn whoever_is_blocked_is_stopped_whatever_policy_permits() {
    let mut by_client = claims("alice", json!(["payments"]));
    by_client["azp"] = json!("portal");
    for (row, blocks, stopped) in [
        ("nobody", "", false),
        ("the user", r#"subjects = ["corp|alice"]"#, true),
        ("another user", r#"subjects = ["corp|bob"]"#, false),
        ("another issuer's user", r#"subjects = ["portal|alice"]"#, false),
        ("the program", r#"clients = ["corp|portal"]"#, true),
        ("the token", r#"token_ids = ["corp|token-1"]"#, true),
        ("another token", r#"token_ids = ["corp|token-2"]"#, false),
        ("the team", r#"teams = ["payments"]"#, true),
        ("another team", r#"teams = ["web"]"#, false),
        ("everybody", "everything = true", true),
    ] {
        let gateway = TestGateway::with(crate::gateway::Setup { blocks: Some(blocks), ..Default::default() });
        let answer = gateway.reset(&token(&by_client), "pay-1");
        assert_eq!(answer.status, if stopped { 403 } else { 201 }, "{row}: {answer:?}");
        let whoami = gateway.call("GET", "/v1/whoami", Some(&token(&by_client)), None);
        assert_eq!(whoami.status, if stopped { 403 } else { 200 }, "{row}: every route");
        if stopped {
            assert_eq!(answer.json()["detail"], "This caller is blocked.", "{row}");
            assert_eq!(gateway.records_of("refused", 1)[0]["refused"], "blocked", "{row}");
            assert_eq!(gateway.resets_sent(), 0, "{row}");
        }
    }
}
