//! Reading the trail, beside a running gateway.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Gateway, Process, Simulator, configured, said, zengate};

/// A configuration in which one instance may be reset again at once.
pub fn quick(simulator: &Simulator) -> TempDir {
    let folder = configured(simulator);
    let limits = folder.path().join("policies/limits.toml");
    let text =
        fs::read_to_string(&limits).expect("read") + "\n[teams.payments]\ninstance_cooldown_seconds = 0\n";
    fs::write(&limits, text).expect("written");
    folder
}

/// `zengate audit …` on the trail of this folder.
pub fn audit(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = zengate();
    command.arg("audit").args(arguments).arg("--config").arg(folder.join("zengate.toml"));
    command.output().expect("runs")
}

/// What it answers; it must end well.
pub fn told(folder: &Path, arguments: &[&str]) -> String {
    let output = audit(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

pub fn records(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = told(folder, &[&["export"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

/// A gateway that was asked for a reset, which was done, and for one that was refused.
fn busy(folder: &Path) -> Gateway {
    let gateway = Gateway::start(folder, Stdio::null(), |command| command);
    for (instance, status) in [("ins-a", 201), ("ins-d", 403)] {
        assert_eq!(gateway.reset(instance, "Abcd~1234").status, status);
    }
    let written = || records(folder, &["--kind", "refused"]).len();
    let until = Instant::now() + Duration::from_secs(10);
    while written() == 0 {
        assert!(Instant::now() < until, "the refusal is written");
    }
    gateway
}

#[test]
fn people_get_a_line_a_record_and_programs_its_bytes() {
    let simulator = Simulator::start();
    let folder = quick(&simulator);
    let path = folder.path();
    let _gateway = busy(path);
    let all = records(path, &[]);
    let kinds: Vec<_> = all.iter().map(|record| record["kind"].as_str().expect("a kind")).collect();
    assert_eq!((kinds[0], kinds.len() >= 4), ("start", true), "oldest first: {kinds:?}");
    let intent = all.iter().find(|record| record["kind"] == "intent").expect("an intent");
    let field = |name: &str| intent[name].as_str().expect("a text").to_owned();
    let (id, request, time) = (field("resetId"), field("requestId"), field("time"));

    let list = told(path, &["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 1 + all.len(), "{list}");
    assert!(lines[0].starts_with("TIME ") && lines[0].contains("  RESULT "), "{list}");
    assert!(lines[lines.len() - 1].contains("  start "), "the newest stands first: {list}");
    let line = lines.iter().find(|line| line.contains("  intent ")).expect("a line");
    for part in [time.as_str(), "payments", "corp|alice", "ins-a", id.as_str()] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let refused = lines.iter().find(|line| line.contains("  refused ")).expect("a line");
    assert!(refused.ends_with("  policy"), "nothing stands for what is absent at the end: {refused}");
    assert_eq!(told(path, &["list", "--limit", "1"]).lines().count(), 2);

    for (row, filter, fits) in [
        ("kind", vec!["--kind", "intent"], true),
        ("another kind", vec!["--kind", "stop"], false),
        ("user", vec!["--user", "corp|alice"], true),
        ("another user", vec!["--user", "corp|bob"], false),
        ("instance and team", vec!["--instance", "ins-a", "--team", "payments"], true),
        ("another team", vec!["--instance", "ins-a", "--team", "web"], false),
        ("reset", vec!["--reset", &id], true),
        ("request", vec!["--request", &request], true),
        ("since its time", vec!["--since", &time], true),
        ("until its time", vec!["--kind", "intent", "--until", &time], false),
        ("writer", vec!["--writer", intent["writer"].as_str().expect("a writer")], true),
        ("a day long gone", vec!["--until", "2000-01-01"], false),
    ] {
        let found = records(path, &filter);
        assert_eq!(found.contains(intent), fits, "{row}: {found:?}");
        assert_eq!(told(path, &[&["list"], filter.as_slice()].concat()).contains(&id), fits, "{row}");
    }
    let none = audit(path, &["list", "--kind", "stop"]);
    assert_eq!((none.status.code(), said(&none).as_str()), (Some(0), "no record fits\n"));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let simulator = Simulator::start();
    let folder = quick(&simulator);
    for (row, arguments, code, why) in [
        ("no such kind", vec!["list", "--kind", "reset"], 2, "must be one of start, stop, refused"),
        ("no such time", vec!["export", "--since", "yesterday"], 2, "must be an RFC 3339 time"),
        ("no such user", vec!["export", "--user", "alice"], 2, "|"),
        ("no limit at all", vec!["list", "--limit", "0"], 2, "0 is not in 1..=10000"),
        ("no trail yet", vec!["list"], 1, "cannot be opened"),
    ] {
        let output = audit(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(code), "{row}: {}", said(&output));
        assert!(said(&output).contains(why), "{row}: {}", said(&output));
    }
    fs::write(folder.path().join("zengate.toml"), "[audit]\npath = 7\n").expect("written");
    assert_eq!(audit(folder.path(), &["list"]).status.code(), Some(78));
}

#[test]
fn whoever_reads_may_go_and_whatever_cannot_be_written_is_told() {
    let simulator = Simulator::start();
    let folder = quick(&simulator);
    let path = folder.path();
    let _gateway = busy(path);
    for command in ["export", "list"] {
        let mut child = zengate();
        child.args(["audit", command, "--config"]).arg(path.join("zengate.toml"));
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        drop(child.stdout.take());
        let mut errors = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut errors).expect("read");
        assert_eq!((child.wait().expect("ends").code(), errors.as_str()), (Some(0), ""), "{command}");

        let full = File::options().write(true).open("/dev/full").expect("opened");
        let mut child = zengate();
        child.args(["audit", command, "--config"]).arg(path.join("zengate.toml")).stdout(full);
        let output = child.output().expect("runs");
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(said(&output).contains("No space left"), "{command}: {}", said(&output));
    }
}

#[test]
fn a_reset_or_a_call_is_shown_whole() {
    let simulator = Simulator::start();
    let folder = quick(&simulator);
    let path = folder.path();
    let _gateway = busy(path);
    let all = records(path, &[]);
    let one = |kind: &str| all.iter().find(|record| record["kind"] == kind).expect(kind).clone();
    let (intent, outcome, refused) = (one("intent"), one("outcome"), one("refused"));
    let text = |record: &Value, name: &str| record[name].as_str().expect("a text").to_owned();
    for id in [text(&intent, "resetId"), text(&intent, "requestId")] {
        let shown = told(path, &["show", &id]);
        let heads: Vec<&str> = shown.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(heads.len(), 2, "{shown}");
        let place =
            format!("intent: writer {}, sequence {}, hash ", text(&intent, "writer"), intent["sequence"]);
        assert!(heads[0].starts_with(&place) && heads[1].starts_with("outcome: writer "), "{shown}");
        assert!(heads[0].ends_with(&text(&outcome, "previous")), "the hash: {shown}");
        for line in ["  subject              alice", "  policies             payments/reset-own"] {
            assert!(shown.lines().any(|shown| shown == line), "{line} in {shown}");
        }
        let fields: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        let place = |name: &str| fields.iter().position(|field| field.starts_with(name)).expect(name);
        assert!(place("time") < place("resetId") && place("team") < place("instanceId"), "{shown}");
        assert_eq!(fields.iter().filter(|field| field.starts_with("previous")).count(), 2, "{shown}");
    }
    let shown = told(path, &["show", &text(&refused, "requestId")]);
    assert!(shown.starts_with("refused: ") && shown.contains("  policies             none\n"), "{shown}");
    let none = audit(path, &["show", "nobody-asked-this"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(said(&none).contains("the trail has no record of nobody-asked-this"), "{}", said(&none));
}

/// A `zengate audit tail …`, and its lines as they come.
fn tail(folder: &Path, arguments: &[&str]) -> (Process, impl FnMut() -> String) {
    let mut command = zengate();
    command.args(["audit", "tail"]).args(arguments).arg("--config").arg(folder.join("zengate.toml"));
    let mut child: Child = command.stdout(Stdio::piped()).spawn().expect("runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let next = move || lines.next().map_or_else(String::new, |line| line.expect("text"));
    (Process::of(child), next)
}

#[test]
fn the_trail_is_followed_over_stops_and_starts_until_a_signal() {
    let simulator = Simulator::start();
    let folder = quick(&simulator);
    let path = folder.path();
    let mut gateway = busy(path);
    let before = records(path, &[]).len();
    let (mut now, mut next) = tail(path, &["--kind", "intent"]);
    assert!(next().starts_with("TIME "), "it has begun");
    let (mut all, mut next_of_all) = tail(path, &["--json", "--from", "start"]);
    let mut seen: Vec<Value> = Vec::new();
    let mut see = |count: usize| {
        let more = (0..count).map(|_| serde_json::from_str(&next_of_all()).expect("a record"));
        seen.extend(more);
        seen.clone()
    };
    assert_eq!(see(before).len(), before);
    let reset = gateway.reset("ins-a", "Abcd~1234");
    assert_eq!(reset.status, 201, "{reset:?}");
    let line = next();
    assert!(line.contains("  intent ") && line.contains("ins-a"), "only what fits: {line}");

    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());
    let gateway = Gateway::start(path, Stdio::null(), |command| command);
    let reset = gateway.reset("ins-a", "Abcd~1234");
    assert_eq!(reset.status, 201, "{reset:?}");
    assert!(next().contains("ins-a"), "a new writer is followed too");
    let written = records(path, &[]);
    let mut seen = see(written.len() - before);
    for process in [&mut now, &mut all] {
        process.signal("-INT");
        assert_eq!(process.ended().code(), Some(0), "a signal ends it well");
    }
    let mut written = written;
    let place = |record: &Value| (record["writer"].to_string(), record["sequence"].as_u64());
    seen.sort_by_key(place);
    written.sort_by_key(place);
    assert_eq!(seen, written, "each record once");
}

#[test]
fn following_ends_when_nobody_reads() {
    let simulator = Simulator::start();
    let folder = quick(&simulator);
    let gateway = busy(folder.path());
    let (mut tail, next) = tail(folder.path(), &["--json"]);
    drop(next);
    let until = Instant::now() + Duration::from_secs(20);
    while !tail.has_ended() {
        assert!(Instant::now() < until, "it ends by the next record");
        _ = gateway.reset("ins-d", "Abcd~1234");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(tail.ended().code(), Some(0));
}
