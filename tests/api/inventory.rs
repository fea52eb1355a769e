//! What is known of instances, how old it may be, and what finding out costs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Setup, TestGateway, instance, payments, web};

fn with(overrides: &[(&str, &str)]) -> TestGateway {
    let overrides: Vec<_> =
        overrides.iter().map(|(key, value)| (format!("ZENGATE__INVENTORY__{key}"), *value)).collect();
    let overrides: Vec<_> = overrides.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let gateway = TestGateway::with(Setup { overrides: &overrides, ..Setup::default() });
    let until = Instant::now() + Duration::from_secs(20);
    while gateway.metric("zengate_inventory_instances") == 0.0 {
        assert!(Instant::now() < until, "the inventory is loaded");
        std::thread::sleep(Duration::from_millis(20));
    }
    gateway
}

/// A gateway that refreshes once, at the start.
fn still() -> TestGateway {
    with(&[("REFRESH_SECONDS", "60")])
}

#[test]
fn what_the_inventory_knows_costs_no_call() {
    let gateway = still();
    for n in 1..=20 {
        assert_eq!(gateway.reset(&payments(), &format!("pay-{n}")).status, 201);
    }
    assert_eq!((gateway.lookups(), gateway.resets_sent()), (0, 20));
}

#[test]
fn an_unknown_instance_is_looked_up_once_for_all_who_ask() {
    let gateway = still();
    gateway.put_instances(&json!([instance("payments", "pay-new")]));
    gateway.fault(json!({ "action": "DescribeInstances", "fault": "delay", "milliseconds": 300 }));
    let token = payments();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..12).map(|_| scope.spawn(|| gateway.get("/v1/instances/pay-new", &token).status)).collect();
        calls.into_iter().map(|call| call.join().expect("answered")).collect()
    });
    assert_eq!(statuses, [200; 12]);
    assert_eq!(gateway.lookups(), 1);
    assert_eq!(gateway.reset(&token, "pay-new").status, 201);
    for _ in 0..3 {
        assert_eq!(gateway.reset(&token, "pay-none").status, 403);
    }
    assert_eq!(gateway.lookups(), 2, "what was found is remembered, and so is what was not");
}

#[test]
fn a_reset_is_decided_on_attributes_no_older_than_the_bound() {
    let gateway = with(&[("MAX_AGE_SECONDS", "2"), ("REFRESH_SECONDS", "2")]);
    let listed = gateway.get("/v1/instances", &payments()).json();
    assert_eq!(listed["items"][0]["instanceId"], "pay-1", "{listed}");
    // No refresh succeeds from now on, and the instance changes hands.
    let refreshes = json!({ "action": "DescribeInstances", "fault": "answer", "status": 500 });
    let lookups =
        json!({ "action": "DescribeInstances", "instanceId": "pay-1", "fault": "delay", "milliseconds": 0 });
    gateway.faults(json!([lookups, refreshes]));
    gateway.put_instances(&json!([instance("web", "pay-1")]));
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 403, "the old owner's is no more");
    assert_eq!(gateway.reset(&web(), "pay-1").status, 201, "the new owner's it is");
    assert_eq!(gateway.lookups(), 1);
    let stale = gateway.get("/v1/instances", &payments()).json();
    let reset = &stale["items"][1]["reset"];
    assert_eq!((&reset["ready"], &reset["blockers"]), (&json!(false), &json!(["stale"])), "{stale}");
    let unseen = gateway.reset(&payments(), "pay-2");
    assert_eq!(unseen.problem(), "unavailable", "what is too old decides nothing: {unseen:?}");
    let shown = gateway.get("/v1/instances/pay-2", &payments()).json();
    assert_eq!(shown["reset"]["blockers"], json!(["stale"]), "but it may be shown: {shown}");
}

