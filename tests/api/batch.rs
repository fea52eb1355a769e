//! Several resets by one call: all or nothing until they are queued, then each in its turn.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{FREE, PASSWORD, Setup, TestGateway, instance, payments, web};
use crate::http::{self, Answer};

const PATH: &str = "/v1/password-resets";

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("pay-{n}")).collect()
}

fn typed(ids: &[impl AsRef<str>]) -> Value {
    let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
    json!({ "instanceIds": ids, "password": PASSWORD })
}

fn post(gateway: &TestGateway, token: &str, body: &Value) -> Answer {
    gateway.call("POST", PATH, Some(token), Some(&body.to_string()))
}

fn post_preferring(gateway: &TestGateway, prefer: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", payments());
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("prefer", prefer)];
    http::raw(gateway.address, &http::request("POST", PATH, &headers, Some(body.to_string().as_bytes())))
}

/// How many resets have which status: they always add up to the batch.
fn counts(batch: &Value) -> Vec<(String, u64)> {
    let resets = batch["resets"].as_array().unwrap_or_else(|| panic!("{batch}"));
    let counts = batch["counts"].as_object().expect("counts");
    let counts: Vec<_> = counts.iter().map(|(k, n)| (k.clone(), n.as_u64().expect("a number"))).collect();
    assert_eq!(counts.iter().map(|(_, n)| *n).sum::<u64>(), resets.len() as u64, "{batch}");
    for (status, count) in &counts {
        assert_eq!(resets.iter().filter(|reset| reset["status"] == **status).count() as u64, *count);
    }
    counts
}

fn status_of(batch: &Value, instance: &str) -> (String, Option<String>) {
    let resets = batch["resets"].as_array().expect("a list");
    let reset = resets.iter().find(|reset| reset["instanceId"] == instance).expect("the instance");
    let cause = reset["cause"].as_str().map(str::to_owned);
    (reset["status"].as_str().expect("a status").to_owned(), cause)
}

