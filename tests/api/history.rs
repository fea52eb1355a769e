//! The list of resets: who sees which, and how its pages hang together.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::gateway::{FREE, PASSWORD, Setup, TestGateway, again, payments, web};
use crate::keys::{claims, token};

/// May read what payments did, and nobody else's.
const AUDIT: &str = r#"@id("read-payments")
    permit (principal in Team::"shop-audit", action == Action::"ViewReset", resource == Team::"payments");"#;

fn auditor() -> String {
    token(&claims("erin", json!(["shop-audit"])))
}

fn both() -> String {
    token(&claims("dave", json!(["payments", "web"])))
}

fn spawn() -> TestGateway {
    TestGateway::with(Setup { limits: Some(FREE), team: Some(("shop-audit", AUDIT)), ..Setup::default() })
}

/// Resets it, and gives the reset's id.
fn made(gateway: &TestGateway, token: &str, instance: &str) -> String {
    let answer = gateway.reset(token, instance);
    let id = answer.header("location").and_then(|location| location.rsplit('/').next());
    id.unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn list(gateway: &TestGateway, token: &str, query: &str) -> Value {
    let answer = gateway.get(&format!("/v1/password-resets?{query}"), token);
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!answer.body.contains(PASSWORD), "{query}: {answer:?}");
    answer.json()
}

fn fields(page: &Value, name: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("no items: {page}"));
    items.iter().map(|item| item[name].as_str().expect("a text").to_owned()).collect()
}

fn cursor(page: &Value) -> String {
    page["nextCursor"].as_str().unwrap_or_else(|| panic!("there are more: {page}")).to_owned()
}

#[test]
fn whose_resets_a_caller_sees_is_for_policy_to_say() {
    let gateway = spawn();
    made(&gateway, &payments(), "pay-1");
    made(&gateway, &web(), "web-1");
    made(&gateway, &payments(), "pay-2");
    let own = ["pay-2", "pay-1"].as_slice();
    for (caller, token, query, expected) in [
        ("a member", payments(), "", Ok(own)),
        ("a member", payments(), "ofTeam=payments", Ok(own)),
        ("a member, of all that it may", payments(), "ofTeam=*", Ok(own)),
        ("a member, of all that it may", payments(), "ofTeam=%2A&instanceId=web-1", Ok(&[][..])),
        ("a member", payments(), "ofTeam=web", Ok(&[])),
        ("a member", payments(), "ofTeam=web&instanceId=web-1", Ok(&[])),
        ("a member", payments(), "ofTeam=shop-none", Ok(&[])),
        ("a member of the other team", web(), "", Ok(&["web-1"][..])),
        ("an auditor", auditor(), "", Ok(&[][..])),
        ("an auditor", auditor(), "ofTeam=payments", Ok(own)),
        ("an auditor", auditor(), "ofTeam=payments&instanceId=pay-1", Ok(&["pay-1"][..])),
        ("an auditor", auditor(), "ofTeam=payments&instanceId=web-1", Ok(&[][..])),
        ("an auditor", auditor(), "ofTeam=web", Ok(&[])),
        ("an auditor", auditor(), "ofTeam=*", Ok(own)),
        ("an auditor", auditor(), "ofTeam=*&instanceId=web-1", Ok(&[][..])),
        ("a member of both, naming none", both(), "", Err("invalid-request")),
        ("a member of both, naming none", both(), "ofTeam=web", Err("invalid-request")),
        ("a member of both, for one", both(), "team=web", Ok(&["web-1"][..])),
        ("a member of both, for one", both(), "team=payments&ofTeam=payments", Ok(own)),
        ("a member of both, for one", both(), "team=web&ofTeam=payments", Ok(&[])),
        ("a member of both, for one", both(), "team=web&ofTeam=*", Ok(&["web-1"][..])),
    ] {
        let row = format!("{caller}: {query}");
        match expected {
            Ok(instances) => {
                assert_eq!(fields(&list(&gateway, &token, query), "instanceId"), instances, "{row}");
            }
            Err(problem) => {
                let answer = gateway.get(&format!("/v1/password-resets?{query}"), &token);
                assert_eq!(answer.problem(), problem, "{row}: {answer:?}");
            }
        }
    }
    let refused = gateway.records_of("refused", 5);
    let told = refused.iter().map(|record| {
        ["team", "action", "refused", "filter"].map(|name| record[name].as_str().unwrap_or_default())
    });
    let of = |team, filter| [team, "ViewReset", "policy", filter];
    let expected = [
        of("payments", "ofTeam=web"),
        of("payments", "ofTeam=web&instanceId=web-1"),
        of("payments", "ofTeam=shop-none"),
        of("shop-audit", "ofTeam=web"),
        of("web", "ofTeam=payments"),
    ];
    let (told, expected) = (BTreeSet::from_iter(told), BTreeSet::from(expected));
    assert_eq!(told, expected, "each under the acting team");
    for of in ["web", "shop-none"] {
        let page = list(&gateway, &payments(), &format!("ofTeam={of}"));
        assert_eq!(
            page,
            json!({ "items": [] }),
            "{of}: a team that there is and one that there is not are alike"
        );
    }
}

