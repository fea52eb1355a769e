//! `kill -9` at any moment under load: nothing that reached Zenlayer is without its intent, and nothing that a
//! caller was told is forgotten.
//!
//! Some rounds on each store in every run of the tests; `make kill` asks for 200 and writes what it saw into
//! docs/reliability.md. `ZENGATE_KILL_SEED` repeats the moments of a run.

mod ledger;
mod store;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;

use crate::http::{Answer, call};
use crate::support::{FREE, Gateway, Process, Simulator, configured, payments, report, said, zengate};
use crate::trail::until;
use ledger::Ledger;
use store::{Pace, Store};

const CALLERS: usize = 32;
const INSTANCES: u64 = 60;

/// One reset that a caller asked for. Its number stands in its ticket and in its password, so that the trail and
/// Zenlayer can be asked about this very one.
struct Ask {
    n: u64,
    instance: String,
    /// None: the gateway ended first.
    answer: Option<Answer>,
}

impl Ask {
    fn new(n: u64) -> Self {
        Self { n, instance: format!("ins-{}", n % INSTANCES), answer: None }
    }
}

fn ticket(n: u64) -> String {
    format!("KILL-{n}")
}

fn password(n: u64) -> String {
    format!("Kill~{n:08}")
}

/// The number in a password that Zenlayer holds.
fn number(password: &str) -> u64 {
    password.strip_prefix("Kill~").and_then(|n| n.parse().ok()).expect("a password of these tests")
}

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

/// Accepted ones, slow ones, refusals, and answers that never come or say nothing. Fewer than half fail, or the
/// circuit would leave little to kill.
fn faults() -> String {
    let reset = "ResetInstancePassword";
    json!([
        { "action": reset, "fault": "hang-after-read", "applied": true, "share": 0.02 },
        { "action": reset, "fault": "hang-after-read", "share": 0.01 },
        { "action": reset, "fault": "close-after-read", "applied": true, "share": 0.04 },
        { "action": reset, "fault": "reset-after-read", "share": 0.02 },
        { "action": reset, "fault": "partial-body", "applied": true, "share": 0.03 },
        { "action": reset, "fault": "bad-gateway", "applied": true, "share": 0.03 },
        { "action": reset, "fault": "rate-limited", "share": 0.01 },
        { "action": reset, "fault": "error", "status": 400, "code": "OPERATION_DENIED_INSTANCE_IN_OPERATION",
          "share": 0.1 },
        { "action": reset, "fault": "firewall", "share": 0.03 },
        { "action": reset, "fault": "delay", "milliseconds": 1010, "jitterMilliseconds": 100, "share": 0.01 },
        { "action": reset, "fault": "delay", "milliseconds": 1, "jitterMilliseconds": 60, "share": 0.5 },
    ])
    .to_string()
}

/// Asks for one reset after the other until the gateway is gone.
fn caller(address: SocketAddr, token: &str, next: &AtomicU64, asks: &Mutex<Vec<Ask>>, killed: &AtomicBool) {
    let mut stream = None;
    while !killed.load(Ordering::Relaxed) {
        let mut ask = Ask::new(next.fetch_add(1, Ordering::Relaxed));
        let body = json!({ "password": password(ask.n), "ticket": ticket(ask.n) }).to_string();
        let request = format!(
            "POST /v1/instances/{}/password-resets HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            ask.instance,
            body.len()
        );
        if stream.is_none() {
            stream = TcpStream::connect(address).ok();
        }
        let Some(open) = &mut stream else { return };
        open.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        let answer = open.write_all(request.as_bytes()).and_then(|()| crate::http::try_read(open));
        ask.answer = answer.ok();
        let told = ask.answer.as_ref().map(|answer| answer.status);
        asks.lock().expect("no caller panics").push(ask);
        match told {
            None => stream = None,
            // As one waits who was told to.
            Some(503) => sleep(Duration::from_millis(20)),
            Some(_) => {}
        }
    }
}

/// A gateway under load, killed at some moment. `wrap` may slow its store down.
fn under_load(
    folder: &Path,
    wrap: impl FnOnce(Command) -> Command,
    random: &mut Rng,
    next: &AtomicU64,
    token: &str,
) -> Vec<Ask> {
    let mut gateway = Gateway::start(folder, Stdio::null(), wrap);
    answering(&gateway);
    let (asks, killed) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| caller(gateway.address, token, next, &asks, &killed));
        }
        // Mostly soon, now and then after the first answers are overdue.
        let late: f64 = random.f64();
        sleep(Duration::from_micros((1_500_000.0 * late.powi(3)) as u64));
        gateway.process.kill();
        killed.store(true, Ordering::Relaxed);
    });
    asks.into_inner().expect("no caller panics")
}