fn until_finished(gateway: &TestGateway, location: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let batch = gateway.get(location, &payments()).json();
        counts(&batch);
        if batch["status"] == "finished" {
            return batch;
        }
        assert!(Instant::now() < until, "the batch ends: {batch}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn many() -> TestGateway {
    let instances: Value = (1..=100).map(|n| instance("payments", &format!("pay-{n}"))).collect();
    TestGateway::with(Setup { limits: Some(FREE), instances: Some(instances), ..Setup::default() })
}

#[test]
fn a_hundred_are_reset_by_one_call_and_each_is_on_record() {
    let gateway = many();
    let told = post(&gateway, &payments(), &typed(&names(100)));
    assert_eq!(told.status, 201, "{told:?}");
    let batch = told.json();
    assert_eq!(counts(&batch), [("accepted".to_owned(), 100)]);
    assert_eq!(
        (&batch["kind"], &batch["status"], &batch["team"]),
        (&json!("batch"), &json!("finished"), &json!("payments"))
    );
    let resets = batch["resets"].as_array().expect("a list");
    let order: Vec<_> = resets.iter().map(|reset| reset["instanceId"].as_str().expect("an id")).collect();
    assert_eq!(order, names(100), "in the order of the call");
    assert_eq!(gateway.resets_sent(), 100);

    let location = told.header("location").expect("a path");
    assert_eq!(location, format!("/v1/password-resets/{}", batch["id"].as_str().expect("an id")));
    assert_eq!(gateway.get(location, &payments()).json(), batch, "what is read is what was told");
    let one = &resets[7];
    let read = gateway.get(&format!("{PATH}/{}", one["id"].as_str().expect("an id")), &payments());
    assert_eq!(&read.json(), one);
    assert_eq!(one["batchId"], batch["id"]);
    assert_eq!(gateway.get(location, &web()).status, 404, "another team reads nothing of it");

    let queued = gateway.records_of("queued", 100);
    let intents = gateway.records_of("intent", 100);
    let outcomes = gateway.records_of("outcome", 100);
    for record in queued.iter().chain(&intents).chain(&outcomes) {
        assert_eq!(record["batchId"], batch["id"], "{record}");
    }
    assert!(queued.iter().chain(&intents).all(|record| record["batchSize"] == 100), "{:?}", queued[0]);
    assert!(queued.iter().all(|record| record["quotas"].is_array() && record.get("digest").is_none()));
    let intent = intents.iter().find(|record| record["resetId"] == one["id"]).expect("its intent");
    assert_eq!(one["receipt"]["sequence"], intent["sequence"]);
    let begun = queued.iter().find(|record| record["resetId"] == one["id"]).expect("its place");
    assert_eq!((&intent["queuedAt"], &one["createdAt"]), (&begun["time"], &begun["time"]));
}

#[test]
fn every_mix_of_outcomes_adds_up() {
    let gateway = many();
    gateway.set_instance("pay-1", json!({ "status": "REBOOT" }));
    gateway.set_instance("pay-2", json!({ "status": "STOPPED" }));
    gateway.set_instance("pay-3", json!({ "enableAgent": false }));
    let reset = |id: &str, fault: Value| {
        let mut fault = fault;
        (fault["action"], fault["instanceId"]) = (json!("ResetInstancePassword"), json!(id));
        fault
    };
    gateway.faults(json!([
        reset("pay-4", json!({ "fault": "error", "status": 400, "code": "OPERATION_DENIED_INSTANCE_IN_OPERATION", "message": "Busy." })),
        reset("pay-5", json!({ "fault": "internal-error", "applied": true })),
        reset("pay-6", json!({ "fault": "close-after-read", "applied": false })),
        reset("pay-7", json!({ "fault": "garbage", "applied": true })),
        reset("pay-8", json!({ "fault": "delay", "milliseconds": 800 })),
    ]));
    let told = post(&gateway, &payments(), &typed(&names(100)));
    assert_eq!(told.status, 201, "whatever its items say: {told:?}");
    let batch = told.json();
    let expected = [("accepted", 93), ("not_sent", 3), ("rejected", 1), ("unknown", 3)];
    assert_eq!(counts(&batch), expected.map(|(status, count)| (status.to_owned(), count)));
    for (id, status, cause) in [
        ("pay-1", "not_sent", Some("busy")),
        ("pay-2", "not_sent", Some("not-running")),
        ("pay-3", "not_sent", Some("no-agent")),
        ("pay-4", "rejected", None),
        ("pay-5", "unknown", None),
        ("pay-6", "unknown", None),
        ("pay-7", "unknown", None),
        ("pay-8", "accepted", None),
    ] {
        assert_eq!(status_of(&batch, id), (status.to_owned(), cause.map(str::to_owned)), "{id}");
    }
    assert_eq!(gateway.get(told.header("location").expect("a path"), &payments()).json(), batch);
    // What was not sent has its quota back, and so has its instance its rest.
    assert_eq!(gateway.records_of("outcome", 100).len(), 100);
}

#[test]
fn one_that_policy_refuses_refuses_all_and_is_named() {
    let gateway = TestGateway::spawn();
    let detail = "No policy permits the acting team this action on this instance.";
    for (ids, status, places) in [
        (vec!["pay-1", "web-1", "pay-2"], 403, vec![1]),
        (vec!["pay-1", "pay-404"], 403, vec![1]),
        (vec!["web-1", "web-2", "pay-1"], 403, vec![0, 1]),
    ] {
        let told = post(&gateway, &payments(), &typed(&ids));
        assert_eq!((told.status, told.problem().as_str()), (status, "forbidden"), "{ids:?}: {told:?}");
        let expected: Vec<_> = places.iter().map(|place| format!("#/instanceIds/{place}")).collect();
        assert_eq!(told.places(), expected, "{ids:?}");
        for error in told.json()["errors"].as_array().expect("a list") {
            assert_eq!(error["detail"], detail, "foreign and missing alike");
        }
    }
    assert_eq!(gateway.resets_sent(), 0);
    let refused = gateway.records_of("refused", 4);
    let named: Vec<_> = refused.iter().map(|record| record["instanceId"].as_str().expect("an id")).collect();
    assert_eq!(named, ["web-1", "pay-404", "web-1", "web-2"]);
    assert!(refused.iter().all(|record| record["batchSize"].as_u64().is_some_and(|size| size >= 2)));
    let whoami = gateway.get("/v1/whoami", &payments()).json();
    let team = whoami["limits"].as_array().expect("a list").iter().find(|limit| limit["limit"] == "team");
    assert_eq!(team.expect("the team's")["remaining"], 100, "nothing was charged");

    let everything = r#"@id("all") permit (principal in Team::"payments", action, resource);"#;
    let gateway = TestGateway::with_team("payments", everything);
    let told = post(&gateway, &payments(), &typed(&["pay-1", "pay-404"]));
    assert_eq!(
        (told.status, told.problem().as_str(), told.places()),
        (404, "not-found", vec!["#/instanceIds/1".to_owned()])
    );
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn each_refused_instance_costs_a_call() {
    let limits = "[default]\nteam = { requests = 100, period_seconds = 3600, burst = 100 }\n\
        caller = { requests = 1, period_seconds = 60, burst = 10 }\ninstance_cooldown_seconds = 0\n";
    let gateway = TestGateway::with(Setup { limits: Some(limits), ..Setup::default() });
    gateway.refreshed();
    let foreign: Vec<_> = (1..=5).map(|n| format!("web-{n}")).collect();
    assert_eq!(post(&gateway, &payments(), &typed(&foreign)).status, 403);
    assert_eq!(post(&gateway, &payments(), &typed(&foreign)).status, 403);
    let spent = gateway.reset(&payments(), "pay-1");
    assert_eq!((spent.status, spent.problem().as_str()), (429, "rate-limited"), "{spent:?}");
    assert_eq!(gateway.records_of("refused", 11).len(), 11, "ten, and the caller limit's");
}

#[test]
fn a_quota_takes_all_or_nothing() {
    let limits = "[default]\nteam = { requests = 5, period_seconds = 3600, burst = 5 }\n\
        caller = { requests = 1000, period_seconds = 1, burst = 1000 }\ninstance_cooldown_seconds = 3600\n";
    let gateway = TestGateway::with(Setup { limits: Some(limits), ..Setup::default() });
    let large = post(&gateway, &payments(), &typed(&names(6)));
    assert_eq!((large.status, large.problem().as_str()), (422, "invalid-value"), "{large:?}");
    assert_eq!(large.places(), ["#/instanceIds"]);
    assert_eq!(post(&gateway, &payments(), &typed(&names(3))).status, 201);
    let spent = post(&gateway, &payments(), &typed(&["pay-7", "pay-8", "pay-9"]));
    assert_eq!((spent.status, spent.problem().as_str()), (429, "rate-limited"), "{spent:?}");
    assert!(spent.header("retry-after").is_some(), "{spent:?}");
    let resting = post(&gateway, &payments(), &typed(&["pay-3", "pay-10"]));
    assert_eq!((resting.status, resting.places()), (429, vec!["#/instanceIds/0".to_owned()]), "{resting:?}");
    assert_eq!(post(&gateway, &payments(), &typed(&["pay-11", "pay-12"])).status, 201, "two were left");
    assert_eq!(gateway.resets_sent(), 5);
    let refused = gateway.records_of("refused", 3);
    let why: Vec<_> = refused.iter().map(|record| record["refused"].as_str().expect("a word")).collect();
    assert_eq!(why, ["team-quota", "team-quota", "cooldown"]);
    assert!(refused.iter().all(|record| record.get("instanceId").is_none()), "{refused:?}");
}

#[test]
fn what_was_not_sent_and_what_was_rejected_get_their_charge_back() {
    let limits = "[default]\nteam = { requests = 4, period_seconds = 3600, burst = 4 }\n\
        caller = { requests = 1000, period_seconds = 1, burst = 1000 }\ninstance_cooldown_seconds = 3600\n";
    let gateway = TestGateway::with(Setup { limits: Some(limits), ..Setup::default() });
    gateway.set_instance("pay-1", json!({ "status": "STOPPED" }));
    gateway.fault(json!({ "action": "ResetInstancePassword", "instanceId": "pay-2", "fault": "error",
        "status": 400, "code": "OPERATION_DENIED_INSTANCE_IN_OPERATION", "message": "Busy." }));
    let first = post(&gateway, &payments(), &typed(&names(4))).json();
    assert_eq!(
        counts(&first),
        [("accepted".to_owned(), 2), ("not_sent".to_owned(), 1), ("rejected".to_owned(), 1)]
    );
    gateway.faults(json!([]));
    gateway.set_instance("pay-1", json!({ "status": "RUNNING" }));
    let again = post(&gateway, &payments(), &typed(&["pay-1"]));
    assert_eq!(again.status, 201, "its cell and its rest came back: {again:?}");
    let none = post(&gateway, &payments(), &typed(&["pay-2"]));
    assert_eq!(none.status, 429, "a rejected one costs its cell: {none:?}");
    assert!(none.json()["detail"].as_str().is_some_and(|detail| detail.contains("`team`")), "{none:?}");
}

#[test]
fn who_does_not_wait_reads_how_far_it_has_come() {
    let gateway = many();
    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 50 }));
    let told = post_preferring(&gateway, "respond-async", &typed(&names(100)));
    assert_eq!((told.status, told.header("preference-applied")), (202, Some("respond-async")), "{told:?}");
    let location = told.header("location").expect("a path").to_owned();
    assert_eq!(told.json()["status"], "running");
    counts(&told.json());
    let (until, mut seen) = (Instant::now() + Duration::from_secs(10), Vec::new());
    while !(seen.contains(&"queued".to_owned()) && seen.contains(&"accepted".to_owned())) {
        assert!(Instant::now() < until, "queued and accepted ones are seen beside each other: {seen:?}");
        seen = counts(&gateway.get(&location, &payments()).json())
            .into_iter()
            .map(|(status, _)| status)
            .collect();
    }
    let batch = until_finished(&gateway, &location);
    assert_eq!(counts(&batch), [("accepted".to_owned(), 100)]);
    assert!(batch["finishedAt"].as_str() > batch["createdAt"].as_str(), "{batch}");

    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 1500 }));
    let told = post_preferring(&gateway, "wait=1", &typed(&names(2)));
    assert_eq!((told.status, told.header("preference-applied")), (202, Some("wait=1")), "{told:?}");
    assert_eq!(counts(&told.json()), [("sent".to_owned(), 2)]);
    let told = post_preferring(&gateway, "respond-async, wait=9", &typed(&names(2)));
    assert_eq!((told.status, told.header("preference-applied")), (201, Some("wait=9")), "{told:?}");
}

