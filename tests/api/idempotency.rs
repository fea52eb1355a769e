//! A request that is sent twice by one `Idempotency-Key` is served once, wherever the second one arrives.

use std::fs;

use serde_json::json;
use zengate::audit::Maintenance;
use zengate::config;

use crate::gateway::{FREE, PASSWORD, Setup, TestGateway, again, payments, web};
use crate::http::{Answer, raw, request};
use crate::keys::{claims, token};
use crate::postgres::Postgres;

const PATH: &str = "/v1/instances/pay-1/password-resets";
const RESET: &str = "ResetInstancePassword";

/// A POST as it may be sent again.
#[derive(Clone, Copy)]
struct Post<'p> {
    path: &'p str,
    token: &'p str,
    key: &'p str,
    body: &'p str,
}

impl Post<'_> {
    fn send(&self, gateway: &TestGateway) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", self.key),
        ];
        raw(gateway.address, &request("POST", self.path, &headers, Some(self.body.as_bytes())))
    }
}

fn body() -> String {
    json!({ "password": PASSWORD }).to_string()
}

fn free() -> TestGateway {
    TestGateway::with(Setup { limits: Some(FREE), ..Setup::default() })
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// One of the answers is the first, the others say what became of it or that it is worked on.
fn served_once(answers: &[Answer]) {
    let first = answers.iter().filter(|answer| answer.status == 201 && !is_replay(answer)).count();
    assert_eq!(first, 1, "{answers:#?}");
    for answer in answers {
        let told = (answer.status, is_replay(answer), answer.problem());
        assert!(
            matches!((told.0, told.1, told.2.as_str()), (201, _, "") | (409, false, "idempotency-in-flight")),
            "{answer:?}"
        );
    }
    let ids = answers.iter().filter(|answer| answer.status == 201).map(|answer| answer.header("location"));
    assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 1, "all of one reset");
}

#[test]
fn fifty_at_once_reset_once() {
    let gateway = free();
    gateway.fault(json!({ "fault": "delay", "milliseconds": 300, "action": RESET }));
    let (token, body) = (payments(), body());
    let post = Post { path: PATH, token: &token, key: "once", body: &body };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..50).map(|_| scope.spawn(|| post.send(&gateway))).collect();
        calls.into_iter().map(|call| call.join().expect("answered")).collect()
    });
    served_once(&answers);
    assert_eq!(gateway.resets_sent(), 1);
    let waits = answers.iter().filter(|answer| answer.status == 409);
    assert!(waits.clone().all(|answer| answer.header("retry-after") == Some("1")) && waits.count() > 0);
    let last = post.send(&gateway);
    assert!(last.status == 201 && is_replay(&last), "{last:?}");
    let refused = gateway.records_of("refused", answers.iter().filter(|answer| answer.status == 409).count());
    assert!(refused.iter().all(|record| record["refused"] == "idempotency-in-flight"), "{refused:#?}");
    let met = |result| gateway.metric(&format!("zengate_idempotency_keys_met_total{{result=\"{result}\"}}"));
    assert_eq!(met("replayed") + met("in-flight"), 50.0);
}

#[test]
fn the_answer_is_there_after_a_restart_and_costs_nothing() {
    let limits = "[default]\nteam = { requests = 1, period_seconds = 3600, burst = 1 }\n";
    let gateway = TestGateway::with(Setup { limits: Some(limits), ..Setup::default() });
    let (token, body) = (payments(), body());
    let post = Post { path: PATH, token: &token, key: "\"quoted\"", body: &body };
    let first = post.send(&gateway);
    assert_eq!((first.status, is_replay(&first)), (201, false), "{first:?}");
    for bare in ["\"quoted\"", "quoted"] {
        let replay = Post { key: bare, ..post }.send(&gateway);
        assert_eq!((replay.status, is_replay(&replay)), (201, true), "the quota is spent: {replay:?}");
        assert_eq!((replay.json(), replay.header("location")), (first.json(), first.header("location")));
    }
    assert_eq!(Post { key: "other", ..post }.send(&gateway).status, 429);
    let gateway = again(gateway);
    let replay = post.send(&gateway);
    assert_eq!((replay.status, is_replay(&replay), replay.json()), (201, true, first.json()), "{replay:?}");
    assert_eq!(gateway.resets_sent(), 1);
    gateway.records_of("intent", 1);
}

