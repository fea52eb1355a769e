//! Reading the trail, beside a running gateway.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Gateway, Simulator, configured, said, zengate};

/// `zengate audit …` on the trail of this folder.
fn audit(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = zengate();
    command.arg("audit").args(arguments).arg("--config").arg(folder.join("zengate.toml"));
    command.output().expect("runs")
}

/// What it answers; it must end well.
fn told(folder: &Path, arguments: &[&str]) -> String {
    let output = audit(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn records(folder: &Path, arguments: &[&str]) -> Vec<Value> {
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
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while written() == 0 {
        assert!(std::time::Instant::now() < until, "the refusal is written");
    }
    gateway
}

#[test]
fn people_get_a_line_a_record_and_programs_its_bytes() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
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
    let folder = configured(&simulator);
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
    std::fs::write(folder.path().join("zengate.toml"), "[audit]\npath = 7\n").expect("written");
    assert_eq!(audit(folder.path(), &["list"]).status.code(), Some(78));
}

#[test]
fn whoever_reads_may_go_and_whatever_cannot_be_written_is_told() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
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