#[test]
fn generated_passwords_are_told_once_each_has_its_own_and_nobody_is_asked_to_wait_for_them() {
    let gateway = TestGateway::spawn();
    gateway.fault(json!({ "action": "ResetInstancePassword", "instanceId": "pay-3", "fault": "internal-error", "applied": true }));
    gateway.set_instance("pay-4", json!({ "status": "STOPPED" }));
    let told =
        post_preferring(&gateway, "respond-async", &json!({ "instanceIds": names(4), "generate": true }));
    assert_eq!((told.status, told.header("preference-applied")), (201, None), "{told:?}");
    let batch = told.json();
    let passwords: Vec<_> =
        batch["resets"].as_array().expect("a list").iter().map(|reset| reset["password"].as_str()).collect();
    for (password, instance) in passwords.iter().zip(names(3)) {
        assert_eq!(*password, gateway.held(&instance).as_deref(), "{instance}");
        assert_eq!(password.map(str::len), Some(16));
    }
    assert!(passwords[0] != passwords[1] && passwords[1] != passwords[2]);
    assert_eq!(passwords[3], None, "it was surely not set");
    let read = gateway.get(told.header("location").expect("a path"), &payments());
    let records = gateway.records_until(|_| true);
    for text in [read.body, format!("{records:?}"), gateway.metrics()] {
        assert!(passwords.iter().flatten().all(|password| !text.contains(password)), "{text}");
    }
}