#[test]
fn a_key_is_its_callers_own_and_stands_for_one_request() {
    let gateway = free();
    let (both, other) =
        (token(&claims("alice", json!(["payments", "web"]))), token(&claims("carol", json!(["payments"]))));
    let body = body();
    let path = format!("{PATH}?team=payments");
    let post = Post { path: &path, token: &both, key: "k", body: &body };
    let first = post.send(&gateway);
    assert_eq!(first.status, 201, "{first:?}");
    let its_own = Post { token: &other, ..post }.send(&gateway);
    assert_eq!((its_own.status, is_replay(&its_own)), (201, false), "another caller's key: {its_own:?}");
    let spaced = body.replace(':', ": ");
    for (row, changed) in [
        ("another instance", Post { path: "/v1/instances/pay-2/password-resets?team=payments", ..post }),
        ("another body", Post { body: &spaced, ..post }),
        ("another query", Post { path: &format!("{path}&dryRun=false"), ..post }),
        ("another team", Post { path: "/v1/instances/web-1/password-resets?team=web", ..post }),
    ] {
        let told = changed.send(&gateway);
        assert_eq!(
            (told.status, told.problem().as_str()),
            (422, "idempotency-key-reused"),
            "{row}: {told:?}"
        );
    }
    let same = post.send(&gateway);
    assert!(is_replay(&same), "{same:?}");
    // The same query, and another team: the token has one alone.
    let narrow = token(&claims("dora", json!(["payments"])));
    let wide = token(&claims("dora", json!(["web"])));
    let visit = |token: &str, path: &str| Post { path, token, ..post }.send(&gateway);
    assert_eq!(visit(&narrow, "/v1/instances/pay-3/password-resets").status, 201);
    let told = visit(&wide, "/v1/instances/pay-3/password-resets");
    assert_eq!(told.problem(), "forbidden", "permission is asked first: {told:?}");
    assert_eq!(gateway.resets_sent(), 3);
    let refused = gateway.records_of("refused", 5);
    assert_eq!(refused.iter().filter(|record| record["refused"] == "idempotency-key-reused").count(), 4);
    assert_eq!(gateway.metric(r#"zengate_idempotency_keys_met_total{result="reused"}"#), 4.0);
}

#[test]
fn what_changed_nothing_releases_its_key_and_what_may_have_keeps_it() {
    let limits = "[default]\ninstance_cooldown_seconds = 60\n";
    let gateway = TestGateway::with(Setup { limits: Some(limits), ..Setup::default() });
    let (token, body) = (payments(), body());
    let post = |instance: &str, key: &str| {
        let path = format!("/v1/instances/{instance}/password-resets");
        Post { path: &path, token: &token, key, body: &body }.send(&gateway)
    };
    let answer = |status: u16, code: &str| {
        json!({ "action": RESET, "fault": "answer", "status": status,
            "body": json!({ "requestId": "T", "code": code, "message": "m" }).to_string() })
    };
    gateway.set_instance("pay-1", json!({ "status": "STOPPED" }));
    assert_eq!(post("pay-1", "a").problem(), "instance-not-ready");
    assert_eq!(post("web-1", "a").problem(), "forbidden");
    assert_eq!(post("pay-2", "a").status, 201, "no refusal has kept the key");
    assert_eq!(post("pay-2", "b").problem(), "rate-limited", "it rests");
    gateway.fault(answer(400, "INVALID_PASSWORD_MALFORMED"));
    assert_eq!(post("pay-3", "b").problem(), "invalid-value", "nor has that");
    gateway.faults(json!([]));
    let served = post("pay-3", "b");
    assert_eq!((served.status, is_replay(&served)), (201, false), "rejected: {served:?}");

    gateway.fault(answer(500, "INTERNAL_SERVER_ERROR"));
    let unknown = post("pay-4", "c");
    assert_eq!((unknown.status, is_replay(&unknown)), (504, false), "{unknown:?}");
    gateway.faults(json!([]));
    let sent = gateway.resets_sent();
    for _ in 0..2 {
        let replay = post("pay-4", "c");
        assert_eq!((replay.status, replay.problem().as_str()), (504, "outcome-unknown"), "{replay:?}");
        assert!(is_replay(&replay), "{replay:?}");
        for name in ["location", "content-type"] {
            assert_eq!(replay.header(name), unknown.header(name), "{name}");
        }
        for name in ["resetId", "upstreamCode", "upstreamRequestId", "detail"] {
            assert_eq!(replay.json()[name], unknown.json()[name], "{name}");
        }
    }
    assert_eq!(gateway.resets_sent(), sent);
}

#[test]
fn what_was_never_sent_releases_its_key() {
    let lender = free();
    let mut proxy = crate::proxy::Proxy::to(lender.simulator.addr());
    let url = format!("http://{}", proxy.address);
    let overrides = [("ZENGATE__UPSTREAM__URL", url.as_str()), ("ZENGATE__UPSTREAM__RETRIES", "0")];
    let gateway = TestGateway::with(Setup { overrides: &overrides, limits: Some(FREE), ..Setup::default() });
    let (token, body) = (payments(), body());
    let post = Post { path: PATH, token: &token, key: "k", body: &body };
    gateway.refreshed();
    proxy.close();
    let told = post.send(&gateway);
    assert_eq!((told.status, told.problem().as_str()), (503, "unavailable"), "{told:?}");
    assert!(told.header("location").is_some(), "there was an intent: {told:?}");
    proxy.reopen();
    let served = post.send(&gateway);
    assert_eq!((served.status, is_replay(&served)), (201, false), "{served:?}");
    assert_eq!(lender.resets_sent(), 1);
}

#[test]
fn a_generated_password_is_not_told_again() {
    let gateway = free();
    let token = payments();
    let key = json!({
        "kty": "EC", "crv": "P-256", "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
        "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
    });
    let [plain, sealed] = [json!({ "generate": true }), json!({ "generate": true, "recipientKey": key })];
    let lost = json!({ "fault": "close-after-read", "applied": true, "action": RESET });
    for (instance, body, clear, fault, status) in [
        ("pay-1", &plain, true, json!([]), 201),
        ("pay-2", &sealed, false, json!([]), 201),
        ("pay-3", &plain, true, json!([lost]), 504),
        ("pay-4", &sealed, false, json!([lost]), 504),
    ] {
        gateway.faults(fault);
        let (path, body) = (format!("/v1/instances/{instance}/password-resets"), body.to_string());
        let post = Post { path: &path, token: &token, key: instance, body: &body };
        let (first, replay) = (post.send(&gateway), post.send(&gateway));
        assert_eq!((first.status, replay.status, is_replay(&replay)), (status, status, true), "{replay:?}");
        let held = gateway.held(instance).expect("it was set");
        assert!(!replay.body.contains(&held), "{replay:?}");
        assert_eq!(replay.json().get("password"), None);
        assert_eq!(first.json()["password"].is_string(), clear, "to its first caller");
        assert_eq!(first.json()["sealedPassword"], replay.json()["sealedPassword"], "the same for its owner");
    }
    gateway.faults(json!([]));
    let canary = "Cnry~4Feather";
    let body = json!({ "password": canary }).to_string();
    let post =
        Post { path: "/v1/instances/pay-5/password-resets", token: &token, key: "canary", body: &body };
    assert!(post.send(&gateway).status == 201 && is_replay(&post.send(&gateway)));
    let passwords: Vec<_> = (1..=5).map(|n| gateway.held(&format!("pay-{n}")).expect("it was set")).collect();
    assert!(passwords.iter().any(|password| password == canary));
    for name in ["zengate.db", "zengate.db-wal", "zengate.db-shm"] {
        let bytes = fs::read(gateway.folder.path().join(name)).unwrap_or_default();
        let has = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(!passwords.iter().any(|password| has(password)), "{name} has a password");
    }
}

#[test]
fn a_key_that_is_none_is_named() {
    let gateway = free();
    let (token, body) = (payments(), body());
    let post = Post { path: PATH, token: &token, key: "k", body: &body };
    let longest = "k".repeat(64);
    let longer = "k".repeat(65);
    for (path, key) in [
        (PATH, ""),
        (PATH, "a b"),
        (PATH, "\"a"),
        (PATH, "\"a\";b=1"),
        (PATH, longer.as_str()),
        (PATH, "k\r\nidempotency-key: k"),
        (&format!("{PATH}?dryRun=true"), "k"),
    ] {
        let told = Post { path, key, ..post }.send(&gateway);
        assert_eq!(
            (told.status, told.places()),
            (400, vec!["Idempotency-Key".to_owned()]),
            "{key:?}: {told:?}"
        );
    }
    assert_eq!(gateway.resets_sent(), 0);
    assert_eq!(Post { key: &longest, ..post }.send(&gateway).status, 201);
    let preferred = [
        ("authorization", format!("Bearer {token}")),
        ("content-type", "application/json".to_owned()),
        ("prefer", "respond-async".to_owned()),
    ];
    let headers: Vec<_> = preferred.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let told = raw(gateway.address, &request("POST", PATH, &headers, Some(body.as_bytes())));
    assert_eq!((told.status, told.header("preference-applied")), (201, None), "{told:?}");
}

/// What a gateway that has stopped left behind, changed before it starts again.
fn changed(mut gateway: TestGateway, change: impl FnOnce(&std::path::Path)) -> TestGateway {
    gateway.finish();
    change(gateway.folder.path());
    again(gateway)
}

#[test]
fn a_key_is_free_once_it_has_expired() {
    let gateway = free();
    let (token, body) = (payments(), body());
    let post = Post { path: PATH, token: &token, key: "k", body: &body };
    assert_eq!(post.send(&gateway).status, 201);
    let gateway = changed(gateway, |folder| {
        let file = rusqlite::Connection::open(folder.join("zengate.db")).expect("opened");
        let aged = file.execute("UPDATE idempotency_keys SET created_at = '2026-01-01T00:00:00.000Z'", []);
        assert_eq!(aged.expect("changed"), 1);
    });
    let other = Post { path: "/v1/instances/pay-2/password-resets", ..post };
    let told = other.send(&gateway);
    assert_eq!((told.status, is_replay(&told)), (201, false), "{told:?}");
    assert_eq!(post.send(&gateway).problem(), "idempotency-key-reused");
    assert!(is_replay(&other.send(&gateway)));
}

#[test]
fn a_request_is_known_by_the_key_before() {
    let gateway = free();
    let (token, body) = (payments(), body());
    let post = Post { path: PATH, token: &token, key: "k", body: &body };
    assert_eq!(post.send(&gateway).status, 201);
    let gateway = changed(gateway, |folder| {
        let (made, old) = (folder.join("zengate.db.idempotency-key"), folder.join("old-key"));
        fs::rename(made, old).expect("it was made");
        let config = folder.join("zengate.toml");
        let text = fs::read_to_string(&config).expect("read");
        let more = "\n[idempotency]\nprevious_key_file = \"old-key\"\n";
        fs::write(config, text + more).expect("written");
    });
    let replay = post.send(&gateway);
    assert!(is_replay(&replay), "{replay:?}");
    let gateway = changed(gateway, |folder| {
        let config = folder.join("zengate.toml");
        let text = fs::read_to_string(&config).expect("read");
        fs::write(config, text.replace("previous_key_file = \"old-key\"", "")).expect("written");
    });
    let told = post.send(&gateway);
    assert_eq!(told.problem(), "idempotency-key-reused", "nobody can tell, so it is not sent: {told:?}");
    assert_eq!(gateway.resets_sent(), 1);
}

#[test]
fn after_a_restore_new_keys_wait() {
    let gateway = free();
    let (token, body) = (payments(), body());
    let post = Post { path: PATH, token: &token, key: "k", body: &body };
    assert_eq!(post.send(&gateway).status, 201);
    let gateway = changed(gateway, |folder| {
        let settings = config::Audit::sqlite(&folder.join("zengate.db"));
        let mut maintenance = Maintenance::open(&settings).unwrap_or_else(|e| panic!("{e}"));
        maintenance.restored(&"a test".parse().expect("a reason")).expect("on record");
        maintenance.finish().expect("finished");
    });
    let told = Post { key: "new", ..post }.send(&gateway);
    assert_eq!((told.status, told.problem().as_str()), (503, "unavailable"), "{told:?}");
    assert_eq!(told.header("retry-after"), Some("3600"), "{told:?}");
    assert!(is_replay(&post.send(&gateway)), "what the backup has is known");
    assert_eq!(gateway.records_of("refused", 1)[0]["refused"], "idempotency-unavailable");
    assert_eq!(gateway.reset(&token, "pay-2").status, 201, "without a key nothing is different");
    assert_eq!(gateway.resets_sent(), 2);
    assert_eq!(Post { token: &web(), ..post }.send(&gateway).problem(), "forbidden");
}

#[test]
fn replicas_of_one_postgresql_reset_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(file("url"), Postgres::shared().database()).expect("written");
    fs::write(file("key"), "k".repeat(32)).expect("written");
    // Of `openssl genpkey -algorithm ed25519`: nobody's.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBwSVsNeq5GeMjHlnl+L6dfu/MDWg5kOSq2qaDC1mVvc\n-----END PRIVATE KEY-----\n";
    fs::write(file("signing-key"), pem).expect("written");
    let lender = free();
    let url = format!("http://{}", lender.simulator.addr());
    let settings = [
        ("ZENGATE__UPSTREAM__URL", url),
        ("ZENGATE__AUDIT__STORE", "postgres".to_owned()),
        ("ZENGATE__AUDIT__URL_FILE", file("url")),
        ("ZENGATE__AUDIT__SIGNING_KEY_FILE", file("signing-key")),
        ("ZENGATE__IDEMPOTENCY__KEY_FILE", file("key")),
    ];
    let overrides: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let replica =
        || TestGateway::with(Setup { overrides: &overrides, limits: Some(FREE), ..Setup::default() });
    let replicas = [replica(), replica()];
    let (token, body) = (payments(), body());
    lender.fault(json!({ "fault": "delay", "milliseconds": 50, "action": RESET }));
    for round in 0..5 {
        let key = format!("round-{round}");
        let post = Post { path: PATH, token: &token, key: &key, body: &body };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let both = replicas.iter().cycle().take(20);
            let calls: Vec<_> = both.map(|replica| scope.spawn(move || post.send(replica))).collect();
            calls.into_iter().map(|call| call.join().expect("answered")).collect()
        });
        served_once(&answers);
        assert_eq!(lender.resets_sent(), round + 1, "{answers:#?}");
        for replica in &replicas {
            let replay = post.send(replica);
            assert!(is_replay(&replay), "{replay:?}");
            let other = Post { path: "/v1/instances/pay-2/password-resets", ..post }.send(replica);
            assert_eq!(other.problem(), "idempotency-key-reused", "{other:?}");
        }
    }
    let failures = replicas.iter().map(|replica| replica.metric("zengate_audit_failures_total"));
    assert_eq!(failures.sum::<f64>(), 0.0, "a key that another has is no failure of the trail");
}

