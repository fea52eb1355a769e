//! Minutes of a Zenlayer that comes and goes: memory stays flat, and outcomes add up to requests.
//!
//! Some seconds in every run of the tests; `make soak` asks for ten minutes and writes what it saw into
//! docs/reliability.md.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::scale::resident;
use crate::support::{FREE, Gateway, Simulator, configured, payments, report};

const SEED: u64 = 20_261_124;
const CALLERS: usize = 200;

/// What a soak saw.
struct Saw {
    /// Answers by status.
    answers: BTreeMap<u16, u64>,
    /// Resets by their outcome, as the gateway counted them.
    outcomes: BTreeMap<&'static str, u64>,
    /// Passwords that Zenlayer took.
    applied: u64,
    /// MiB resident after a fifth of the time, and at the end.
    resident: [u64; 2],
}

fn seconds() -> u64 {
    std::env::var("ZENGATE_SOAK_SECONDS").map_or(8, |text| text.parse().expect("a number"))
}

/// Three faults of these are in force at a time, each for a share of calls.
fn menu() -> Vec<Value> {
    let reset = "ResetInstancePassword";
    vec![
        json!({ "action": reset, "fault": "close-after-read", "applied": true, "share": 0.1 }),
        json!({ "action": reset, "fault": "reset-after-read", "share": 0.1 }),
        json!({ "action": reset, "fault": "partial-body", "applied": true, "share": 0.1 }),
        json!({ "action": reset, "fault": "delay", "milliseconds": 20, "jitterMilliseconds": 200, "share": 0.5 }),
        json!({ "action": reset, "fault": "rate-limited", "share": 0.05 }),
        json!({ "action": reset, "fault": "unavailable", "share": 0.2 }),
        json!({ "action": reset, "fault": "bad-gateway", "applied": true, "share": 0.1 }),
        json!({ "action": reset, "fault": "firewall", "share": 0.1 }),
        json!({ "action": reset, "fault": "garbage", "share": 0.1 }),
        json!({ "action": reset, "fault": "huge-body", "bytes": 200_000, "share": 0.02 }),
        json!({ "fault": "reset-before-read", "share": 0.02 }),
        json!({ "action": "DescribeInstances", "fault": "internal-error", "share": 0.5 }),
        json!({ "action": reset, "fault": "flapping", "upMilliseconds": 700, "downMilliseconds": 300,
                "then": { "fault": "close-after-read" } }),
    ]
}

/// Faults change twice a second, in an order that the seed gives.
fn weather(simulator: &Simulator, ended: &AtomicBool) {
    let (mut random, menu) = (fastrand::Rng::with_seed(SEED), menu());
    while !ended.load(Ordering::Relaxed) {
        let rules: Vec<&Value> = (0..3).map(|_| &menu[random.usize(..menu.len())]).collect();
        simulator.fault(&json!(rules).to_string());
        std::thread::sleep(Duration::from_millis(500));
        // It keeps every call otherwise.
        crate::http::call(simulator.address, "DELETE", "/_simulator/calls", None, None);
    }
    simulator.fault("[]");
}

/// One caller on one connection, one reset after the other.
fn caller(gateway: &Gateway, n: usize, ended: &AtomicBool) -> BTreeMap<u16, u64> {
    let body = r#"{"password":"Abcd~1234"}"#;
    let request = format!(
        "POST /v1/instances/ins-{n}/password-resets HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        payments(),
        body.len()
    );
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let mut answers = BTreeMap::new();
    while !ended.load(Ordering::Relaxed) {
        stream.write_all(request.as_bytes()).expect("written");
        let told = crate::http::read(&mut stream);
        *answers.entry(told.status).or_default() += 1;
        // Some 10 resets a second each, or as one waits who was told to.
        std::thread::sleep(Duration::from_millis(if told.status == 503 { 300 } else { 100 }));
    }
    answers
}

fn metric(gateway: &Gateway, series: &str) -> u64 {
    let text = crate::http::call(gateway.operations, "GET", "/metrics", None, None).body;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a whole number"))
}

