//! What holds of resets whatever befalls the trail's store.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{Answer, call};
use crate::support::{Gateway, Simulator, payments, said, zengate};

const REFUSED: &str = "The audit trail cannot be written, so nothing was sent. Try again.";

/// The instances of all resets that Zenlayer was asked for, in order.
pub fn sent(simulator: &Simulator) -> Vec<String> {
    let calls = simulator.get("calls")["calls"].as_array().cloned().expect("a list");
    let resets = calls.iter().filter(|call| call["action"] == "ResetInstancePassword");
    let body =
        |call: &Value| serde_json::from_str::<Value>(call["body"].as_str().expect("text")).expect("JSON");
    resets.map(|call| body(call)["instanceId"].as_str().expect("an id").to_owned()).collect()
}

pub fn metric(gateway: &Gateway, series: &str) -> u64 {
    let text = call(gateway.operations, "GET", "/metrics", None, None).body;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a whole number"))
}

pub fn trail_check(gateway: &Gateway) -> Value {
    let answer = call(gateway.operations, "GET", "/readyz", None, None);
    assert_eq!(answer.status, 200, "a disk takes no readiness away: {answer:?}");
    answer.json()["checks"]["trail"].clone()
}

pub fn until(what: &str, mut good: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !good() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A reset of `ins-1` that Zenlayer is at while `fail` takes the store away: its intent stands, its outcome lands once
/// `mend` has brought it back.
pub fn in_flight(gateway: &Gateway, simulator: &Simulator, fail: impl FnOnce(), mend: impl FnOnce()) {
    simulator.fault(
        r#"[{"fault":"delay","milliseconds":1500,"instanceId":"ins-1","action":"ResetInstancePassword"}]"#,
    );
    let before = sent(simulator).len();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| gateway.reset("ins-1", "Abcd~1234"));
        simulator.wait_for_resets(before + 1);
        fail();
        let told = asked.join().expect("answered");
        assert_eq!((told.status, told.problem().as_str()), (504, "outcome-unknown"), "{told:?}");
        assert!(told.json()["detail"].as_str().is_some_and(|text| text.contains("not on record yet")));
        assert_eq!(metric(gateway, "zengate_audit_pending_records"), 1);
        mend();
        until("it recovers by itself", || metric(gateway, "zengate_audit_pending_records") == 0);
        let id = told.json()["resetId"].as_str().expect("an id").to_owned();
        assert_eq!(status(gateway, &id), "accepted");
    });
    simulator.fault("[]");
}

pub fn status(gateway: &Gateway, id: &str) -> Value {
    let path = format!("/v1/password-resets/{id}");
    call(gateway.address, "GET", &path, Some(&payments()), None).json()["status"].clone()
}

/// Resets that all say that the trail cannot be written, each within `longest`; none reaches Zenlayer.
pub fn all_refused(gateway: &Gateway, simulator: &Simulator, longest: Duration) {
    let before = sent(simulator).len();
    let ask = |n: usize| {
        let began = Instant::now();
        (gateway.reset(&format!("ins-{n}"), "Abcd~1234"), began.elapsed())
    };
    let answers: Vec<(Answer, Duration)> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|n| scope.spawn(move || ask(n))).collect();
        asking.into_iter().map(|asked| asked.join().expect("answered")).collect()
    });
    for (answer, took) in answers {
        refused(&answer);
        assert!(took < longest, "{took:?}");
    }
    assert_eq!(sent(simulator).len(), before, "nothing was sent");
    // Who is not permitted hears so all the same.
    assert_eq!(gateway.reset("ins-none", "Abcd~1234").status, 403);
}

/// An answer that says that the trail cannot be written.
pub fn refused(answer: &Answer) {
    assert_eq!((answer.status, answer.problem().as_str()), (503, "unavailable"), "{answer:?}");
    assert_eq!(answer.json()["detail"], REFUSED);
}

/// How many outcomes there are with this cause.
pub fn ended(records: &[Value], outcome: &str, cause: &str) -> usize {
    records.iter().filter(|record| record["outcome"] == outcome && record["cause"] == cause).count()
}

/// Every reset that Zenlayer was asked for has an intent and an outcome, and the chains hold: all
/// records. `inside` puts a
/// command where the trail is.
pub fn all_on_record(
    folder: &Path,
    simulator: &Simulator,
    inside: impl Fn(Command) -> Command,
) -> Vec<Value> {
    let ask = |what: &str| {
        let mut command = zengate();
        command.args(["audit", what, "--config"]).arg(folder.join("zengate.toml"));
        let output = inside(command).output().expect("runs");
        assert!(output.status.success(), "{what}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let records: Vec<Value> =
        ask("export").lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect();
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).cloned().collect::<Vec<_>>();
    let mut intents: Vec<String> =
        of("intent").iter().map(|record| record["instanceId"].as_str().expect("an id").to_owned()).collect();
    for instance in sent(simulator) {
        let intent = intents.iter().position(|intent| *intent == instance);
        intents.remove(intent.unwrap_or_else(|| panic!("a reset of {instance} was sent without an intent")));
    }
    let ids = |kind| of(kind).iter().map(|record| record["resetId"].to_string()).collect::<BTreeSet<_>>();
    assert_eq!(ids("intent"), ids("outcome"));
    ask("verify");
    records
}
