//! Gateways that count their quotas, and the account's budget, in one Redis.

use std::thread;
use std::time::{Duration, Instant};

use redis::Commands;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{PASSWORD, Setup, TestGateway, instance, payments};
use crate::redis_server::Redis;

const URL_FILE: &str = "ZENGATE__LIMITS__REDIS_URL_FILE";

/// What gateways over one Redis have in common.
struct Shared {
    prefix: String,
    url_file: String,
    _folder: TempDir,
}

impl Shared {
    fn over(redis: &Redis) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url_file = folder.path().join("url");
        std::fs::write(&url_file, redis.url()).expect("written");
        Self { prefix: Redis::prefix(), url_file: url_file.display().to_string(), _folder: folder }
    }

    fn gateway(&self, limits: &str, further: &[(&str, &str)]) -> TestGateway {
        let mut overrides = vec![
            ("ZENGATE__LIMITS__STORE", "redis"),
            (URL_FILE, &self.url_file),
            ("ZENGATE__LIMITS__PREFIX", &self.prefix),
            // The machine of a test may be busy.
            ("ZENGATE__LIMITS__REDIS_TIMEOUT_MILLISECONDS", "500"),
            ("ZENGATE__LIMITS__REPLICAS", "2"),
        ];
        overrides.extend_from_slice(further);
        let instances: Value = (0..2000).map(|n| instance("payments", &format!("pay-{n}"))).collect();
        let instances = Some(instances);
        TestGateway::with(Setup {
            limits: Some(limits),
            overrides: &overrides,
            instances,
            ..Setup::default()
        })
    }
}