#[test]
fn an_item_is_the_reset_as_its_own_page_shows_it() {
    let gateway = spawn();
    let body = json!({ "password": PASSWORD, "reason": "lost", "ticket": "OPS-1" }).to_string();
    let answer =
        gateway.call("POST", "/v1/instances/pay-1/password-resets", Some(&payments()), Some(&body)).json();
    let page = list(&gateway, &payments(), "");
    assert_eq!(page, json!({ "items": [answer] }), "and no cursor");
    let id = answer["id"].as_str().expect("an id");
    assert_eq!(page["items"][0], gateway.get(&format!("/v1/password-resets/{id}"), &payments()).json());
}

#[test]
fn filters_narrow_and_fit_together() {
    let gateway = spawn();
    let pause = || std::thread::sleep(std::time::Duration::from_millis(5));
    let fault = |instance: &str, status: u16, code: &str| {
        let body = json!({ "requestId": "T-1", "code": code, "message": "m" }).to_string();
        json!({ "action": "ResetInstancePassword", "fault": "answer", "instanceId": instance, "status": status, "headers": {}, "body": body })
    };
    gateway.faults(json!([
        fault("pay-2", 400, "INVALID_PASSWORD_MALFORMED"),
        fault("pay-3", 500, "INTERNAL_SERVER_ERROR")
    ]));
    let instances = ["pay-1", "pay-2", "pay-3", "pay-1"];
    for instance in instances {
        made(&gateway, &payments(), instance);
        pause();
    }
    gateway.faults(json!([]));
    made(&gateway, &payments(), "pay-2");
    made(&gateway, &web(), "web-1");
    let all = list(&gateway, &payments(), "");
    assert_eq!(fields(&all, "instanceId"), ["pay-2", "pay-1", "pay-3", "pay-2", "pay-1"]);
    let at = fields(&all, "createdAt");
    let (third, with_offset) = (&at[2], at[2].replace('Z', "%2B00:00"));
    // 1 ns more than the third's own time.
    let just_after = third.replace('Z', "000001Z");
    for (query, expected) in [
        ("status=accepted".to_owned(), vec!["pay-2", "pay-1", "pay-1"]),
        ("status=rejected".to_owned(), vec!["pay-2"]),
        ("status=unknown".to_owned(), vec!["pay-3"]),
        ("status=not_sent".to_owned(), vec![]),
        ("status=sent".to_owned(), vec![]),
        ("instanceId=pay-1".to_owned(), vec!["pay-1", "pay-1"]),
        ("instanceId=web-1".to_owned(), vec![]),
        ("instanceId=pay-2&status=rejected".to_owned(), vec!["pay-2"]),
        ("instanceId=pay-2&status=unknown".to_owned(), vec![]),
        (format!("since={third}"), vec!["pay-2", "pay-1", "pay-3"]),
        (format!("since={with_offset}"), vec!["pay-2", "pay-1", "pay-3"]),
        (format!("since={just_after}"), vec!["pay-2", "pay-1"]),
        (format!("until={third}"), vec!["pay-2", "pay-1"]),
        (format!("until={just_after}"), vec!["pay-3", "pay-2", "pay-1"]),
        (format!("since={third}&until={}", at[1]), vec!["pay-3"]),
        (format!("since={}&until={third}", at[1]), vec![]),
        (format!("since={third}&status=accepted&instanceId=pay-1"), vec!["pay-1"]),
        ("since=2000-01-01T00:00:00Z&until=9999-01-01T00:00:00Z&limit=1".to_owned(), vec!["pay-2"]),
        ("until=1970-01-01T00:00:00Z".to_owned(), vec![]),
        ("ofTeam=*&status=rejected".to_owned(), vec!["pay-2"]),
    ] {
        assert_eq!(fields(&list(&gateway, &payments(), &query), "instanceId"), expected, "{query}");
    }
}

