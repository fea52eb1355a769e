//! How often, and what is given back.

use serde_json::json;

use crate::gateway::{Setup, TestGateway, payments, web};
use crate::keys::{claims, token};

const SMALL: &str = "[default]\nteam = { requests = 2, period_seconds = 3600, burst = 2 }\n\
    caller = { requests = 600, period_seconds = 60, burst = 60 }\ninstance_cooldown_seconds = 60\n";

fn limited(limits: &str) -> TestGateway {
    TestGateway::with(Setup { limits: Some(limits), ..Setup::default() })
}

#[test]
fn a_team_has_a_quota_and_another_team_its_own() {
    let gateway = limited(SMALL);
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
    assert_eq!(gateway.reset(&payments(), "pay-2").status, 201);
    let refused = gateway.reset(&payments(), "pay-3");
    assert_eq!((refused.status, refused.problem().as_str()), (429, "rate-limited"));
    assert!(refused.json()["detail"].as_str().is_some_and(|text| text.contains("`team`")), "{refused:?}");
    let wait: u64 = refused.header("retry-after").and_then(|v| v.parse().ok()).expect("seconds");
    assert!((1790..=1800).contains(&wait), "half an hour for one of two an hour: {wait}");
    assert_eq!(refused.json()["retryAfterSeconds"], wait);
    assert!(refused.header("ratelimit").is_some_and(|l| l.contains(r#""team";r=0"#)), "{refused:?}");
    assert_eq!(gateway.reset(&web(), "web-1").status, 201);
    assert_eq!(gateway.resets_sent(), 3);
    let refused = gateway.records_of("refused", 1).remove(0);
    assert_eq!(refused["refused"], "team-quota");
    let quotas = |left: [u32; 2]| {
        json!([
            { "limit": "team", "requests": 2, "periodSeconds": 3600, "burst": 2, "remaining": left[0] },
            { "limit": "cooldown", "requests": 1, "periodSeconds": 60, "burst": 1, "remaining": left[1] },
        ])
    };
    assert_eq!(refused["quotas"], quotas([0, 1]), "as they were found");
    let charged: Vec<_> =
        gateway.records_of("intent", 3).into_iter().map(|intent| intent["quotas"].clone()).collect();
    assert_eq!(charged, [quotas([1, 0]), quotas([0, 0]), quotas([1, 0])], "what the charges left");
}

#[test]
fn an_instance_rests_between_two_resets_of_one_team() {
    let gateway = TestGateway::spawn();
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
    let refused = gateway.reset(&payments(), "pay-1");
    assert_eq!(refused.status, 429);
    assert!(refused.json()["detail"].as_str().is_some_and(|text| text.contains("`cooldown`")), "{refused:?}");
    assert_eq!(gateway.reset(&payments(), "pay-2").status, 201, "another instance does not");
    assert!(
        refused.header("ratelimit").is_some_and(|l| l.contains(r#""team";r=99"#)),
        "the refused one cost no quota: {refused:?}"
    );
}

#[test]
fn a_cool_down_of_zero_is_none() {
    let gateway = limited("[default]\ninstance_cooldown_seconds = 0\n");
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
    let quotas = gateway.records_of("intent", 2)[1]["quotas"].clone();
    assert_eq!((&quotas[0]["limit"], quotas.get(1)), (&json!("team"), None));
}

#[test]
fn a_caller_has_a_limit_on_every_route_before_its_body_is_read() {
    let gateway = limited("[default]\ncaller = { requests = 1, period_seconds = 60, burst = 3 }\n");
    for _ in 0..3 {
        assert_eq!(gateway.call("GET", "/v1/whoami", Some(&payments()), None).status, 200);
    }
    let refused = gateway.reset(&payments(), "pay-1");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")), "{refused:?}");
    assert_eq!(gateway.call("GET", "/v1/whoami?x=1", Some(&payments()), None).status, 429);
    assert_eq!(gateway.call("GET", "/v1/whoami", Some(&web()), None).status, 200, "another user");
    let same_user = token(&claims("alice", json!(["web"])));
    assert_eq!(
        gateway.call("GET", "/v1/whoami", Some(&same_user), None).status,
        429,
        "another token is the same user"
    );
    assert_eq!(gateway.records_of("refused", 1)[0]["refused"], "caller-limit", "one record a minute");
    assert_eq!(gateway.metric(r#"zengate_limited_total{limit="caller"}"#), 3.0);
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn what_was_not_sent_gives_all_back_and_a_no_gives_the_rest_back() {
    let gateway = limited(SMALL);
    let answer = |status: u16, body: &str| json!({ "action": "ResetInstancePassword", "fault": "answer", "status": status, "body": body });
    let left = |gateway: &TestGateway| {
        let limits = gateway.call("GET", "/v1/whoami", Some(&payments()), None).json();
        limits["limits"][1]["remaining"].as_u64().expect("a number")
    };
    gateway.fault(answer(400, r#"{"requestId":"T1","code":"OPERATION_DENIED_INSTANCE_IN_OPERATION"}"#));
    assert_eq!(gateway.reset(&payments(), "pay-1").problem(), "instance-not-ready");
    assert_eq!(left(&gateway), 1, "rejected: the team's quota is spent");
    gateway.fault(answer(500, ""));
    assert_eq!(gateway.reset(&payments(), "pay-1").problem(), "outcome-unknown", "the cool-down came back");
    assert_eq!(left(&gateway), 0, "unknown: both are spent");
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 429);
}

#[test]
fn whoami_tells_limits_and_what_is_left() {
    let gateway = TestGateway::spawn();
    gateway.reset(&payments(), "pay-1");
    let told = gateway.call("GET", "/v1/whoami", Some(&payments()), None).json();
    assert_eq!(told["limits"][0]["limit"], "caller");
    let team = &told["limits"][1];
    assert_eq!(
        (&team["limit"], &team["requests"], &team["burst"]),
        (&json!("team"), &json!(600), &json!(100))
    );
    assert_eq!((&team["remaining"], &team["periodSeconds"]), (&json!(99), &json!(3600)));
}