fn soak(simulator: &Simulator, gateway: &Gateway) -> Saw {
    let ended = AtomicBool::new(false);
    let time = Duration::from_secs(seconds());
    let mut answers: BTreeMap<u16, u64> = BTreeMap::new();
    let mut early = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| weather(simulator, &ended));
        let callers: Vec<_> = (0..CALLERS)
            .map(|n| {
                scope.spawn({
                    let ended = &ended;
                    move || caller(gateway, n, ended)
                })
            })
            .collect();
        std::thread::sleep(time / 5);
        early = resident(gateway.process.id());
        std::thread::sleep(time * 4 / 5);
        ended.store(true, Ordering::Relaxed);
        for caller in callers {
            for (status, count) in caller.join().expect("answered to the end") {
                *answers.entry(status).or_default() += count;
            }
        }
    });
    let outcome = |name| (name, metric(gateway, &format!("zengate_resets_total{{outcome=\"{name}\"}}")));
    let held = simulator.get("instances");
    let applied = held["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|held| held["resets"].as_u64().unwrap_or_default());
    Saw {
        answers,
        outcomes: ["accepted", "rejected", "unknown", "not_sent"].map(outcome).into(),
        applied: applied.sum(),
        resident: [early, resident(gateway.process.id())],
    }
}

fn table(saw: &Saw) -> String {
    let list = |counts: Vec<String>| counts.join(", ");
    format!(
        "`make soak`: {} s, {CALLERS} callers, seed {SEED}, faults changing twice a second.\n\n\
         | | |\n|---|---|\n| answers by status | {} |\n| resets by outcome | {} |\n| passwords that Zenlayer took | {} |\n\
         | resident after a fifth of the time, at the end | {} MiB, {} MiB |\n",
        seconds(),
        list(saw.answers.iter().map(|(status, count)| format!("{status}: {count}")).collect()),
        list(saw.outcomes.iter().map(|(name, count)| format!("{name}: {count}")).collect()),
        saw.applied,
        saw.resident[0],
        saw.resident[1],
    )
}

#[test]
fn outcomes_add_up_and_memory_stays_flat_while_zenlayer_comes_and_goes() {
    let simulator = Simulator::of(CALLERS);
    let folder = configured(&simulator);
    fs::write(folder.path().join("policies/limits.toml"), FREE).expect("written");
    let gateway = Gateway::start(folder.path(), Stdio::null(), |mut command| {
        command
            .env("ZENGATE__UPSTREAM__TIMEOUT_SECONDS", "2")
            .env("ZENGATE__UPSTREAM__CIRCUIT_OPEN_SECONDS", "1");
        command
    });
    let saw = soak(&simulator, &gateway);
    if let Ok(file) = std::env::var("ZENGATE_SOAK_REPORT") {
        report(&file, "Soak", &table(&saw));
    }
    let of = |status| saw.answers.get(&status).copied().unwrap_or_default();
    let counted: u64 = saw.outcomes.values().sum();
    assert_eq!(of(201), saw.outcomes["accepted"], "{:?} {:?}", saw.answers, saw.outcomes);
    assert_eq!(of(504), saw.outcomes["unknown"], "{:?} {:?}", saw.answers, saw.outcomes);
    assert!(saw.answers.keys().all(|status| [201, 502, 503, 504].contains(status)), "{:?}", saw.answers);
    assert!(counted <= saw.answers.values().sum(), "no reset without its request");
    let most = saw.outcomes["accepted"] + saw.outcomes["unknown"];
    assert!(
        (saw.outcomes["accepted"]..=most).contains(&saw.applied),
        "{} of {:?}",
        saw.applied,
        saw.outcomes
    );
    for name in ["accepted", "unknown"] {
        assert!(saw.outcomes[name] > 0, "{name}: {:?}", saw.outcomes);
    }
    let [early, late] = saw.resident;
    assert!(late < early + early / 2 + 20, "{early} MiB early, {late} MiB late");
}
