//! What a caller may see of instances, and what a reset would meet.

use serde_json::{Value, json};

use crate::gateway::{PASSWORD, Setup, TestGateway, instance, payments, web};
use crate::keys::{claims, token};

fn loaded(setup: Setup<'_>) -> TestGateway {
    let gateway = TestGateway::with(setup);
    gateway.refreshed();
    gateway
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("no items: {page}"));
    items.iter().map(|item| item["instanceId"].as_str().expect("an id").to_owned()).collect()
}

/// Follows the cursors to the end: all ids, and how many pages there were.
fn walk(gateway: &TestGateway, token: &str, query: &str) -> (Vec<String>, Vec<Value>) {
    let (mut all, mut pages, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = gateway.get(&format!("/v1/instances?{query}{cursor}"), token).json();
        all.extend(ids(&page));
        pages.push(page.clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (all, pages),
        }
    }
}

fn try_out(gateway: &TestGateway, token: &str, instance: &str, body: &Value) -> Value {
    let path = format!("/v1/instances/{instance}/password-resets?dryRun=true");
    let answer = gateway.call("POST", &path, Some(token), Some(&body.to_string()));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn a_team_sees_its_own_instances_and_no_others() {
    let gateway = loaded(Setup::default());
    let own = gateway.get("/v1/instances?limit=3", &payments()).json();
    assert_eq!(ids(&own), ["pay-1", "pay-10", "pay-11"], "in the order of their ids");
    let first = &own["items"][0];
    assert_eq!(first["reset"], json!({ "allowed": true, "ready": true, "blockers": [] }));
    assert_eq!((&first["name"], &first["status"]), (&json!("pay-1"), &json!("RUNNING")));
    assert_eq!(first["tags"], json!({ "team": "payments", "env": "dev" }));
    assert!(first.get("zoneId").is_none(), "what is not told is absent: {first}");
    let (all, pages) = walk(&gateway, &payments(), "limit=7");
    assert_eq!((all.len(), pages.len()), (20, 3), "7, 7 and 6");
    let whole = gateway.get("/v1/instances?limit=20", &payments()).json();
    assert!(
        whole.get("nextCursor").is_none(),
        "nothing of its own follows, so there is no telling what else does"
    );
    assert!(all.iter().all(|id| id.starts_with("pay-")));
    assert_eq!(walk(&gateway, &web(), "").0, ["web-1", "web-2", "web-3", "web-4", "web-5"]);
    let stranger = token(&claims("erin", json!(["shop-1"])));
    assert!(walk(&gateway, &stranger, "").0.is_empty());
}

#[test]
fn filters_narrow_and_a_cursor_is_but_a_position() {
    let gateway = loaded(Setup::default());
    gateway
        .set_instance("pay-3", json!({ "zoneId": "z1", "status": "STOPPED", "instanceName": "Ledger-DB" }));
    for (query, expected) in [
        ("zoneId=z1", vec!["pay-3"]),
        ("status=STOPPED", vec!["pay-3"]),
        ("name=ledger", vec!["pay-3"]),
        ("name=DB&status=RUNNING", vec![]),
        ("tag=team:web", vec![]),
        (
            "tag=env:dev&name=pay-1&limit=200&resourceGroupId=rg-payments",
            vec![
                "pay-1", "pay-10", "pay-11", "pay-12", "pay-13", "pay-14", "pay-15", "pay-16", "pay-17",
                "pay-18", "pay-19",
            ],
        ),
        ("resourceGroupId=rg-web", vec![]),
    ] {
        assert_eq!(walk(&gateway, &payments(), query).0, expected, "{query}");
    }
    let page = gateway.get("/v1/instances?limit=5", &payments()).json();
    let cursor = page["nextCursor"].as_str().expect("there are more");
    let others = gateway.get(&format!("/v1/instances?cursor={cursor}"), &web()).json();
    assert_eq!(ids(&others).len(), 5, "permission is each request's own: {others}");
    let filtered = gateway.get(&format!("/v1/instances?name=pay-2&cursor={cursor}"), &payments()).json();
    assert_eq!(ids(&filtered), ["pay-2", "pay-20"], "and so are filters");
}

#[test]
fn a_page_examines_no_more_than_2000_and_its_cursor_names_nothing() {
    let mut many: Vec<Value> = (0..4100).map(|n| instance("web", &format!("foreign-{n:04}"))).collect();
    many.push(instance("payments", "pay-1"));
    let gateway = loaded(Setup { instances: Some(json!(many)), ..Setup::default() });
    let (all, pages) = walk(&gateway, &payments(), "");
    assert_eq!(all, ["pay-1"]);
    let counts: Vec<usize> = pages.iter().map(|page| ids(page).len()).collect();
    assert_eq!(counts, [0, 0, 1], "two short pages come before it");
    use base64::Engine;
    for page in &pages[..2] {
        let cursor = page["nextCursor"].as_str().expect("there are more");
        let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(cursor).expect("base64url");
        assert!(!raw.windows(7).any(|part| part == b"foreign"), "a foreign id does not show: {page}");
    }
}

#[test]
fn bad_parameters_are_named() {
    let gateway = TestGateway::spawn();
    for (query, place) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=%2B5", "limit"),
        ("tag=team", "tag"),
        ("tag=:x", "tag"),
        ("cursor=pay-1", "cursor"),
        ("cursor=", "cursor"),
        ("name=a&name=b", "name"),
        ("zone=z1", "zone"),
        ("dryRun=true", "dryRun"),
    ] {
        let answer = gateway.get(&format!("/v1/instances?{query}"), &payments());
        let expected = ("invalid-request".to_owned(), vec![place.to_owned()]);
        assert_eq!((answer.problem(), answer.places()), expected, "{query}: {answer:?}");
    }
    let several = gateway.get("/v1/instances?limit=0&tag=x&cursor=y", &payments());
    assert_eq!(several.places(), ["tag", "cursor", "limit"], "all at once");
    assert_eq!(gateway.get("/v1/instances/pay-1?limit=1", &payments()).places(), ["limit"]);
}

