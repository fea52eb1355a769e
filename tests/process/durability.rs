//! No record, no reset: seen from outside the process.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::http::call;
use crate::support::{Gateway, Simulator, configured, payments, said, zengate};

fn records(folder: &std::path::Path) -> Vec<Value> {
    let output = zengate()
        .args(["audit", "export", "--config"])
        .arg(folder.join("zengate.toml"))
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

#[test]
fn a_kill_between_intent_and_outcome_leaves_unknown() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    simulator.fault(r#"[{"fault":"hang-after-read","action":"ResetInstancePassword","applied":true}]"#);
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let address = gateway.address;
    let asking = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).expect("connected");
        let bearer = format!("Bearer {}", payments());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let path = "/v1/instances/ins-a/password-resets";
        let bytes = crate::http::request("POST", path, &headers, Some(br#"{"password":"Abcd~1234"}"#));
        std::io::Write::write_all(&mut stream, &bytes).expect("written");
        // The gateway dies before it answers.
        _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    });
    simulator.wait_for_resets(1);
    gateway.process.signal("-KILL");
    asking.join().expect("the caller ends");
    drop(gateway);

    let before = records(folder.path());
    let intent = before
        .iter()
        .find(|record| record["kind"] == "intent")
        .expect("the intent outlived the kill")
        .clone();
    simulator.fault("[]");
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let id = intent["resetId"].as_str().expect("an id");
    let read = call(gateway.address, "GET", &format!("/v1/password-resets/{id}"), Some(&payments()), None);
    assert_eq!((read.status, &read.json()["status"]), (200, &json!("unknown")), "{read:?}");
    let after = records(folder.path());
    let outcome = after.iter().find(|record| record["kind"] == "outcome").expect("an outcome");
    assert_eq!((&outcome["outcome"], &outcome["cause"]), (&json!("unknown"), &json!("writer gone")));
    let verified =
        zengate().args(["audit", "verify", "--config"]).arg(folder.path().join("zengate.toml")).output();
    let verified = verified.expect("runs");
    assert!(verified.status.success(), "{}", said(&verified));
}

#[test]
fn a_second_writer_is_sent_away_and_readers_are_not() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    assert_eq!(gateway.reset("ins-a", "Abcd~1234").status, 201);
    let mut second = zengate();
    second.arg("serve").arg("--config").arg(folder.path().join("zengate.toml"));
    second.env("ZENGATE__SERVER__LISTEN", "127.0.0.1:0").env("ZENGATE__OPERATIONS__LISTEN", "127.0.0.1:0");
    let output = second.output().expect("runs");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("another zengate writes the trail"), "{stderr}");
    assert_eq!(
        records(folder.path()).iter().filter(|r| r["kind"] == "outcome").count(),
        1,
        "a reader works beside it"
    );
    let mode = fs::metadata(folder.path().join("zengate.db")).expect("there");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
}

#[test]
fn no_call_reaches_zenlayer_before_its_intent_is_synced() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let trace = folder.path().join("trace");
    // A page of the database is 4 KiB, and a record stands at its end.
    let calls = "trace=fsync,fdatasync,write,writev,sendto,sendmsg,pwrite64";
    let gateway = Gateway::traced(folder.path(), &trace, &["-tt", "-s", "4200", "-e", calls]);
    for (instance, status) in [("ins-a", 201), ("ins-d", 403)] {
        assert_eq!(gateway.reset(instance, "Abcd~1234").status, status);
    }
    gateway.end_traced();

    let trace = fs::read_to_string(&trace).expect("a trace");
    let position = |what: &str, from: usize| {
        let found = trace.lines().enumerate().skip(from).find(|(_, line)| line.contains(what));
        found.unwrap_or_else(|| panic!("{what} in a trace of {} lines", trace.lines().count())).0
    };
    let written = position(r#"\"kind\":\"intent\""#, 0);
    // Not fsync, which writes the file's times too (ADR 7).
    let synced = position("fdatasync(", written);
    let sent = position("x-zc-action: ResetInstancePassword", 0);
    assert!(written < synced && synced < sent, "written {written}, synced {synced}, sent {sent}");
    // A sync that a second thread interrupts in the trace ends on a line of its own.
    let line = trace.lines().nth(synced).expect("a line");
    if line.contains("<unfinished") {
        let resumed = position("sync resumed>", synced);
        assert!(resumed < sent, "the sync has ended before anything is sent");
    }
}
