//! Minutes of mixed traffic while Zenlayer comes and goes, policies are reloaded and the access key is rotated: memory,
//! descriptors and threads stay flat, nothing panics, and outcomes add up to requests.
//!
//! Some seconds in every run of the tests; `make soak` asks for half an hour and writes what it saw into
//! docs/reliability.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::scale::resident;
use crate::support::{
    ACCESS_KEY_ID, ACCESS_KEY_PASSWORD, FREE, Gateway, Simulator, configured, payments, report, zengate,
};

const SEED: u64 = 20_261_124;
/// Who reset, one after the other on a connection each.
const CALLERS: usize = 200;
/// Who read, and who ask for what they may not have or what is none.
const OTHERS: usize = 20;

type Answers = BTreeMap<u16, u64>;

/// What the process holds: MiB resident, descriptors, threads.
type Held = [u64; 3];

/// What a soak saw.
struct Saw {
    /// Answers to resets by status.
    answers: Answers,
    /// To all else.
    others: Answers,
    /// Revisions of the policies, and access keys, that came into force.
    changes: [u64; 2],
    /// Resets by their outcome, as the gateway counted them.
    outcomes: BTreeMap<&'static str, u64>,
    /// Passwords that Zenlayer took.
    applied: u64,
    /// After a fifth of the time, and at the end.
    held: [Held; 2],
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

/// The policies have another revision every three seconds, and the access key is another every two. Returns how often
/// another revision was seen in force.
fn operator(folder: &Path, simulator: &Simulator, gateway: &Gateway, ended: &AtomicBool) -> u64 {
    let file = folder.join("policies/teams/payments.cedar");
    let policies = fs::read_to_string(&file).expect("read");
    let take = |passwords: &[&str]| {
        let keys: Vec<_> =
            passwords.iter().map(|password| json!({ "id": ACCESS_KEY_ID, "password": password })).collect();
        let body = json!(keys).to_string();
        let told = crate::http::call(simulator.address, "PUT", "/_simulator/access-keys", None, Some(&body));
        assert_eq!(told.status, 200, "{told:?}");
    };
    // Zenlayer takes the key before for as long as the gateway may not have read the next one.
    let (mut oldest, mut before) = (ACCESS_KEY_PASSWORD.to_owned(), ACCESS_KEY_PASSWORD.to_owned());
    let mut revisions = BTreeSet::new();
    for turn in 0_u64.. {
        std::thread::sleep(Duration::from_secs(1));
        let metrics = crate::http::call(gateway.operations, "GET", "/metrics", None, None).body;
        let told = metrics.lines().find(|line| line.starts_with("zengate_policy_revision_info{"));
        revisions.insert(told.expect("a revision").to_owned());
        if ended.load(Ordering::Relaxed) {
            break;
        }
        // What changes is read once it has stood still for a second.
        if turn % 3 == 0 {
            fs::write(&file, format!("{policies}// {turn}\n")).expect("written");
        }
        if turn % 2 == 1 {
            let next = format!("sk-test-secret-of-turn-{turn}");
            take(&[&oldest, &before, &next]);
            fs::write(folder.join("key"), &next).expect("written");
            oldest = std::mem::replace(&mut before, next);
        }
    }
    revisions.len() as u64 - 1
}

/// Asks on one connection, so many milliseconds apart, until the end; the requests take turns.
fn ask(gateway: &Gateway, requests: &[String], pause: u64, ended: &AtomicBool) -> Answers {
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let mut answers = BTreeMap::new();
    for request in requests.iter().cycle() {
        stream.write_all(request.as_bytes()).expect("written");
        let told = crate::http::read(&mut stream);
        *answers.entry(told.status).or_default() += 1;
        if ended.load(Ordering::Relaxed) {
            break;
        }
        // Or as one waits who was told to.
        std::thread::sleep(Duration::from_millis(if told.status == 503 { 3 * pause } else { pause }));
    }
    answers
}

fn request(method: &str, path: &str, token: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn reset(n: usize) -> String {
    let path = format!("/v1/instances/ins-{n}/password-resets");
    request("POST", &path, &payments(), r#"{"password":"Abcd~1234"}"#)
}

/// Reads, and what is refused before anything is sent, of the one in this place.
fn other(n: usize) -> Vec<String> {
    let (token, reset) = (payments(), r#"{"password":"Abcd~1234"}"#);
    let instance = format!("/v1/instances/ins-{n}/password-resets");
    let mut requests = vec![
        request("GET", &format!("/v1/instances/ins-{n}"), &token, ""),
        request("GET", "/v1/password-resets?limit=5", &token, ""),
        request("GET", "/v1/instances?limit=20", &token, ""),
        request("GET", "/v1/whoami", &token, ""),
        request("POST", &format!("{instance}?dryRun=true"), &token, reset),
        request("POST", &instance, &token, r#"{"password":"short"}"#),
        request("POST", &instance, &token, r#"{"password":1,"#),
        request("POST", "/v1/instances/none/password-resets", &token, reset),
        request("GET", "/v1/audit", &token, ""),
        request("GET", "/v1/nothing", &token, ""),
        request("GET", "/v1/whoami", "e30.e30.e30", ""),
    ];
    // Each begins with another one.
    let first = n % requests.len();
    requests.rotate_left(first);
    requests
}

fn held(pid: u32) -> Held {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("Linux says so");
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").count();
    [resident(pid), descriptors as u64, threads.trim().parse().expect("a number")]
}

fn add(sum: &mut Answers, answers: Answers) {
    answers.into_iter().for_each(|(status, count)| *sum.entry(status).or_default() += count);
}

fn metric(gateway: &Gateway, series: &str) -> u64 {
    let text = crate::http::call(gateway.operations, "GET", "/metrics", None, None).body;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a whole number"))
}

fn soak(folder: &Path, simulator: &Simulator, gateway: &Gateway) -> Saw {
    let ended = AtomicBool::new(false);
    let time = Duration::from_secs(seconds());
    let (mut answers, mut others) = (Answers::new(), Answers::new());
    let (held, revisions) = std::thread::scope(|scope| {
        let ended = &ended;
        scope.spawn(|| weather(simulator, ended));
        let operator = scope.spawn(|| operator(folder, simulator, gateway, ended));
        let resetting = (0..CALLERS).map(|n| scope.spawn(move || ask(gateway, &[reset(n)], 100, ended)));
        let resetting: Vec<_> = resetting.collect();
        let asking = (0..OTHERS).map(|n| scope.spawn(move || ask(gateway, &other(n), 500, ended)));
        let asking: Vec<_> = asking.collect();
        std::thread::sleep(time / 5);
        let early = held(gateway.process.id());
        std::thread::sleep(time * 4 / 5);
        let late = held(gateway.process.id());
        ended.store(true, Ordering::Relaxed);
        resetting.into_iter().for_each(|told| add(&mut answers, told.join().expect("answered to the end")));
        asking.into_iter().for_each(|told| add(&mut others, told.join().expect("answered to the end")));
        ([early, late], operator.join().expect("it operates to the end"))
    });
    let outcome = |name| (name, metric(gateway, &format!("zengate_resets_total{{outcome=\"{name}\"}}")));
    let instances = simulator.get("instances");
    let applied = instances["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|instance| instance["resets"].as_u64().unwrap_or_default());
    Saw {
        answers,
        others,
        changes: [revisions, metric(gateway, "zengate_access_key_changes_total")],
        outcomes: ["accepted", "rejected", "unknown", "not_sent"].map(outcome).into(),
        applied: applied.sum(),
        held,
    }
}

fn table(saw: &Saw) -> String {
    let list = |counts: Vec<String>| counts.join(", ");
    let statuses =
        |of: &Answers| list(of.iter().map(|(status, count)| format!("{status}: {count}")).collect());
    let [early, late] = saw.held.map(|[mib, descriptors, threads]| {
        format!("{mib} MiB, {descriptors} descriptors, {threads} threads")
    });
    format!(
        "`make soak`: {} s, {CALLERS} callers that reset and {OTHERS} that do all else, seed {SEED}, faults changing \
         twice a second, {} revisions of the policies, {} access keys. Nothing panicked.\n\n\
         | | |\n|---|---|\n| answers to resets by status | {} |\n| to all else | {} |\n| resets by outcome | {} |\n\
         | passwords that Zenlayer took | {} |\n| after a fifth of the time | {early} |\n| at the end | {late} |\n",
        seconds(),
        saw.changes[0],
        saw.changes[1],
        statuses(&saw.answers),
        statuses(&saw.others),
        list(saw.outcomes.iter().map(|(name, count)| format!("{name}: {count}")).collect()),
        saw.applied,
    )
}

#[test]
fn outcomes_add_up_and_nothing_grows_while_all_around_it_changes() {
    let simulator = Simulator::of(CALLERS);
    let folder = configured(&simulator);
    fs::write(folder.path().join("policies/limits.toml"), FREE).expect("written");
    let errors = folder.path().join("errors");
    let gateway = Gateway::start(folder.path(), Stdio::null(), |mut command| {
        command
            .stderr(fs::File::create(&errors).expect("a file"))
            .env("ZENGATE__UPSTREAM__TIMEOUT_SECONDS", "2")
            .env("ZENGATE__UPSTREAM__CIRCUIT_OPEN_SECONDS", "1");
        command
    });
    let saw = soak(folder.path(), &simulator, &gateway);
    if let Ok(file) = std::env::var("ZENGATE_SOAK_REPORT") {
        report(&file, "Soak", &table(&saw));
    }
    let of = |status| saw.answers.get(&status).copied().unwrap_or_default();
    let counted: u64 = saw.outcomes.values().sum();
    assert_eq!(of(201), saw.outcomes["accepted"], "{:?} {:?}", saw.answers, saw.outcomes);
    assert_eq!(of(504), saw.outcomes["unknown"], "{:?} {:?}", saw.answers, saw.outcomes);
    assert!(saw.answers.keys().all(|status| [201, 502, 503, 504].contains(status)), "{:?}", saw.answers);
    let usual = [200, 400, 401, 403, 404, 422, 503];
    assert!(saw.others.keys().all(|status| usual.contains(status)), "{:?}", saw.others);
    let all = [200, 400, 401, 403, 404, 422].iter().all(|status| saw.others.contains_key(status));
    assert!(all, "{:?}", saw.others);
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
    assert!(saw.changes.iter().all(|count| *count > 0), "{:?}", saw.changes);
    let [early, late] = saw.held;
    assert!(late[0] < early[0] + early[0] / 2 + 20, "{early:?} early, {late:?} late");
    // Connections to Zenlayer come and go with its faults.
    assert!(late[1] < early[1] + 200, "{early:?} early, {late:?} late");
    assert!(late[2] <= early[2] + 4, "{early:?} early, {late:?} late");
    let errors = fs::read_to_string(&errors).expect("what it wrote");
    assert!(!errors.contains("panicked"), "{errors}");
    let mut gateway = gateway;
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());
    let verified = zengate()
        .args(["audit", "verify", "--config"])
        .arg(folder.path().join("zengate.toml"))
        .output()
        .expect("the binary runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