#[test]
fn a_batch_that_tells_passwords_is_answered_by_its_deadline() {
    let gateway = TestGateway::with(Setup {
        overrides: &[("ZENGATE__BATCH__DEADLINE_SECONDS", "5"), ("ZENGATE__BATCH__CONCURRENCY", "1")],
        ..Setup::default()
    });
    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 1200 }));
    let begun = Instant::now();
    let told = post(&gateway, &payments(), &json!({ "instanceIds": names(10), "generate": true }));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(told.status, 201, "{told:?}");
    let batch = told.json();
    let sent = gateway.resets_sent();
    assert!((2..=4).contains(&sent), "{sent}");
    assert_eq!(
        counts(&batch),
        [("accepted".to_owned(), sent as u64), ("not_sent".to_owned(), 10 - sent as u64)]
    );
    assert_eq!(status_of(&batch, "pay-10"), ("not_sent".to_owned(), Some("deadline".to_owned())));
}

#[test]
fn a_sealed_batch_may_be_left_and_fetched_again() {
    let gateway = TestGateway::spawn();
    let key = json!({ "kty": "EC", "crv": "P-256", "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps" });
    let body = json!({ "instanceIds": names(3), "generate": true, "recipientKey": key });
    let told = post_preferring(&gateway, "respond-async", &body);
    assert_eq!(told.status, 202, "{told:?}");
    let batch = until_finished(&gateway, told.header("location").expect("a path"));
    let sealed: std::collections::HashSet<_> = batch["resets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|reset| reset["sealedPassword"].to_string())
        .collect();
    assert_eq!(sealed.len(), 3, "each has its own: {batch}");
    assert!(sealed.iter().all(|jwe| jwe.matches('.').count() == 4), "{sealed:?}");
}

/// A batch that is under way, one reset at a time.
fn slow() -> (TestGateway, String) {
    let gateway = TestGateway::with(Setup {
        overrides: &[("ZENGATE__BATCH__CONCURRENCY", "1")],
        limits: Some(FREE),
        ..Setup::default()
    });
    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 500 }));
    let told = post_preferring(&gateway, "respond-async", &typed(&names(20)));
    assert_eq!(told.status, 202, "{told:?}");
    let location = told.header("location").expect("a path").to_owned();
    let until = Instant::now() + Duration::from_secs(10);
    while gateway.resets_sent() < 2 {
        assert!(Instant::now() < until, "it is under way");
        std::thread::sleep(Duration::from_millis(10));
    }
    (gateway, location)
}