const BATCHES: &str = "/v1/password-resets";

fn batch_body() -> String {
    json!({ "instanceIds": ["pay-1", "pay-2", "pay-3"], "password": PASSWORD }).to_string()
}

#[test]
fn fifty_batches_at_once_are_one() {
    let gateway = free();
    gateway.fault(json!({ "fault": "delay", "milliseconds": 200, "action": RESET }));
    let (token, body) = (payments(), batch_body());
    let post = Post { path: BATCHES, token: &token, key: "batch", body: &body };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..50).map(|_| scope.spawn(|| post.send(&gateway))).collect();
        calls.into_iter().map(|call| call.join().expect("answered")).collect()
    });
    let first = answers.iter().filter(|answer| answer.status == 201 && !is_replay(answer)).count();
    assert_eq!(first, 1, "{answers:#?}");
    for answer in &answers {
        let told = (answer.status, is_replay(answer), answer.problem());
        // One that still runs is told as it is.
        let good = matches!(
            (told.0, told.1, told.2.as_str()),
            (201, _, "") | (202, true, "") | (409, false, "idempotency-in-flight")
        );
        assert!(good, "{answer:?}");
    }
    assert_eq!(gateway.resets_sent(), 3);
    let last = post.send(&gateway);
    let told = answers.iter().find(|answer| answer.status == 201 && !is_replay(answer)).expect("the first");
    assert_eq!((last.status, is_replay(&last), last.json()), (201, true, told.json()));
    gateway.records_of("queued", 3);
    let gateway = again(gateway);
    let after = post.send(&gateway);
    assert_eq!(
        (after.status, is_replay(&after), after.json()),
        (201, true, told.json()),
        "after a restart too"
    );
    assert_eq!(gateway.resets_sent(), 3);
}

