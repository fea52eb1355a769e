//! Filters, pages, and the bytes of a record.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ALL, AUDITORS, audited, auditor, items, lived_in, owner, read, walk};
use crate::gateway::{FREE, PASSWORD, Setup, TestGateway, again, payments};
use crate::keys::{claims, token};

#[test]
fn each_filter_gives_the_records_that_it_names() {
    let gateway = audited(ALL);
    let before = jiff::Timestamp::now();
    lived_in(&gateway);
    let all = items(&read(&gateway, &auditor(), "limit=200"));
    let one = all.iter().find(|item| item["record"]["instanceId"] == "pay-2").expect("a record").clone();
    let record = &one["record"];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (reset, request, time) =
        (text(&record["resetId"]), text(&record["requestId"]), text(&record["time"]));
    let later = time.parse::<jiff::Timestamp>().expect("a time") + jiff::SignedDuration::from_millis(1);
    let is = |field: &'static str, value: Value| move |item: &Value| item["record"][field] == value;
    let writer = text(&one["writer"]);
    let (from, to) = (time.clone(), time.clone());
    type Wanted = Box<dyn Fn(&Value) -> bool>;
    let cases: Vec<(String, Wanted)> = vec![
        ("kind=intent".to_owned(), Box::new(is("kind", json!("intent")))),
        ("kind=start".to_owned(), Box::new(is("kind", json!("start")))),
        ("ofTeam=payments".to_owned(), Box::new(is("team", json!("payments")))),
        ("ofTeam=@gateway".to_owned(), Box::new(|item| owner(item) == "@gateway")),
        ("instanceId=pay-2".to_owned(), Box::new(is("instanceId", json!("pay-2")))),
        ("user=corp|bob".to_owned(), Box::new(is("subject", json!("bob")))),
        (format!("resetId={reset}"), Box::new(is("resetId", json!(reset)))),
        (format!("requestId={request}"), Box::new(is("requestId", json!(request)))),
        (format!("writer={writer}"), Box::new(|_| true)),
        ("writer=019ab3f0-c4d2-7f5e-8d1c-2b3a49586775".to_owned(), Box::new(|_| false)),
        (format!("since={time}"), Box::new(move |item| text(&item["record"]["time"]) >= from)),
        (format!("until={time}"), Box::new(move |item| text(&item["record"]["time"]) < to)),
        (
            format!(
                "since={before}&until={later}&kind=intent&user=corp|alice&ofTeam=payments&instanceId=pay-2"
            ),
            Box::new(|item| item["record"]["instanceId"] == "pay-2" && item["record"]["kind"] == "intent"),
        ),
        ("instanceId=pay-2&kind=refused".to_owned(), Box::new(|_| false)),
    ];
    for (query, wanted) in cases {
        // Each read leaves a record of its own, so these are left out.
        let unread = |items: Vec<Value>| -> Vec<Value> {
            items.into_iter().filter(|item| item["record"]["kind"] != "read").collect()
        };
        let got = unread(items(&read(&gateway, &auditor(), &format!("{query}&limit=200"))));
        let expected: Vec<Value> = all.iter().filter(|item| wanted(item)).cloned().collect();
        assert_eq!(got, unread(expected), "{query}");
        let by_one = unread(walk(&gateway, &auditor(), &format!("{query}&limit=1"), || {}));
        let seen: BTreeSet<String> = by_one.iter().map(|item| item["hash"].to_string()).collect();
        assert!(got.iter().all(|item| seen.contains(&item["hash"].to_string())), "{query}, by one");
    }
    let times: Vec<&str> = all.iter().filter_map(|item| item["record"]["time"].as_str()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "the newest first: {times:?}");
}

#[test]
fn pages_stay_in_step_while_records_come_and_over_two_writers() {
    let team = Some((AUDITORS, ALL));
    let gateway = TestGateway::with(Setup { team, limits: Some(FREE), ..Setup::default() });
    lived_in(&gateway);
    let gateway = again(gateway);
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
    gateway.records_of("key", 6);
    let before = items(&read(&gateway, &auditor(), "limit=200"));
    let writers: BTreeSet<String> = before.iter().map(|item| item["writer"].to_string()).collect();
    assert_eq!(writers.len(), 2);
    let mut more = 0;
    let walked = walk(&gateway, &auditor(), "limit=3", || {
        more += 1;
        assert_eq!(gateway.reset(&payments(), "pay-3").status, 201);
    });
    assert!(more >= 4, "several pages");
    let known: Vec<&Value> = walked.iter().filter(|item| before.contains(item)).collect();
    assert_eq!(known, before.iter().collect::<Vec<_>>(), "each once, in one order");
    let hashes: BTreeSet<String> = walked.iter().map(|item| item["hash"].to_string()).collect();
    assert_eq!(hashes.len(), walked.len(), "none twice");
    assert!(walked.len() <= before.len() + 3, "what came meanwhile is newer than where the first page began");
}

