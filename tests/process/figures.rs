//! What the durable trail costs: throughput, and the time that an intent adds before Zenlayer is called, beside bare
//! syncs of the same disk in the same run.
//!
//! A glance in every run of the tests, so that it goes on working; `make bench-audit` measures in earnest, with an
//! optimized build, and writes docs/performance.md.

mod bare;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::http::call;
use crate::postgres::Postgres;
use crate::support::{
    FREE, Gateway, Simulator, configure, configured, in_postgres, payments, report, said, zengate,
};

const AT_ONCE: [usize; 3] = [1, 64, 256];

/// Where the trail is kept.
enum Store<'f> {
    /// No disk under it: what the others take more is the disk's, or the server's.
    Memory(&'f Path),
    Sqlite(&'f Path),
    Postgres,
}

impl Store<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "SQLite in memory (tmpfs)",
            Self::Sqlite(_) => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    fn put_under(&self, folder: &Path) {
        match self {
            Self::Memory(place) | Self::Sqlite(place) => {
                configure(folder, &format!("[audit]\npath = \"{}\"\n", place.join("zengate.db").display()));
            }
            Self::Postgres => in_postgres(folder, &Postgres::shared().database(), 30),
        }
    }
}

/// One measurement of one store.
struct Measured {
    resets: usize,
    /// Calls that Zenlayer had before their reset was asked for, to the millisecond; and all that are known.
    called_too_early: usize,
    called: usize,
    resets_a_second: f64,
    /// Milliseconds from the caller's first byte to the whole answer.
    p50: f64,
    p99: f64,
    /// Milliseconds from the caller's first byte until the simulated Zenlayer has read the call, on the average.
    until_called: f64,
    commit: f64,
    resets_a_commit: f64,
}

fn seconds() -> f64 {
    std::env::var("ZENGATE_FIGURES_SECONDS").map_or(0.3, |text| text.parse().expect("a number"))
}

fn password(n: u64) -> String {
    format!("Figs~{n:08}")
}

/// Asks for one reset after the other; tells when each was sent and how long it took.
fn caller(
    gateway: &Gateway,
    token: &str,
    next: &AtomicU64,
    until: Instant,
) -> Vec<(u64, Timestamp, Duration)> {
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut asked = Vec::new();
    while Instant::now() < until {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "password": password(n) }).to_string();
        let request = format!(
            "POST /v1/instances/ins-{}/password-resets HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            n % 1000,
            body.len()
        );
        let (sent, began) = (Timestamp::now(), Instant::now());
        stream.write_all(request.as_bytes()).expect("written");
        let answer = crate::http::read(&mut stream);
        assert_eq!(answer.status, 201, "{answer:?}");
        asked.push((n, sent, began.elapsed()));
    }
    asked
}

/// Number and sum of the commits so far.
fn commits(gateway: &Gateway) -> (f64, f64) {
    let text = call(gateway.operations, "GET", "/metrics", None, None).body;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok()).expect("the metric is there")
    };
    (value("zengate_audit_commit_duration_seconds_count"), value("zengate_audit_commit_duration_seconds_sum"))
}

fn measure(gateway: &Gateway, simulator: &Simulator, at_once: usize, next: &AtomicU64) -> Measured {
    let (token, asked) = (payments(), Mutex::new(Vec::new()));
    call(simulator.address, "DELETE", "/_simulator/calls", None, None);
    let before = commits(gateway);
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(seconds());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                let by_one = caller(gateway, &token, next, until);
                asked.lock().expect("no panic").extend(by_one);
            });
        }
    });
    let took = began.elapsed().as_secs_f64();
    let after = commits(gateway);
    let asked = asked.into_inner().expect("no panic");

    let mut called: HashMap<String, Timestamp> = HashMap::new();
    for made in simulator.get("calls")["calls"].as_array().expect("a list") {
        if made["action"] == "ResetInstancePassword" {
            let body: Value = made["body"].as_str().and_then(|b| serde_json::from_str(b).ok()).expect("JSON");
            let time = made["time"].as_str().and_then(|text| text.parse().ok()).expect("a time");
            called.insert(body["password"].as_str().expect("a password").to_owned(), time);
        }
    }
    let waits =
        asked.iter().filter_map(|(n, sent, _)| Some(called.get(&password(*n))?.duration_since(*sent)));
    let waits: Vec<f64> = waits.map(|wait| wait.as_secs_f64() * 1000.0).collect();
    let mut latencies: Vec<f64> = asked.iter().map(|(_, _, took)| took.as_secs_f64() * 1000.0).collect();
    latencies.sort_by(f64::total_cmp);
    let count = after.0 - before.0;
    Measured {
        resets: asked.len(),
        called_too_early: waits.iter().filter(|wait| **wait < -1.0).count(),
        called: waits.len(),
        resets_a_second: asked.len() as f64 / took,
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
        // The simulator cuts its times down to whole milliseconds, which is half of one on the average.
        until_called: waits.iter().sum::<f64>() / waits.len() as f64 + 0.5,
        commit: (after.1 - before.1) / count * 1000.0,
        resets_a_commit: asked.len() as f64 / count,
    }
}