/// Killed while it starts, and so while it closes what others left open.
fn at_the_start(folder: &Path, random: &mut Rng, longest: Duration) {
    let mut command = impatient(zengate());
    command.arg("serve").arg("--config").arg(folder.join("zengate.toml")).stdout(Stdio::null());
    let mut process = Process::spawn(&mut command);
    sleep(longest.mul_f64(random.f64()));
    process.kill();
}

/// It listens before it has opened the trail.
fn answering(gateway: &Gateway) {
    assert_eq!(call(gateway.operations, "GET", "/livez", None, None).status, 200);
}

fn impatient(mut command: Command) -> Command {
    command.env("ZENGATE__UPSTREAM__TIMEOUT_SECONDS", "1").env("ZENGATE__UPSTREAM__LATE_ANSWER_SECONDS", "5");
    command
}

#[test]
fn a_kill_at_any_moment_loses_no_intent_and_no_outcome_that_was_told() {
    kills("Kills", 20, Store::sqlite);
}

#[test]
fn nor_does_it_where_the_trail_is_in_postgresql_and_the_next_process_takes_over() {
    kills("Kills over PostgreSQL", 10, Store::postgres);
}

#[expect(clippy::print_stdout, reason = "the seed repeats the run")]
fn kills(title: &str, usual: u64, store: impl FnOnce(&Path) -> Store) {
    let began = Instant::now();
    let rounds = from_environment("ZENGATE_KILL_ROUNDS", usual);
    let seed = from_environment("ZENGATE_KILL_SEED", u64::from(fastrand::u32(..)));
    println!("ZENGATE_KILL_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let simulator = Simulator::of(INSTANCES as usize);
    simulator.fault(&faults());
    let folder = configured(&simulator);
    let folder = folder.path();
    std::fs::write(folder.join("policies/limits.toml"), FREE).expect("written");
    let (next, token) = (AtomicU64::new(0), payments());
    let store = store(folder);
    let mut ledger = Ledger::new(&store);

    let mut start_up = Duration::ZERO;
    for round in 0..rounds {
        if round % 5 == 4 {
            at_the_start(folder, &mut random, start_up);
            ledger.look(&simulator, Vec::new());
            continue;
        }
        let asked = Instant::now();
        if round == 0 {
            answering(&Gateway::start(folder, Stdio::null(), impatient));
            start_up = asked.elapsed();
        }
        let pace = if round % 2 == 0 { Pace::Quick } else { Pace::Slow };
        let wrap = |command| store.at(pace, impatient(command));
        let asks = under_load(folder, wrap, &mut random, &next, &token);
        ledger.look(&simulator, asks);
        if store.closes_at_the_start() {
            ledger.only_the_last_writer_left_resets_open();
        }
    }
    let left_open = ledger.open();

    simulator.fault("[]");
    let wrap = |command| store.at(Pace::Quick, impatient(command));
    let mut gateway = Gateway::start(folder, Stdio::null(), wrap);
    answering(&gateway);
    ledger.look(&simulator, Vec::new());
    if !store.closes_at_the_start() {
        until("the next process takes over", || {
            ledger.look(&simulator, Vec::new());
            ledger.open().is_empty()
        });
    }
    ledger.all_are_closed(&left_open);
    if let Some(id) = left_open.first() {
        let path = format!("/v1/password-resets/{id}");
        let read = call(gateway.address, "GET", &path, Some(&token), None).json();
        assert_eq!(read["status"], "unknown", "{read}");
    }
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success(), "an orderly stop");
    ledger.look(&simulator, Vec::new());
    ledger.projection_is_as_rebuilt();
    let verified = zengate().args(["audit", "verify", "--config"]).arg(folder.join("zengate.toml")).output();
    let verified = verified.expect("runs");
    assert!(verified.status.success(), "{}", said(&verified));

    let saw = ledger.saw();
    println!("{saw}");
    assert!(saw.was_under_load(), "{saw}");
    if let Ok(page) = std::env::var("ZENGATE_KILL_REPORT") {
        let text = format!(
            "`make kill`: {rounds} rounds in {} s, {CALLERS} callers, seed {seed}. Each round ends with `kill -9`, \
             every fifth during the start, \
             and half of the others where {}. No password at Zenlayer was without its intent, no outcome that a \
             caller was told was missing or another, every chain held, and the projection was as rebuilt from the \
             records.\n\n{saw}",
            began.elapsed().as_secs(),
            store.slow()
        );
        report(&page, title, &text);
    }
}