#[test]
fn a_batch_keeps_its_key_whatever_its_resets_say_and_releases_it_where_it_was_refused() {
    let limits = "[default]\nteam = { requests = 4, period_seconds = 3600, burst = 4 }\n\
        caller = { requests = 1000, period_seconds = 1, burst = 1000 }\ninstance_cooldown_seconds = 0\n";
    let gateway = TestGateway::with(Setup { limits: Some(limits), ..Setup::default() });
    gateway.set_instance("pay-1", json!({ "status": "STOPPED" }));
    gateway.set_instance("pay-2", json!({ "status": "STOPPED" }));
    let token = payments();
    let wish = |ids: &[&str]| json!({ "instanceIds": ids, "password": PASSWORD }).to_string();
    let none = wish(&["pay-1", "pay-2"]);
    let post = Post { path: BATCHES, token: &token, key: "none", body: &none };
    let first = post.send(&gateway);
    assert_eq!(first.json()["counts"], json!({ "not_sent": 2 }), "{first:?}");
    let replay = post.send(&gateway);
    assert_eq!((replay.status, is_replay(&replay), replay.json()), (201, true, first.json()));

    let other = wish(&["pay-2", "pay-1"]);
    let reused = Post { body: &other, ..post }.send(&gateway);
    assert_eq!((reused.status, reused.problem().as_str()), (422, "idempotency-key-reused"), "{reused:?}");
    let single = body();
    let elsewhere = Post { path: PATH, body: &single, ..post }.send(&gateway);
    assert_eq!(
        elsewhere.problem(),
        "idempotency-key-reused",
        "another route is another request: {elsewhere:?}"
    );

    let many = wish(&["pay-3", "pay-4", "pay-5"]);
    let later = Post { path: BATCHES, token: &token, key: "later", body: &many };
    assert_eq!(Post { key: "spends", ..later }.send(&gateway).status, 201);
    assert_eq!(later.send(&gateway).status, 429, "the quota is spent");
    let foreign = wish(&["pay-6", "web-1"]);
    assert_eq!(Post { body: &foreign, ..later }.send(&gateway).status, 403);
    let one = wish(&["pay-6"]);
    let served = Post { body: &one, ..later }.send(&gateway);
    assert_eq!(
        (served.status, is_replay(&served)),
        (201, false),
        "what was refused holds no key: {served:?}"
    );
    // A replay costs nothing, and needs its permission today.
    assert_eq!(Post { key: "spends", ..later }.send(&gateway).status, 201);
}

