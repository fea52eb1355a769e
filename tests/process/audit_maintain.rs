//! Looking after the trail: pruning, backup and restore, the table of resets.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::audit_read::{audit, quick, records, told};
use crate::http::call;
use crate::support::{Gateway, Simulator, payments, python, said, zengate};

fn serving(folder: &Path) -> Gateway {
    Gateway::start(folder, Stdio::null(), |command| command)
}

fn stop(mut gateway: Gateway) {
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());
}

/// A reset that Zenlayer accepts: its id.
fn reset(gateway: &Gateway) -> String {
    let answer = gateway.reset("ins-a", "Abcd~1234");
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn read(gateway: &Gateway, id: &str) -> u16 {
    call(gateway.address, "GET", &format!("/v1/password-resets/{id}"), Some(&payments()), None).status
}

/// A time between what was written before and what will be.
fn now() -> String {
    std::thread::sleep(Duration::from_millis(3));
    let now = jiff::Timestamp::now();
    std::thread::sleep(Duration::from_millis(3));
    format!("{now:.3}")
}

fn assert_good(folder: &Path) {
    let output = audit(folder, &["verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// The checkpoint that a command ends with.
fn checkpoint(output: &str) -> &str {
    let last = output.lines().last().unwrap_or_default();
    assert!(last.starts_with("zengate-checkpoint-v1 "), "{output}");
    last
}

fn refused(output: &Output, code: i32, why: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(said(output).contains(why), "{why} in {}", said(output));
}

fn trail() -> (Simulator, TempDir) {
    let simulator = Simulator::start();
    let folder = quick(&simulator);
    (simulator, folder)
}

#[test]
fn old_records_go_and_the_rest_verifies() {
    let (_simulator, folder) = trail();
    let path = folder.path();
    let gateway = serving(path);
    let gone = reset(&gateway);
    stop(gateway);
    let between = now();
    let gateway = serving(path);
    let stays = reset(&gateway);
    let before = records(path, &[]);
    let old = before.iter().filter(|record| record["writer"] == before[0]["writer"]).count();

    let plan = told(path, &["prune", "--before", &between]);
    let told_of_all = format!("{old} of {} records may go\n", before.len());
    assert!(plan.starts_with(&told_of_all), "beside a running gateway: {plan}");
    assert!(plan.contains(&format!(": 1 to {old} of {old}, from ")), "{plan}");
    assert!(plan.ends_with("nothing was changed: --yes takes them out\n"));
    let held = audit(path, &["prune", "--before", &between, "--yes"]);
    refused(&held, 1, "another zengate writes the trail");
    refused(&held, 1, "stop it first; nothing was changed");
    assert_eq!(records(path, &[]), before, "nothing was changed");
    stop(gateway);

    let all = records(path, &[]).len();
    let output = told(path, &["prune", "--before", &between, "--yes"]);
    assert!(output.starts_with(&format!("{old} of {all} records are gone\n")), "{output}");
    let pruned = &records(path, &["--kind", "pruned"])[0];
    assert_eq!(pruned["pruned"][0]["writer"], before[0]["writer"], "{pruned}");
    assert!(checkpoint(&output).contains(pruned["writer"].as_str().expect("a writer")));
    assert_good(path);
    let left = records(path, &[]);
    let again = told(path, &["prune", "--before", &between, "--yes"]);
    assert_eq!(again, format!("0 of {} records may go\n", left.len()));
    assert_eq!(records(path, &[]), left, "nothing to take out, nothing on record");

    let gateway = serving(path);
    assert_eq!((read(&gateway, &gone), read(&gateway, &stays)), (404, 200));
    reset(&gateway);
    stop(gateway);
    assert_good(path);
    for (row, time, why) in [
        ("the future", "9999-01-01", "is in the future"),
        ("no time", "a year ago", "must be an RFC 3339 time"),
    ] {
        let output = audit(path, &["prune", "--before", time, "--yes"]);
        refused(&output, 2, why);
        assert!(!said(&output).contains("gone"), "{row}");
    }
}

#[test]
fn a_backup_is_made_beside_the_gateway_and_put_back() {
    let (_simulator, folder) = trail();
    let path = folder.path();
    let gateway = serving(path);
    let kept = reset(&gateway);
    for (way, script) in [
        ("backup", "s.backup(sqlite3.connect(sys.argv[2]))"),
        ("vacuum", "s.execute('VACUUM INTO ?', (sys.argv[2],))"),
    ] {
        let script = format!("import sqlite3, sys; s = sqlite3.connect(sys.argv[1]); {script}");
        let mut command = python();
        command.args(["-c", &script]).arg(path.join("zengate.db")).arg(path.join(way));
        let output = command.output().expect("runs");
        assert!(output.status.success(), "{way}: {}", said(&output));
    }
    let lost = reset(&gateway);
    stop(gateway);
    let log = fs::metadata(path.join("zengate.db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0, "a trail that nobody writes is one file, whole");
    let whole = records(path, &[]);
    for way in ["backup", "vacuum"] {
        for file in ["zengate.db", "zengate.db-wal", "zengate.db-shm"] {
            _ = fs::remove_file(path.join(file));
        }
        fs::copy(path.join(way), path.join("zengate.db")).expect("put back");
        let ends = records(path, &[]);
        assert!(whole.starts_with(&ends) && ends.len() < whole.len(), "{way}: {ends:?}");
        let output = told(path, &["restored", "--reason", "the disk broke"]);
        assert!(output.starts_with("the restore is on record\n"), "{way}: {output}");
        checkpoint(&output);
        let restored = &records(path, &["--kind", "restored"])[0];
        let last = &ends[ends.len() - 1];
        let head = &restored["heads"][0];
        assert_eq!((&head["writer"], &head["sequence"]), (&last["writer"], &last["sequence"]), "{way}");
        assert_eq!(restored["reason"], "the disk broke");
        assert_good(path);
        let gateway = serving(path);
        assert_eq!((read(&gateway, &kept), read(&gateway, &lost)), (200, 404), "{way}");
        reset(&gateway);
        stop(gateway);
        assert_good(path);
    }
    for (row, reason) in [("empty", ""), ("too long", &"x".repeat(501)), ("not for a terminal", "a\u{1b}[2J")]
    {
        let output = audit(path, &["restored", "--reason", reason]);
        assert_eq!(output.status.code(), Some(2), "{row}: {}", said(&output));
    }
}

#[test]
fn a_damaged_trail_refuses_resets_until_it_is_restored_by_the_runbook() {
    let (simulator, folder) = trail();
    let path = folder.path();
    let (file, copy) = (path.join("zengate.db"), path.join("copy.db"));
    let gateway = serving(path);
    let kept = reset(&gateway);
    let connection = rusqlite::Connection::open(&file).expect("opened");
    connection.execute("VACUUM INTO ?1", [copy.to_str().expect("a path")]).expect("backed up");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("in the file");
    drop(connection);
    let bytes = fs::read(&file).expect("read");
    let mut damaged = fs::OpenOptions::new().write(true).open(&file).expect("opened");
    std::io::Seek::seek(&mut damaged, std::io::SeekFrom::Start(4096)).expect("sought");
    std::io::Write::write_all(&mut damaged, &vec![0xff; bytes.len() - 4096]).expect("written");

    let calls = || simulator.get("instances")["instances"][0]["resets"].as_u64();
    let sent = calls();
    let failures = || {
        let metrics = call(gateway.operations, "GET", "/metrics", None, None).body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("zengate_audit_failures_total "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("a count")
    };
    for _ in 0..3 {
        let before = failures();
        let refused = gateway.reset("ins-a", "Abcd~1234");
        assert_eq!((refused.status, refused.json()["status"].as_u64()), (503, Some(503)), "{refused:?}");
        assert!(failures() > before, "the number grows for as long as it lasts");
    }
    assert_eq!(calls(), sent, "nothing was sent");
    refused(&audit(path, &["verify"]), 1, "it is damaged");
    stop(gateway);
    let mut start = zengate();
    start.arg("serve").arg("--config").arg(path.join("zengate.toml"));
    refused(&start.output().expect("runs"), 1, "it is damaged");

    for name in ["zengate.db", "zengate.db-wal", "zengate.db-shm"] {
        _ = fs::rename(path.join(name), path.join(format!("away-{name}")));
    }
    fs::copy(&copy, &file).expect("put back");
    assert_good(path);
    checkpoint(&told(path, &["restored", "--reason", "the disk broke"]));
    let gateway = serving(path);
    assert_eq!(read(&gateway, &kept), 200);
    reset(&gateway);
    assert_good(path);
}

#[test]
fn the_table_of_resets_is_rebuilt() {
    let (_simulator, folder) = trail();
    let path = folder.path();
    let gateway = serving(path);
    let id = reset(&gateway);
    refused(&audit(path, &["rebuild"]), 1, "another zengate writes the trail");
    refused(&audit(path, &["restored", "--reason", "x"]), 1, "another zengate writes the trail");
    stop(gateway);
    let connection = rusqlite::Connection::open(path.join("zengate.db")).expect("opened");
    connection.execute_batch("DELETE FROM resets").expect("emptied");
    drop(connection);
    let output = told(path, &["rebuild"]);
    assert!(output.starts_with("1 reset is as its records tell it\n"), "{output}");
    checkpoint(&output);
    let gateway = serving(path);
    assert_eq!(read(&gateway, &id), 200);
    stop(gateway);
    assert_good(path);
}

#[test]
fn what_a_killed_gateway_left_open_is_closed_by_whoever_comes_next() {
    let (simulator, folder) = trail();
    let path = folder.path();
    simulator.fault(r#"[{"fault":"hang-after-read","action":"ResetInstancePassword"}]"#);
    let gateway = serving(path);
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(|| std::panic::catch_unwind(|| gateway.reset("ins-a", "Abcd~1234").status));
        simulator.wait_for_resets(1);
        gateway.process.signal("-KILL");
        asking.join()
    });
    drop(asking);
    drop(gateway);
    let plan = told(path, &["prune", "--before", &now()]);
    assert!(plan.contains("has no outcome yet"), "{plan}");
    let output = told(path, &["restored", "--reason", "the host broke"]);
    assert!(output.contains("1 reset was in flight when its writer ended"), "{output}");
    let outcome: &Value = &records(path, &["--kind", "outcome"])[0];
    assert_eq!((&outcome["outcome"], &outcome["cause"]), (&"unknown".into(), &"writer gone".into()));
    assert_good(path);
}
