//! A request by an `Idempotency-Key` and a gateway that is killed amid it.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::json;

use crate::http::{Answer, raw, request};
use crate::support::{Gateway, Simulator, configured, payments};

const RESET: &str = "ResetInstancePassword";

fn bytes(key: &str, token: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("idempotency-key", key)];
    let body = json!({ "password": "Abcd~1234" }).to_string();
    request("POST", "/v1/instances/ins-a/password-resets", &headers, Some(body.as_bytes()))
}

#[test]
fn what_was_on_its_way_when_the_gateway_was_killed_is_not_sent_again_by_its_key() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let start = || Gateway::start(folder.path(), Stdio::null(), |command| command);
    let token = payments();
    let sent = || {
        let calls = simulator.get("calls")["calls"].as_array().cloned().expect("a list");
        calls.iter().filter(|call| call["action"] == RESET).count()
    };
    let ask = |gateway: &Gateway, key: &str| -> Answer { raw(gateway.address, &bytes(key, &token)) };
    simulator.fault(&json!([{ "fault": "hang-after-read", "applied": true, "action": RESET }]).to_string());
    let mut gateway = start();
    let mut caller = TcpStream::connect(gateway.address).expect("connected");
    caller.write_all(&bytes("killed", &token)).expect("written");
    simulator.wait_for_resets(1);
    let meanwhile = ask(&gateway, "killed");
    assert_eq!((meanwhile.status, meanwhile.problem().as_str()), (409, "idempotency-in-flight"));
    assert!(meanwhile.header("location").is_some(), "it is on record: {meanwhile:?}");
    gateway.process.kill();
    simulator.fault("[]");

    let mut gateway = start();
    for _ in 0..2 {
        let told = ask(&gateway, "killed");
        assert_eq!((told.status, told.problem().as_str()), (504, "outcome-unknown"), "{told:?}");
        assert_eq!(told.header("idempotency-replayed"), Some("true"), "{told:?}");
        assert_eq!(told.header("location"), meanwhile.header("location"), "of the same reset");
    }
    assert_eq!(sent(), 1, "nobody knows, so nobody sends it again");
    let told = ask(&gateway, "new");
    assert_eq!((told.status, told.header("idempotency-replayed")), (201, None), "{told:?}");
    assert_eq!(sent(), 2);
    // In order this time, and what was kept is known to the next.
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());
    let gateway = start();
    let replay = ask(&gateway, "new");
    assert_eq!((replay.status, replay.json()), (201, told.json()), "{replay:?}");
    assert_eq!(sent(), 2);
}
