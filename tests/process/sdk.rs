//! Zenlayer's own Python SDK against the simulated Zenlayer.

use crate::support::{ACCESS_KEY_ID, ACCESS_KEY_PASSWORD, Simulator, beside, python, said};

#[test]
fn the_official_sdk_is_served_unchanged() {
    let mut simulator = Simulator::start();
    let output = python()
        .arg(beside("sdk.py"))
        .args(["--url", &simulator.url, "--instance", "ins-a"])
        .args(["--access-key-id", ACCESS_KEY_ID, "--access-key-password", ACCESS_KEY_PASSWORD])
        // Anything set for the machine's own traffic must not carry this off loopback.
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", said(&output));
    simulator.process.signal("-TERM");
    assert!(simulator.process.ended().success(), "SIGTERM ends it with exit code 0");
}