#[test]
fn a_cursor_goes_on_where_it_was_while_resets_arrive_and_after_a_restart() {
    let gateway = spawn();
    let mut before: Vec<_> = (1..=7).map(|n| made(&gateway, &payments(), &format!("pay-{n}"))).collect();
    before.reverse();
    let first = list(&gateway, &payments(), "limit=2");
    made(&gateway, &payments(), "pay-8");
    let second = list(&gateway, &payments(), &format!("limit=2&cursor={}", cursor(&first)));
    let gateway = again(gateway);
    let newest = made(&gateway, &payments(), "pay-9");
    let third = list(&gateway, &payments(), &format!("limit=3&cursor={}", cursor(&second)));
    let walked = [&first, &second, &third].map(|page| fields(page, "id")).concat();
    assert_eq!(walked, before, "each once, none that came later");
    assert!(third.get("nextCursor").is_none(), "nothing follows: {third}");
    let repeated = list(&gateway, &payments(), &format!("limit=2&cursor={}", cursor(&first)));
    assert_eq!(fields(&repeated, "id"), fields(&second, "id"), "a cursor can be used again");
    let anew = list(&gateway, &payments(), "");
    assert_eq!((fields(&anew, "id").len(), &fields(&anew, "id")[0]), (9, &newest), "of both writers");
    let writers =
        anew["items"].as_array().expect("a list").iter().map(|item| item["receipt"]["writer"].as_str());
    assert_eq!(writers.collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn a_cursor_is_but_a_position() {
    let gateway = spawn();
    gateway.refreshed();
    made(&gateway, &web(), "web-1");
    for n in 1..=3 {
        made(&gateway, &payments(), &format!("pay-{n}"));
    }
    let next = cursor(&list(&gateway, &payments(), "limit=1"));
    let seen = |token: &str, query: &str| {
        fields(&list(&gateway, token, &format!("{query}&cursor={next}")), "instanceId")
    };
    assert_eq!(seen(&payments(), ""), ["pay-2", "pay-1"]);
    assert_eq!(seen(&payments(), "instanceId=pay-3"), [""; 0], "filters are each request's own");
    assert_eq!(seen(&payments(), "instanceId=pay-1"), ["pay-1"]);
    assert_eq!(seen(&payments(), "until=2000-01-01T00:00:00Z"), [""; 0]);
    assert_eq!(seen(&web(), ""), ["web-1"], "and so is permission");
    let other = cursor(&gateway.get("/v1/instances?limit=1", &payments()).json());
    let answer = gateway.get(&format!("/v1/password-resets?cursor={other}"), &payments());
    assert_eq!(answer.places(), ["cursor"], "of another list");
    let answer = gateway.get(&format!("/v1/instances?cursor={next}"), &payments());
    assert_eq!(answer.places(), ["cursor"], "nor is this one another list's");
}

#[test]
fn what_is_revoked_between_two_pages_ends_the_walk() {
    let gateway = spawn();
    for n in 1..=3 {
        made(&gateway, &payments(), &format!("pay-{n}"));
    }
    let pages = ["ofTeam=payments&limit=1", "ofTeam=*&limit=1"].map(|query| {
        let next = cursor(&list(&gateway, &auditor(), query));
        format!("{query}&cursor={next}")
    });
    for page in &pages {
        assert_eq!(fields(&list(&gateway, &auditor(), page), "instanceId"), ["pay-2"], "{page}");
    }
    let policies = gateway.folder.path().join("policies/teams/shop-audit.cedar");
    fs::write(policies, AUDIT.replace(r#"Team::"payments""#, r#"Team::"tour""#)).expect("written");
    gateway.reloader.reload().expect("good");
    for page in &pages {
        assert_eq!(list(&gateway, &auditor(), page), json!({ "items": [] }), "{page}");
    }
    let refused = gateway.records_of("refused", 1);
    assert_eq!(refused[0]["filter"], "ofTeam=payments", "to ask for all is no attempt: {refused:#?}");
}

#[test]
fn a_forbid_bites_on_ones_own_and_so_does_one_that_cannot_be_evaluated() {
    let forbids = r#"
        @id("no") forbid (principal, action == Action::"ViewReset", resource == Team::"payments");
        @id("overflow") forbid (principal in Team::"web", action == Action::"ViewReset", resource)
        when { (if context.client == "x" then 1 else 2) + 9223372036854775807 == 0 };"#;
    let gateway = TestGateway::with(Setup { forbids, team: Some(("shop-audit", AUDIT)), ..Setup::default() });
    made(&gateway, &payments(), "pay-1");
    made(&gateway, &web(), "web-1");
    for token in [payments(), web()] {
        let answer = gateway.get("/v1/password-resets", &token);
        let told = "A policy forbids the acting team to read its resets.";
        assert_eq!((answer.status, answer.json()["detail"].as_str()), (403, Some(told)), "{answer:?}");
        assert_eq!(list(&gateway, &token, "ofTeam=*"), json!({ "items": [] }), "nor among all");
    }
    for query in ["ofTeam=payments", "ofTeam=*"] {
        assert_eq!(
            list(&gateway, &auditor(), query),
            json!({ "items": [] }),
            "{query}: whatever a permit says"
        );
    }
    let refused = gateway.records_of("refused", 3);
    assert!(refused.iter().all(|record| record["action"] == "ViewReset"), "{refused:#?}");
}

#[test]
fn the_limit_bounds_a_page() {
    let gateway = spawn();
    for n in 0..52 {
        made(&gateway, &payments(), &format!("pay-{}", n % 20 + 1));
    }
    for (query, items, more) in [
        ("", 50, true),
        ("limit=1", 1, true),
        ("limit=51", 51, true),
        ("limit=52", 52, false),
        ("limit=200", 52, false),
        ("ofTeam=*&limit=52", 52, false),
    ] {
        let page = list(&gateway, &payments(), query);
        assert_eq!((fields(&page, "id").len(), page.get("nextCursor").is_some()), (items, more), "{query}");
    }
}

#[test]
fn bad_parameters_are_named() {
    let gateway = TestGateway::spawn();
    for (query, place) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("status=done", "status"),
        ("status=", "status"),
        ("status=ACCEPTED", "status"),
        ("instanceId=", "instanceId"),
        ("instanceId=a%2Fb", "instanceId"),
        ("instanceId=%00", "instanceId"),
        ("ofTeam=", "ofTeam"),
        ("ofTeam=Payments", "ofTeam"),
        ("ofTeam=**", "ofTeam"),
        ("ofTeam=pay*", "ofTeam"),
        ("team=*", "team"),
        ("since=", "since"),
        ("since=yesterday", "since"),
        ("since=2026-11-24", "since"),
        ("since=2026-11-24T12:00:00", "since"),
        ("since=2026-11-24T12:00:00+01:00", "since"),
        ("until=2026-13-24T12:00:00Z", "until"),
        ("until=1790000000", "until"),
        ("until=99999-01-01T00:00:00Z", "until"),
        ("until=1969-12-31T23:59:59Z", "until"),
        ("cursor=", "cursor"),
        ("cursor=pay-1", "cursor"),
        ("cursor=019ab3f0-c4d2-7f5e-8d1c-2b3a49586774", "cursor"),
        ("status=sent&status=accepted", "status"),
        ("instanceid=pay-1", "instanceid"),
        ("dryRun=true", "dryRun"),
    ] {
        let answer = gateway.get(&format!("/v1/password-resets?{query}"), &payments());
        let expected = ("invalid-request".to_owned(), vec![place.to_owned()]);
        assert_eq!((answer.problem(), answer.places()), expected, "{query}: {answer:?}");
    }
    let several = "ofTeam=A&instanceId=-&status=x&since=y&until=z&cursor=c&limit=0";
    let several = gateway.get(&format!("/v1/password-resets?{several}"), &payments());
    assert_eq!(
        several.places(),
        ["ofTeam", "instanceId", "status", "since", "until", "cursor", "limit"],
        "all at once"
    );
}