#[test]
fn a_block_and_a_permission_that_is_taken_away_stop_the_rest() {
    for (row, file, text, cause) in [
        ("a block", "blocks.toml", "teams = [\"payments\"]\n", "blocked"),
        (
            "a policy",
            "teams/payments.cedar",
            r#"@id("view-own") permit (principal in Team::"payments", action == Action::"ViewInstance", resource);"#,
            "policy",
        ),
    ] {
        let (gateway, location) = slow();
        let path = gateway.folder.path().join("policies").join(file);
        let whole = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, text).expect("written");
        gateway.reloader.reload().expect("good policies");
        std::thread::sleep(Duration::from_millis(1500));
        let sent = gateway.resets_sent();
        assert!(sent < 15, "{row}: {sent}");
        std::fs::write(&path, whole).expect("written");
        gateway.reloader.reload().expect("good policies");
        let until = Instant::now() + Duration::from_secs(10);
        let batch = loop {
            let answer = gateway.get(&location, &payments());
            if answer.status == 200 && answer.json()["status"] == "finished" {
                break answer.json();
            }
            assert!(Instant::now() < until, "{row}: {answer:?}");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(gateway.resets_sent(), sent, "{row}: nothing more was sent");
        assert_eq!(
            counts(&batch),
            [("accepted".to_owned(), sent as u64), ("not_sent".to_owned(), 20 - sent as u64)],
            "{row}"
        );
        assert_eq!(status_of(&batch, "pay-20"), ("not_sent".to_owned(), Some(cause.to_owned())), "{row}");
    }
}

#[test]
fn a_stop_sends_no_more_and_says_so() {
    let (mut gateway, location) = slow();
    let begun = Instant::now();
    gateway.finish();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let sent = gateway.resets_sent();
    assert!(sent < 20, "{sent}");
    let gateway = crate::gateway::again(gateway);
    let batch = gateway.get(&location, &payments()).json();
    assert_eq!(
        counts(&batch),
        [("accepted".to_owned(), sent as u64), ("not_sent".to_owned(), 20 - sent as u64)]
    );
    assert_eq!(status_of(&batch, "pay-20"), ("not_sent".to_owned(), Some("stopping".to_owned())));
}

