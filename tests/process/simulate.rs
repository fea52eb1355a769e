//! `zengate simulate` and what it is told of faults.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{ACCESS_KEY_ID, ACCESS_KEY_PASSWORD, Process, run, said, zengate};

/// A folder with all that the command needs, and these faults; and the command.
fn simulate(faults: &str) -> (TempDir, Command) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("instances.json"), r#"[{"instanceId": "ins-a"}]"#).expect("written");
    fs::write(path("key"), ACCESS_KEY_PASSWORD).expect("written");
    fs::write(path("faults.json"), faults).expect("written");
    let mut command = zengate();
    command.args(["simulate", "--access-key-id", ACCESS_KEY_ID]);
    command.arg("--instances").arg(path("instances.json")).arg("--access-key-password-file").arg(path("key"));
    command.arg("--faults").arg(path("faults.json")).arg("--ready-file").arg(path("ready.json"));
    (folder, command)
}

#[test]
fn faults_of_a_file_are_in_force_from_the_start() {
    let (folder, mut command) = simulate(r#"[{"fault": "legal-block", "share": 0.5}]"#);
    let mut process = Process::spawn(command.stdout(Stdio::null()));
    let ready = process.wait_for(&folder.path().join("ready.json"));
    let port = ready["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let call = |method, path| crate::http::call(address, method, path, None, None);
    assert_eq!(call("POST", "/api/v2/zec").status, 451);
    assert_eq!(
        call("GET", "/_simulator/faults").json(),
        json!({"faults": [{"fault": "legal-block", "share": 0.5}]})
    );
}

#[test]
fn a_bad_file_of_faults_ends_it_and_the_rule_is_named() {
    for (faults, part) in [
        ("{}", "faults.json: not a JSON array of objects: "),
        (
            r#"[{"fault": "firewall"}, {"fault": "explode"}]"#,
            "faults.json: fault 2: unknown variant `explode`",
        ),
        (
            r#"[{"fault": "firewall", "applied": true}]"#,
            "faults.json: fault 1: a 403 never follows a call that was applied",
        ),
    ] {
        let (_folder, mut command) = simulate(faults);
        let output = command.output().expect("runs");
        assert_eq!(output.status.code(), Some(1), "{faults}: {}", said(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(part), "{faults}: {}", said(&output));
    }
}

#[test]
fn its_help_tells_of_every_fault() {
    let output = run(&["simulate", "--help"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(zengate::simulator::FAULTS.trim_end()));
}