#[test]
fn what_stands_against_a_reset_is_named_before_it_is_tried() {
    let limits = "[default]\nteam = { requests = 1, period_seconds = 3600, burst = 1 }\ninstance_cooldown_seconds = 60\n";
    let gateway = loaded(Setup { limits: Some(limits), ..Setup::default() });
    for (id, fields) in [
        ("pay-2", json!({ "status": "STOPPED", "enableAgent": false })),
        ("pay-3", json!({ "status": "REBOOT" })),
        (
            "pay-4",
            json!({ "tags": { "tags": [{ "key": "team", "value": "payments" }, { "key": "zengate", "value": "frozen" }] } }),
        ),
    ] {
        gateway.set_instance(id, fields);
    }
    let outlook = |id: &str| {
        let shown = gateway.get(&format!("/v1/instances/{id}"), &payments()).json();
        let listed = gateway.get(&format!("/v1/instances?name={id}"), &payments()).json();
        assert_eq!(listed["items"][0]["reset"], shown["reset"], "{id}");
        let tried = try_out(&gateway, &payments(), id, &json!({ "password": PASSWORD }));
        for field in ["allowed", "ready", "blockers"] {
            assert_eq!(tried[field], shown["reset"][field], "{id}: {tried}");
        }
        shown["reset"].clone()
    };
    let blocked = |allowed: bool, blockers: Value| {
        let ready = blockers.as_array().is_some_and(|all| all.iter().all(|blocker| blocker == "policy"));
        json!({ "allowed": allowed, "ready": ready, "blockers": blockers })
    };
    assert_eq!(outlook("pay-1"), blocked(true, json!([])));
    assert_eq!(outlook("pay-2"), blocked(true, json!(["not-running", "no-agent"])));
    assert_eq!(outlook("pay-3"), blocked(true, json!(["busy"])));
    assert_eq!(outlook("pay-4"), blocked(false, json!(["policy"])));
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201, "nothing of this was charged");
    assert_eq!(outlook("pay-1"), blocked(true, json!(["cooldown", "quota"])));
    assert_eq!(outlook("pay-5"), blocked(true, json!(["quota"])));
}