fn served(simulator: &Simulator, store: &Store<'_>) -> (tempfile::TempDir, Gateway) {
    let folder = configured(simulator);
    let config = folder.path().join("zengate.toml");
    let text = std::fs::read_to_string(&config).expect("read");
    // An account that an optimized gateway does not spend.
    let text = text.replace("requests_per_second = 10000\n", "requests_per_second = 100000\n");
    let text = text.replace("max_concurrent = 512\n", "max_concurrent = 1024\n");
    std::fs::write(&config, text).expect("written");
    store.put_under(folder.path());
    std::fs::write(folder.path().join("policies/limits.toml"), FREE).expect("written");
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201, "{}", store.name());
    (folder, gateway)
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Every reset has its intent, and its call after it was asked for; and those that wait at the same moment share
/// commits.
fn assert_complete(folder: &Path, measured: &Vec<Measured>) {
    let export = zengate().args(["audit", "export", "--config"]).arg(folder.join("zengate.toml")).output();
    let export = export.expect("runs");
    assert!(export.status.success(), "{}", said(&export));
    let records = String::from_utf8(export.stdout).expect("text");
    let intents = records.lines().filter(|record| record.contains(r#","kind":"intent","#)).count();
    // With the first, that nobody measured.
    assert_eq!(intents, 1 + measured.iter().map(|load| load.resets).sum::<usize>());
    for load in measured {
        assert!(load.resets > 0 && load.called == load.resets && load.called_too_early == 0);
    }
    assert!(measured[1..].iter().all(|load| load.resets_a_commit > 0.5));
}

/// The table of all, medians of the rounds; `rounds` by store, then by load.
fn table(stores: &[&str], rounds: &[Vec<Vec<Measured>>], syncs: &[bare::Syncs]) -> String {
    let of = |store: usize, load: usize, figure: fn(&Measured) -> f64| {
        median(rounds.iter().map(move |round| figure(&round[store][load])))
    };
    let sync = |figure: fn(&bare::Syncs) -> f64| median(syncs.iter().map(figure));
    let bare = sync(|syncs| syncs.appended);
    let mut text = format!(
        "| {} KiB written and synced to the same disk, one after the other | median |\n|---|---|\n\
         | appended, fdatasync | {bare:.2} ms |\n| appended, fsync | {:.2} ms |\n\
         | written over what is there, fdatasync | {:.2} ms |\n\n\
         | trail | at once | resets a second | p50, p99 | mean until Zenlayer is called | that the store adds | in bare \
         fdatasyncs | mean commit | resets a commit |\n|---|---|---|---|---|---|---|---|---|\n",
        bare::KIB,
        sync(|syncs| syncs.appended_with_fsync),
        sync(|syncs| syncs.overwritten),
    );
    for (load, at_once) in AT_ONCE.iter().enumerate() {
        for (place, store) in stores.iter().enumerate() {
            let added = of(place, load, |m| m.until_called) - of(0, load, |m| m.until_called);
            let added = match place {
                0 => " | ".to_owned(),
                _ => format!("{added:.2} ms | {:.1}", added / bare),
            };
            writeln!(
                text,
                "| {} | {at_once} | {:.0} | {:.1}, {:.1} ms | {:.2} ms | {added} | {:.2} ms | {:.1} |",
                store,
                of(place, load, |m| m.resets_a_second),
                of(place, load, |m| m.p50),
                of(place, load, |m| m.p99),
                of(place, load, |m| m.until_called),
                of(place, load, |m| m.commit),
                of(place, load, |m| m.resets_a_commit),
            )
            .expect("written to memory");
        }
    }
    text
}

#[test]
#[expect(clippy::print_stdout, reason = "its figures are for docs/performance.md")]
fn the_trails_price_is_measured_beside_bare_syncs_of_its_disk() {
    let earnest = std::env::var_os("ZENGATE_FIGURES_SECONDS").is_some();
    let count = if earnest { 3 } else { 1 };
    let next = AtomicU64::new(0);
    let simulator = Simulator::of(1000);
    let (mut rounds, mut syncs) = (Vec::new(), Vec::new());
    let mut names = [""; 3];
    for _ in 0..count {
        // Where PostgreSQL has its own; not in memory, one hopes.
        let disk = tempfile::tempdir().expect("a folder");
        let memory = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        syncs.push(bare::measure(disk.path(), Duration::from_secs_f64(seconds() / 3.0)));
        let stores = [Store::Memory(memory.path()), Store::Sqlite(disk.path()), Store::Postgres];
        let by_store = stores.iter().map(|store| {
            let (folder, gateway) = served(&simulator, store);
            let measured = AT_ONCE.map(|at_once| measure(&gateway, &simulator, at_once, &next)).into();
            if !earnest {
                assert_complete(folder.path(), &measured);
            }
            measured
        });
        rounds.push(by_store.collect());
        names = stores.map(|store| store.name());
    }
    let text = table(&names, &rounds, &syncs);
    println!("{text}");
    if let Ok(page) = std::env::var("ZENGATE_FIGURES_REPORT") {
        let about = format!(
            "`make bench-audit`: callers, an optimized gateway with one worker, the simulated Zenlayer and \
             PostgreSQL share two cores; {} s a figure, medians of {count} rounds. A reset is two commits, its intent \
             and its outcome; those that wait at the same moment share them. What an intent adds is told by when \
             Zenlayer is called, against a trail in memory; for PostgreSQL that is its own work too.\n\n{text}",
            seconds()
        );
        report(&page, "The trail", &about);
    }
}