#[test]
fn a_caller_that_hangs_up_does_not_undo_it() {
    let gateway = TestGateway::spawn();
    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 300 }));
    let bearer = format!("Bearer {}", payments());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = typed(&names(20)).to_string();
    let mut stream = std::net::TcpStream::connect(gateway.address).expect("connected");
    std::io::Write::write_all(&mut stream, &http::request("POST", PATH, &headers, Some(body.as_bytes())))
        .expect("written");
    let until = Instant::now() + Duration::from_secs(10);
    while gateway.resets_sent() < 1 {
        assert!(Instant::now() < until, "it is under way");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(stream);
    let outcomes = gateway.records_of("outcome", 20);
    assert!(outcomes.iter().all(|outcome| outcome["outcome"] == "accepted"), "{outcomes:#?}");
}

#[test]
fn no_more_batches_run_than_may() {
    let gateway = TestGateway::with(Setup {
        overrides: &[("ZENGATE__BATCH__MAX_RUNNING", "1")],
        limits: Some(FREE),
        ..Setup::default()
    });
    gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 1000 }));
    let first = post_preferring(&gateway, "respond-async", &typed(&names(1)));
    assert_eq!(first.status, 202, "{first:?}");
    let second = post(&gateway, &payments(), &typed(&names(1)));
    assert_eq!((second.status, second.problem().as_str()), (503, "unavailable"), "{second:?}");
    until_finished(&gateway, first.header("location").expect("a path"));
    gateway.faults(json!([]));
    let until = Instant::now() + Duration::from_secs(5);
    while post(&gateway, &payments(), &typed(&names(1))).status != 201 {
        assert!(Instant::now() < until, "its place is free again");
    }
}

#[test]
fn policy_reads_how_many_a_call_names() {
    let policies = r#"
        @id("view") permit (principal in Team::"payments", action == Action::"ViewInstance", resource);
        @id("few") permit (principal in Team::"payments", action == Action::"ResetPassword", resource)
        when { context.batchSize <= 2 };
    "#;
    let gateway = TestGateway::with_team("payments", policies);
    let told = post(&gateway, &payments(), &typed(&names(3)));
    assert_eq!((told.status, told.places().len()), (403, 3), "{told:?}");
    assert_eq!(post(&gateway, &payments(), &typed(&names(2))).status, 201);
}

#[test]
fn a_dry_run_tells_of_each_and_sends_nothing() {
    let gateway = TestGateway::spawn();
    gateway.set_instance("pay-2", json!({ "status": "REBOOT" }));
    let tried = |ids: &[&str]| {
        let path = format!("{PATH}?dryRun=true");
        let told = gateway.call("POST", &path, Some(&payments()), Some(&typed(ids).to_string()));
        assert_eq!(told.status, 200, "{told:?}");
        let mut told = told.json();
        told.as_object_mut().expect("an object").remove("quotas").expect("quotas");
        told
    };
    assert_eq!(
        tried(&["pay-1", "pay-2"]),
        json!({ "allowed": true, "ready": false, "blockers": ["busy"], "instances": [
            { "instanceId": "pay-1", "allowed": true, "ready": true, "blockers": [] },
            { "instanceId": "pay-2", "allowed": true, "ready": false, "blockers": ["busy"] },
        ] })
    );
    assert_eq!(
        tried(&["pay-1", "web-1", "pay-404"]),
        json!({ "allowed": false, "blockers": ["policy"], "instances": [
            { "instanceId": "pay-1", "allowed": true, "ready": true, "blockers": [] },
            { "instanceId": "web-1", "allowed": false, "blockers": ["policy"] },
            { "instanceId": "pay-404", "allowed": false, "blockers": ["policy"] },
        ] }),
        "a foreign one and a missing one alike"
    );
    assert_eq!((gateway.resets_sent(), gateway.records_of("queued", 0).len()), (0, 0));
}