#[test]
fn a_record_is_given_in_the_bytes_that_its_hash_is_of() {
    #[derive(serde::Deserialize)]
    struct Page<'p> {
        #[serde(borrow)]
        items: Vec<Item<'p>>,
    }
    #[derive(serde::Deserialize)]
    struct Item<'p> {
        writer: String,
        sequence: u64,
        hash: String,
        #[serde(borrow)]
        record: &'p RawValue,
    }
    let gateway = audited(ALL);
    let body = json!({ "password": PASSWORD, "reason": "é \" \\ / \u{1f511} <b>", "ticket": "OPS-1" });
    let path = "/v1/instances/pay-1/password-resets";
    let made = gateway.call("POST", path, Some(&payments()), Some(&body.to_string()));
    assert_eq!(made.status, 201);
    let answer = read(&gateway, &auditor(), "limit=200");
    let page: Page<'_> = serde_json::from_str(&answer.body).expect("a page");
    for Item { writer, sequence, hash, record } in &page.items {
        assert_eq!(hex::encode(Sha256::digest(record.get())), *hash, "{}", record.get());
        let told: Value = serde_json::from_str(record.get()).expect("JSON");
        assert_eq!((&told["writer"], &told["sequence"]), (&json!(writer), &json!(sequence)));
    }
    let mut chain: Vec<&Item<'_>> = page.items.iter().collect();
    chain.sort_by_key(|item| item.sequence);
    for pair in chain.windows(2) {
        let next: Value = serde_json::from_str(pair[1].record.get()).expect("JSON");
        assert_eq!(next["previous"], pair[0].hash, "an auditor walks the chain");
    }
    let receipt = &made.json()["receipt"];
    let intent = page.items.iter().find(|item| json!(item.sequence) == receipt["sequence"]).expect("there");
    assert_eq!(receipt["hash"], intent.hash, "and finds a receipt in it");
    assert!(!answer.body.contains(PASSWORD), "no password");
    assert!(!answer.body.contains(&payments()), "no token");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("ratelimit").is_some());
}

#[test]
fn a_page_has_fifty_records_unless_told_otherwise_and_200_at_most() {
    let gateway = audited(ALL);
    for _ in 0..110 {
        assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
    }
    for (query, count) in [("", 50), ("limit=1", 1), ("limit=50", 50), ("limit=200", 200)] {
        let answer = read(&gateway, &auditor(), query);
        assert_eq!(items(&answer).len(), count, "{query}");
        assert!(answer.json()["nextCursor"].is_string(), "{query}");
    }
    let last = read(&gateway, &auditor(), "kind=start");
    assert!(last.json().get("nextCursor").is_none(), "nothing follows: {last:?}");
}

#[test]
fn bad_parameters_are_named() {
    let gateway = audited(ALL);
    let foreign = gateway.get("/v1/instances?limit=1", &payments()).json()["nextCursor"].clone();
    let foreign = format!("cursor={}", foreign.as_str().unwrap_or_default());
    for (query, place) in [
        ("kind=resets", "kind"),
        ("kind=", "kind"),
        ("kind=Intent", "kind"),
        ("ofTeam=Web", "ofTeam"),
        ("ofTeam=@other", "ofTeam"),
        ("ofTeam=", "ofTeam"),
        ("instanceId=a.b", "instanceId"),
        ("user=alice", "user"),
        ("user=corp|", "user"),
        ("user=No|alice", "user"),
        ("resetId=1", "resetId"),
        ("requestId=%20", "requestId"),
        ("writer=w", "writer"),
        ("writer=019AB3F0-C4D2-7F5E-8D1C-2B3A49586775", "writer"),
        ("since=yesterday", "since"),
        ("since=2026-11-24", "since"),
        ("since=1969-12-31T23:59:59Z", "since"),
        // A plus sign in a query is a blank.
        ("until=2026-11-24T12:00:00+01:00", "until"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("cursor=", "cursor"),
        ("cursor=AAAA", "cursor"),
        (&foreign, "cursor"),
        ("kind=start&kind=stop", "kind"),
        ("teams=web", "teams"),
        ("dryRun=true", "dryRun"),
    ] {
        let answer = read(&gateway, &auditor(), query);
        let expected = ("invalid-request".to_owned(), vec![place.to_owned()]);
        assert_eq!((answer.problem(), answer.places()), expected, "{query}: {answer:?}");
    }
    let several = read(&gateway, &auditor(), "kind=x&since=y&limit=0&cursor=z&writer=w");
    assert_eq!(several.places(), ["kind", "writer", "since", "limit", "cursor"], "all at once");
    assert!(items(&read(&gateway, &auditor(), "until=2026-11-24T12:00:00%2B01:00")).is_empty());
    gateway.records_of("read", 1);
}

#[test]
fn a_users_name_may_hold_anything() {
    let gateway = audited(ALL);
    let odd = "a|b & \"ü\" %7C";
    let odd_one = token(&claims(odd, json!(["web"])));
    assert_eq!(gateway.reset(&odd_one, "pay-1").status, 403);
    let query: String = url::form_urlencoded::byte_serialize(format!("corp|{odd}").as_bytes()).collect();
    gateway.records_of("refused", 1);
    let got = items(&read(&gateway, &auditor(), &format!("user={query}")));
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(got[0]["record"]["subject"], odd);
}