#[test]
fn an_instance_told_no_more_is_dropped_only_after_a_lookup_confirms_it() {
    let gateway = with(&[]);
    let instances = |gateway: &TestGateway| gateway.metric("zengate_inventory_instances");
    // The list leaves everything out, while asking by id still finds it: as when an instance slips between two pages.
    let empty = r#"{"requestId":"T","response":{"requestId":"T","totalCount":0,"dataSet":[]}}"#;
    let lookups =
        json!({ "action": "DescribeInstances", "instanceId": "pay-1", "fault": "delay", "milliseconds": 0 });
    let list = json!({ "action": "DescribeInstances", "fault": "answer", "status": 200, "body": empty });
    gateway.faults(json!([lookups, list]));
    gateway.refreshed();
    assert_eq!(instances(&gateway), 25.0, "all confirmed by one lookup");
    gateway.faults(json!([]));
    gateway.put_instances(&json!([instance("payments", "pay-1")]));
    gateway.refreshed();
    assert_eq!(instances(&gateway), 1.0, "24 are gone indeed");
}

#[test]
fn a_large_account_is_read_page_by_page() {
    let many: Value = (0..2500).map(|n| instance("payments", &format!("ins-{n:04}"))).collect();
    let gateway = TestGateway::with(Setup { instances: Some(many), ..Setup::default() });
    gateway.refreshed();
    assert_eq!(gateway.metric("zengate_inventory_instances"), 2500.0);
    let pages: Vec<Value> =
        gateway.calls("DescribeInstances").iter().take(3).map(|call| call["body"].clone()).collect();
    let pages: Vec<Value> =
        pages.iter().map(|body| body.as_str().expect("text").parse().expect("JSON")).collect();
    let page = |number: u32| json!({ "pageNum": number, "pageSize": 1000 });
    assert_eq!(pages, [page(1), page(2), page(3)]);
    assert_eq!(gateway.reset(&payments(), "ins-2499").status, 201);
}

#[test]
fn asking_about_strange_instances_is_bounded_alike_for_foreign_and_missing_ones() {
    let quota = [
        ("CALLER_LOOKUPS__REQUESTS", "1"),
        ("CALLER_LOOKUPS__PERIOD_SECONDS", "60"),
        ("CALLER_LOOKUPS__BURST", "3"),
    ];
    let gateway = with(&quota);
    let told = |id: &str, token: &str| {
        let answer = gateway.reset(token, id);
        let mut body = answer.json();
        body["requestId"] = json!("");
        (answer.status, body)
    };
    // Each caller has its own budget, and each kind of id spends it by the same steps.
    for (token, id) in [(payments(), "web-1"), (web(), "no-such-instance")] {
        let statuses: Vec<u16> = (0..5).map(|_| told(id, &token).0).collect();
        assert_eq!(statuses, [403, 403, 403, 429, 429], "{id}");
    }
    let (foreign, missing) = (told("web-2", &payments()), told("gone", &payments()));
    assert_eq!(foreign.0, 429);
    assert_eq!(foreign.1["detail"], missing.1["detail"]);
    let seen = gateway.get("/v1/instances/web-3", &payments());
    assert_eq!(seen.problem(), "rate-limited", "reading spends the same budget: {seen:?}");
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201, "one's own are not concerned");
    assert!(gateway.metric(r#"zengate_limited_total{limit="lookups"}"#) >= 5.0);
}

#[test]
fn the_account_s_budget_for_lookups_is_not_exceeded() {
    let quota = [
        ("LOOKUPS__REQUESTS", "1"),
        ("LOOKUPS__PERIOD_SECONDS", "60"),
        ("LOOKUPS__BURST", "4"),
        ("REFRESH_SECONDS", "60"),
    ];
    let gateway = with(&quota);
    let statuses: Vec<u16> =
        (0..8).map(|n| gateway.reset(&payments(), &format!("gone-{n}")).status).collect();
    assert_eq!(statuses, [403; 8], "who may not view it learns nothing of the budget either");
    assert_eq!(gateway.lookups(), 4);
    assert_eq!(gateway.metric(r#"zengate_inventory_lookups_total{result="over_budget"}"#), 4.0);
}