#[test]
fn who_may_not_view_an_instance_reads_the_same_of_a_foreign_and_a_missing_one() {
    let gateway = loaded(Setup::default());
    let alike = |what: &str, told: &dyn Fn(&str) -> (u16, String)| {
        let (foreign, missing) = (told("web-1"), told("no-such-1"));
        assert_eq!(foreign, missing, "{what}");
        foreign
    };
    let without_id = |answer: crate::http::Answer| {
        let id = answer.header("x-request-id").expect("an id").to_owned();
        (answer.status, answer.body.replace(&id, ""))
    };
    let read = alike("read", &|id| without_id(gateway.get(&format!("/v1/instances/{id}"), &payments())));
    let reset = alike("reset", &|id| without_id(gateway.reset(&payments(), id)));
    assert_eq!(read, reset, "and in the same words on both routes");
    let (_, tried) = alike("dry run", &|id| {
        let tried = try_out(&gateway, &payments(), id, &json!({ "password": PASSWORD }));
        // What is left of the caller limit falls with each call.
        let limits: Vec<Value> =
            tried["quotas"].as_array().expect("a list").iter().map(|quota| quota["limit"].clone()).collect();
        let mut rest = tried.clone();
        rest["quotas"] = json!(limits);
        (200, rest.to_string())
    });
    let exactly =
        json!({ "allowed": false, "blockers": ["policy"], "quotas": ["caller", "team", "cooldown"] });
    assert_eq!(tried.parse::<Value>().expect("JSON"), exactly);
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn when_zenlayer_cannot_be_asked_a_foreign_and_a_missing_instance_are_still_alike() {
    let overrides =
        [("ZENGATE__INVENTORY__MAX_AGE_SECONDS", "2"), ("ZENGATE__INVENTORY__REFRESH_SECONDS", "1")];
    let by_id = r#"@id("one") permit (principal in Team::"shop-1", action, resource) when { resource == Instance::"gone-1" };"#;
    let gateway = loaded(Setup { overrides: &overrides, team: Some(("shop-1", by_id)), ..Setup::default() });
    gateway.fault(json!({ "action": "DescribeInstances", "fault": "internal-error" }));
    let body = json!({ "password": PASSWORD }).to_string();
    let told = |id: &str| {
        let read = gateway.get(&format!("/v1/instances/{id}"), &payments());
        let reset = gateway.reset(&payments(), id);
        let path = format!("/v1/instances/{id}/password-resets?dryRun=true");
        let tried = gateway.call("POST", &path, Some(&payments()), Some(&body));
        [read, reset, tried]
            .map(|answer| (answer.status, answer.problem(), answer.json()["blockers"].clone()))
    };
    let hidden = |dry: u16| (dry, "forbidden".to_owned(), Value::Null);
    let expected = [hidden(403), hidden(403), (200, String::new(), json!(["policy"]))];
    for age in ["fresh", "stale"] {
        assert_eq!(told("web-1"), expected, "foreign, {age}");
        assert_eq!(told("no-such-1"), expected, "missing, {age}");
        std::thread::sleep(std::time::Duration::from_millis(2200));
    }
    assert_eq!(gateway.reset(&payments(), "pay-1").problem(), "unavailable", "one's own says what is wrong");
    let shop = token(&claims("erin", json!(["shop-1"])));
    assert_eq!(
        gateway.reset(&shop, "gone-1").problem(),
        "unavailable",
        "and so does what policy permits by id"
    );
    assert_eq!(gateway.get("/v1/instances/gone-1", &shop).problem(), "unavailable");
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn a_policy_that_errs_is_told_once_a_request_and_its_caller_learns_that_much() {
    let errs = r#"
        @id("view") permit (principal in Team::"shop-1", action == Action::"ViewInstance", resource);
        @id("errs") forbid (principal in Team::"shop-1", action == Action::"ResetPassword", resource)
            when { 9223372036854775807 + context.local.hour + 1 > 0 && resource.name == "x" };"#;
    let gateway = loaded(Setup { team: Some(("shop-1", errs)), ..Setup::default() });
    let shop = token(&claims("erin", json!(["shop-1"])));
    let listed = gateway.get("/v1/instances?limit=200", &shop).json();
    assert_eq!(ids(&listed).len(), 25);
    assert_eq!(gateway.metric("zengate_policy_errors_total"), 1.0, "once, for 25 instances");
    let tried = try_out(&gateway, &shop, "pay-1", &json!({ "password": PASSWORD }));
    assert_eq!((&tried["allowed"], &tried["policies"]), (&json!(false), &json!([])), "{tried}");
}

#[test]
fn a_dry_run_judges_the_very_request_and_leaves_nothing_behind() {
    let gateway = loaded(Setup::default());
    let production = json!({ "tags": { "tags": [{ "key": "team", "value": "payments" }, { "key": "env", "value": "prod" }] } });
    gateway.set_instance("pay-1", production);
    let refused = try_out(&gateway, &payments(), "pay-1", &json!({ "password": PASSWORD }));
    let note = json!([{ "id": "global/production-needs-a-ticket", "effect": "forbid" }]);
    assert_eq!((&refused["allowed"], &refused["policies"]), (&json!(false), &note), "{refused}");
    let ticket = json!({ "password": PASSWORD, "ticket": "OPS-1" });
    let allowed = try_out(&gateway, &payments(), "pay-1", &ticket);
    let note = json!([{ "id": "payments/reset-own", "effect": "permit" }]);
    assert_eq!((&allowed["allowed"], &allowed["policies"]), (&json!(true), &note), "{allowed}");
    let left = |tried: &Value, limit: &str| {
        let quotas = tried["quotas"].as_array().cloned().expect("a list");
        quotas.into_iter().find(|quota| quota["limit"] == limit).expect("the limit")["remaining"].clone()
    };
    assert_eq!((left(&allowed, "team"), left(&allowed, "cooldown")), (json!(100), json!(1)));

    let path = "/v1/instances/pay-2/password-resets?dryRun=true";
    let bad = gateway.call("POST", path, Some(&payments()), Some(r#"{"password":"short"}"#));
    assert_eq!(bad.problem(), "invalid-value", "it is validated as a reset is");
    let not_dry =
        gateway.call("POST", &path.replace("true", "false"), Some(&payments()), Some(&ticket.to_string()));
    assert_eq!(not_dry.status, 201);
    assert_eq!(gateway.resets_sent(), 1, "the one that was none");
    let records = gateway.records_of("intent", 1);
    assert_eq!(records[0]["instanceId"], "pay-2");
    gateway.records_of("refused", 0);
    assert!(!refused.to_string().contains(PASSWORD) && !allowed.to_string().contains(PASSWORD));
}

#[test]
fn what_policy_permits_and_zenlayer_does_not_have_is_not_found() {
    let by_id = r#"@id("named") permit (principal in Team::"shop-1", action, resource) when { resource == Instance::"gone-1" };"#;
    let gateway = loaded(Setup { team: Some(("shop-1", by_id)), ..Setup::default() });
    let shop = token(&claims("erin", json!(["shop-1"])));
    assert_eq!(gateway.get("/v1/instances/gone-1", &shop).problem(), "not-found");
    let path = "/v1/instances/gone-1/password-resets?dryRun=true";
    let body = json!({ "password": PASSWORD }).to_string();
    assert_eq!(gateway.call("POST", path, Some(&shop), Some(&body)).problem(), "not-found");
    assert_eq!(gateway.get("/v1/instances/gone-2", &shop).problem(), "forbidden");
    let refused = gateway.records_of("refused", 1);
    assert_eq!(
        (&refused[0]["action"], &refused[0]["instanceId"]),
        (&json!("ViewInstance"), &json!("gone-2"))
    );
}