#[test]
fn passwords_of_a_batch_are_told_once() {
    let gateway = free();
    let (token, body) =
        (payments(), json!({ "instanceIds": ["pay-1", "pay-2"], "generate": true }).to_string());
    let post = Post { path: BATCHES, token: &token, key: "made", body: &body };
    let first = post.send(&gateway);
    let passwords: Vec<_> = first.json()["resets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|reset| reset["password"].as_str().expect("a password").to_owned())
        .collect();
    let replay = post.send(&gateway);
    assert_eq!((replay.status, is_replay(&replay)), (201, true), "{replay:?}");
    assert!(passwords.iter().all(|password| !replay.body.contains(password)), "{replay:?}");
    let trail = fs::read(gateway.folder.path().join("zengate.db")).expect("read");
    let log = fs::read(gateway.folder.path().join("zengate.db-wal")).unwrap_or_default();
    for password in &passwords {
        let has = |bytes: &[u8]| bytes.windows(password.len()).any(|part| part == password.as_bytes());
        assert!(!has(&trail) && !has(&log), "a password stands in the trail");
    }
}

#[test]
fn who_asks_again_for_a_batch_that_runs_waits_as_it_prefers() {
    let gateway = free();
    gateway.fault(json!({ "fault": "delay", "milliseconds": 1200, "action": RESET }));
    let (bearer, body) = (format!("Bearer {}", payments()), batch_body());
    let ask = |prefer: &str| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "slow"),
            ("prefer", prefer),
        ];
        raw(gateway.address, &request("POST", BATCHES, &headers, Some(body.as_bytes())))
    };
    assert_eq!(ask("respond-async").status, 202);
    let at_once = ask("respond-async");
    assert_eq!((at_once.status, is_replay(&at_once)), (202, true), "{at_once:?}");
    assert_eq!(at_once.header("preference-applied"), Some("respond-async"));
    let waited = ask("wait=10");
    assert_eq!((waited.status, is_replay(&waited)), (201, true), "{waited:?}");
    assert_eq!(waited.json()["counts"], json!({ "accepted": 3 }));
    assert_eq!(gateway.resets_sent(), 3);
}