#[test]
fn every_fault_of_a_batch_is_named_by_its_place() {
    let gateway = TestGateway::with(Setup { limits: Some(FREE), ..Setup::default() });
    let hundred_and_one: Vec<_> = (0..101).map(|n| format!("pay-{n}")).collect();
    for (body, status, places) in [
        (json!({ "password": PASSWORD }), 400, vec!["#/instanceIds"]),
        (json!({ "password": PASSWORD, "instanceIds": "pay-1" }), 400, vec!["#/instanceIds"]),
        (json!({ "password": PASSWORD, "instanceIds": null }), 400, vec!["#/instanceIds"]),
        (
            json!({ "password": PASSWORD, "instanceIds": ["pay-1", 7, null] }),
            400,
            vec!["#/instanceIds/1", "#/instanceIds/2"],
        ),
        (json!({ "password": PASSWORD, "instanceIds": ["pay-1", ["pay-2"]] }), 400, vec!["#/instanceIds/1"]),
        (json!({ "instanceIds": ["pay-1"] }), 400, vec!["#/password"]),
        (
            json!({ "instanceIds": ["pay-1"], "instanceId": "pay-1", "password": PASSWORD }),
            400,
            vec!["#/instanceId"],
        ),
        (json!({ "instanceIds": [], "password": PASSWORD }), 422, vec!["#/instanceIds"]),
        (typed(&hundred_and_one), 422, vec!["#/instanceIds"]),
        (
            typed(&["pay-1", "pay 2", "", "pay-1"]),
            422,
            vec!["#/instanceIds/1", "#/instanceIds/2", "#/instanceIds/3"],
        ),
        (
            json!({ "instanceIds": ["pay-1", "pay-1"], "password": "short" }),
            422,
            vec!["#/instanceIds/1", "#/password", "#/password", "#/password", "#/password"],
        ),
    ] {
        let told = post(&gateway, &payments(), &body);
        assert_eq!(
            (told.status, told.places()),
            (status, places.iter().map(|place| place.to_string()).collect()),
            "{body}: {told:?}"
        );
    }
    let single = gateway.reset_with(&payments(), "pay-1", &typed(&["pay-1"]));
    assert_eq!((single.status, single.places()), (400, vec!["#/instanceIds".to_owned()]), "{single:?}");
    let twice = r#"{"instanceIds":["pay-1"],"instanceIds":["pay-2"],"password":"Abcd~1234"}"#;
    let told = gateway.call("POST", PATH, Some(&payments()), Some(twice));
    assert_eq!((told.status, told.places()), (400, vec!["#/instanceIds".to_owned()]), "{told:?}");
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn nothing_is_sent_of_a_batch_that_could_not_be_put_on_record() {
    let gateway = TestGateway::spawn();
    std::fs::remove_file(gateway.folder.path().join("zengate.db")).expect("removed");
    // The commit that notices.
    _ = gateway.reset(&payments(), "pay-1");
    let told = post(&gateway, &payments(), &typed(&names(3)));
    assert_eq!((told.status, told.problem().as_str()), (503, "unavailable"), "{told:?}");
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn what_policy_refuses_is_not_told_to_be_tried_again() {
    let gateway = TestGateway::with(Setup { limits: Some(FREE), ..Setup::default() });
    gateway.refreshed();
    // More than the caller may ask about at once.
    let missing: Vec<_> = (0..60).map(|n| format!("none-{n}")).collect();
    let told = post(&gateway, &payments(), &typed(&missing));
    assert_eq!((told.status, told.header("retry-after"), told.places().len()), (403, None, 60), "{told:?}");
}

#[test]
fn a_dry_run_says_so_of_a_batch_that_never_passes() {
    let limits = "[default]\nteam = { requests = 5, period_seconds = 3600, burst = 5 }\n";
    let gateway = TestGateway::with(Setup { limits: Some(limits), ..Setup::default() });
    for path in [PATH.to_owned(), format!("{PATH}?dryRun=true")] {
        let told = gateway.call("POST", &path, Some(&payments()), Some(&typed(&names(6)).to_string()));
        assert_eq!((told.status, told.places()), (422, vec!["#/instanceIds".to_owned()]), "{told:?}");
    }
}
