//! Sealed passwords, opened by an implementation that is not ours.

use std::fs;
use std::process::Stdio;

use crate::support::{Gateway, Simulator, beside, configured, payments, python, said};

#[test]
fn a_sealed_password_opens_with_another_implementation() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let limits = "[default]\ninstance_cooldown_seconds = 0\n";
    fs::write(folder.path().join("policies/limits.toml"), limits).expect("written");
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let output = python()
        .arg(beside("sealed.py"))
        .args(["--gateway", &format!("http://{}", gateway.address), "--simulator", &simulator.url])
        .args(["--instance", "ins-a"])
        .env("TOKEN", payments())
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "RSA-2048: opened\nRSA-4096: opened\nP-256: opened\n");
}