fn limits(team: &str, cooldown: u32) -> String {
    format!(
        "[default]\nteam = {team}\ninstance_cooldown_seconds = {cooldown}\n\
         caller = {{ requests = 1000000, period_seconds = 1, burst = 1000000 }}\n"
    )
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Microseconds by Redis' clock.
fn clock(redis: &mut redis::Connection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(redis).expect("a time");
    seconds * 1_000_000 + micros
}

#[test]
fn two_gateways_hold_one_quota_and_one_cool_down() {
    let redis = Redis::shared();
    let shared = Shared::over(redis);
    // One each 50 ms.
    let limits = limits("{ requests = 20, period_seconds = 1, burst = 10 }", 60);
    let gateways = [shared.gateway(&limits, &[]), shared.gateway(&limits, &[])];
    let mut admin = redis.admin();
    let began = clock(&mut admin);
    let end = Instant::now() + Duration::from_secs(2);
    let hammer = |gateway: &TestGateway, first: usize| {
        let (mut admitted, mut last) = (Vec::new(), Instant::now());
        for n in (first..2000).step_by(4) {
            if Instant::now() > end {
                break;
            }
            last = Instant::now();
            let id = format!("pay-{n}");
            let answer = gateway.reset(&payments(), &id);
            match answer.status {
                201 => admitted.push(id),
                429 => {}
                _ => panic!("{answer:?}"),
            }
        }
        (admitted, last)
    };
    let done: Vec<_> = thread::scope(|scope| {
        let workers = (0..4).map(|n| (n, &gateways[n % 2], &hammer));
        let workers: Vec<_> = workers.map(|(n, on, hammer)| scope.spawn(move || hammer(on, n))).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    let took = clock(&mut admin) - began;
    let admitted: Vec<_> = done.iter().flat_map(|(admitted, _)| admitted).collect();
    let most = 10 + took / 50_000;
    // Somebody asks all the time: what is less than all of them was never free.
    let least = most - 10;
    assert!((least..=most).contains(&(admitted.len() as u64)), "{} in {took} µs", admitted.len());
    let sent: usize = gateways.iter().map(TestGateway::resets_sent).sum();
    assert_eq!(sent, admitted.len());
    // Neither counts alone what the other reset.
    let rested = |gateway: &TestGateway, id: &str| {
        let told = gateway.get(&format!("/v1/instances/{id}"), &payments()).json();
        told["reset"]["blockers"].as_array().expect("a list").contains(&json!("cooldown"))
    };
    for id in [done[0].0.first().expect("one"), done[1].0.first().expect("one")] {
        assert!(gateways.iter().all(|gateway| rested(gateway, id)), "{id}");
    }
    let whoami = gateways[0].get("/v1/whoami", &payments());
    assert!(whoami.header("ratelimit").is_some_and(|left| left.contains(r#""team""#)), "{whoami:?}");
    let keys: Vec<String> = admin.keys(format!("{}*", shared.prefix)).expect("keys");
    assert!(keys.len() > admitted.len(), "one a cool-down, the team's, and the probe");
    // -1 is for ever; what the account's budget has there comes and goes.
    assert!(keys.iter().all(|key| admin.pttl::<_, i64>(key).expect("a life") != -1));
}

/// Resets by four callers of each gateway for two seconds: how many were sent, and how long it took by Redis' clock.
fn hammered(gateways: &[TestGateway; 2], admin: &mut redis::Connection) -> (u64, u64) {
    let sent = || gateways.iter().map(|gateway| gateway.resets_sent() as u64).sum::<u64>();
    let (before, began) = (sent(), clock(admin));
    let end = Instant::now() + Duration::from_secs(2);
    thread::scope(|scope| {
        for n in 0..8 {
            let gateway = &gateways[n % 2];
            scope.spawn(move || {
                for id in (n..2000).step_by(8).map(|id| format!("pay-{id}")) {
                    if Instant::now() > end {
                        return;
                    }
                    let answer = gateway.reset(&payments(), &id);
                    assert!([201, 503].contains(&answer.status), "{answer:?}");
                }
            });
        }
    });
    (sent() - before, clock(admin) - began)
}

#[test]
fn two_gateways_spend_one_budget_of_the_account() {
    let shared = Shared::over(Redis::shared());
    let limits = limits("{ requests = 1000000, period_seconds = 1, burst = 1000000 }", 0);
    let budget = [
        ("ZENGATE__UPSTREAM__REQUESTS_PER_SECOND", "20"),
        ("ZENGATE__UPSTREAM__MAX_CONCURRENT", "4"),
        // What the mirror asks for is of the same budget.
        ("ZENGATE__INVENTORY__REFRESH_SECONDS", "20"),
    ];
    let gateways = [shared.gateway(&limits, &budget), shared.gateway(&limits, &budget)];
    let mut admin = Redis::shared().admin();
    let (sent, took) = hammered(&gateways, &mut admin);
    let most = 20 + took / 50_000;
    assert!((most / 2..=most).contains(&sent), "{sent} in {took} µs");
    // Four at a time, each for 400 ms, are ten a second: less than the rate.
    for gateway in &gateways {
        gateway.fault(json!({ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 400 }));
    }
    let (sent, took) = hammered(&gateways, &mut admin);
    let most = 4 + 4 * took / 400_000;
    assert!((4..=most).contains(&sent), "{sent} in {took} µs");
    assert!(gateways.iter().all(|gateway| gateway.metric("zengate_redis_up") == 1.0));
}

#[test]
fn what_was_rejected_is_free_again_for_all() {
    let shared = Shared::over(Redis::shared());
    let limits = limits("{ requests = 1, period_seconds = 3600, burst = 3 }", 3600);
    let gateways = [shared.gateway(&limits, &[]), shared.gateway(&limits, &[])];
    let code = r#"{"requestId":"T1","code":"OPERATION_DENIED_INSTANCE_IN_OPERATION"}"#;
    let answer = json!({ "action": "ResetInstancePassword", "fault": "answer", "status": 400, "body": code });
    gateways[0].fault(answer);
    assert_eq!(gateways[0].reset(&payments(), "pay-1").problem(), "instance-not-ready");
    until("its cool-down comes back", || gateways[1].reset(&payments(), "pay-1").status == 201);
    assert_eq!(gateways[0].reset(&payments(), "pay-1").status, 429, "it rests");
    let left = |gateway: &TestGateway| {
        let limits = gateway.get("/v1/whoami", &payments()).json()["limits"].clone();
        limits[1]["remaining"].as_u64().expect("a number")
    };
    assert_eq!(gateways.each_ref().map(left), [1, 1], "what was refused cost nothing");
}

#[test]
fn without_redis_nothing_is_sent_and_what_is_read_says_so() {
    let redis = Redis::start_new();
    let shared = Shared::over(&redis);
    let limits = limits("{ requests = 100, period_seconds = 60, burst = 100 }", 60);
    let gateway = shared.gateway(&limits, &[]);
    assert_eq!(gateway.metric("zengate_redis_up"), 1.0);
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
    let ready = || {
        let ready = crate::http::call(gateway.operations, "GET", "/readyz", None, None);
        (ready.status, ready.json()["checks"]["redis"].clone())
    };
    assert_eq!(ready(), (200, json!("ok")));
    gateway.refreshed();
    redis.pause();
    let refused = gateway.reset(&payments(), "pay-2");
    assert_eq!((refused.status, refused.problem().as_str()), (503, "unavailable"), "{refused:?}");
    let detail = refused.json()["detail"].as_str().expect("a text").to_owned();
    assert_eq!(detail, "The limits cannot be counted now. Nothing was sent; try again.");
    assert!(refused.header("ratelimit").is_some_and(|left| !left.contains("team")), "{refused:?}");
    assert_eq!(gateway.metric("zengate_redis_up"), 0.0);
    assert_eq!(
        ready(),
        (200, json!("away: resets are refused")),
        "one Redis must not take all replicas away"
    );
    let record = gateway.records_of("refused", 1).remove(0);
    assert_eq!((&record["refused"], record.get("quotas")), (&json!("limiter"), None));
    let began = Instant::now();
    let body = json!({ "password": PASSWORD, "instanceIds": ["pay-3", "pay-4"] }).to_string();
    assert_eq!(gateway.call("POST", "/v1/password-resets", Some(&payments()), Some(&body)).status, 503);
    let told = gateway.get("/v1/instances/pay-2", &payments()).json();
    assert_eq!(told["reset"]["blockers"], json!(["limits-unavailable"]), "{told}");
    let path = "/v1/instances/pay-2/password-resets?dryRun=true";
    let tried =
        gateway.call("POST", path, Some(&payments()), Some(&json!({ "password": PASSWORD }).to_string()));
    assert_eq!((tried.status, &tried.json()["blockers"]), (200, &json!(["limits-unavailable"])), "{tried:?}");
    assert_eq!(gateway.get("/v1/instances", &payments()).status, 200);
    assert_eq!(gateway.get("/v1/whoami", &payments()).status, 200);
    assert!(began.elapsed() < Duration::from_secs(2), "nobody waits for what is known to be away");
    assert_eq!(gateway.resets_sent(), 1);
    redis.resume();
    until("it is found again", || gateway.metric("zengate_redis_up") == 1.0);
    assert_eq!(gateway.reset(&payments(), "pay-5").status, 201);
    redis.kill();
    assert_eq!(gateway.reset(&payments(), "pay-6").status, 503);
    redis.start();
    until("it is found again", || gateway.metric("zengate_redis_up") == 1.0);
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201, "it is empty");
    let refused = gateway.metric(r#"zengate_limited_total{limit="redis"}"#);
    assert_eq!(refused, 3.0);
}

#[test]
fn without_redis_each_replica_may_count_its_part() {
    let redis = Redis::start_new();
    let shared = Shared::over(&redis);
    let limits = limits("{ requests = 1, period_seconds = 3600, burst = 5 }", 0);
    let local = [("ZENGATE__LIMITS__ON_REDIS_LOSS", "local")];
    let gateways = [shared.gateway(&limits, &local), shared.gateway(&limits, &local)];
    redis.kill();
    let admitted = |gateway: &TestGateway| {
        (0..8).filter(|n| gateway.reset(&payments(), &format!("pay-{n}")).status == 201).count()
    };
    assert_eq!(gateways.each_ref().map(admitted), [3, 3], "half of five, rounded up");
    assert!(gateways.iter().all(|gateway| gateway.metric("zengate_redis_up") == 0.0));
    redis.start();
    until("it is found again", || gateways.iter().all(|g| g.metric("zengate_redis_up") == 1.0));
    assert_eq!(gateways.each_ref().map(admitted), [5, 0], "one quota again");
}
