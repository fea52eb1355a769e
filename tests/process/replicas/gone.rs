//! Replicas that are killed or paused amid resets: others find what they left, and nothing is sent that others have
//! given up.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::cluster::{Cluster, Replica, reset, reset_request, web};
use crate::http::{call, raw};
use crate::support::{FREE, begin_batch, said, zengate};
use crate::trail::{sent, until};

const SIZE: usize = 40;

fn begin(at: SocketAddr, token: &str, first: usize) -> String {
    let ids: Vec<_> = (first..first + SIZE).map(|n| format!("web-{n}")).collect();
    begin_batch(at, token, &ids)
}

/// What of `instances` Zenlayer was asked for.
fn sent_of(cluster: &Cluster, instances: std::ops::Range<usize>) -> Vec<String> {
    let sent = sent(&cluster.simulator);
    sent.into_iter().filter(|id| instances.clone().any(|n| *id == format!("web-{n}"))).collect()
}

fn counts(batch: &Value) -> Vec<(String, u64)> {
    let counts = batch["counts"].as_object().expect("counts");
    counts.iter().map(|(status, count)| (status.clone(), count.as_u64().expect("a number"))).collect()
}

/// Each item says no less than Zenlayer knows.
fn adds_up(batch: &Value, sent: &[String]) {
    let resets = batch["resets"].as_array().expect("a list");
    assert_eq!(resets.len(), SIZE);
    for reset in resets {
        let id = reset["instanceId"].as_str().expect("an id");
        let calls = sent.iter().filter(|sent| *sent == id).count();
        match reset["status"].as_str().expect("a status") {
            "accepted" => assert_eq!(calls, 1, "{reset}"),
            "not_sent" => assert_eq!(calls, 0, "{reset}"),
            "unknown" => assert!(calls <= 1, "{reset}"),
            other => panic!("{other}: {reset}"),
        }
    }
}

#[test]
fn what_a_replica_left_is_ended_by_another_and_sent_by_nobody() {
    let retries = [("ZENGATE__UPSTREAM__RETRIES", "5"), ("ZENGATE__UPSTREAM__RETRY_SECONDS", "60")];
    let mut cluster = Cluster::of(4, FREE, &retries);
    cluster.simulator.fault(r#"[{"fault":"delay","milliseconds":500,"action":"ResetInstancePassword"}]"#);
    let token = web();
    let at = |n: usize, cluster: &Cluster| cluster.replicas[n].gateway.address;
    // One is killed amid a batch, one paused amid a batch, one paused between two tries; the last one stays.
    let killed = begin(at(0, &cluster), &token, 0);
    let paused = begin(at(1, &cluster), &token, SIZE);
    until("both are at it", || {
        [0..SIZE, SIZE..2 * SIZE].into_iter().all(|range| sent_of(&cluster, range).len() >= 6)
    });
    let keyed = reset_request(&token, "web-198", &[("idempotency-key", "killed")]);
    let mut caller = TcpStream::connect(at(0, &cluster)).expect("connected");
    caller.write_all(&keyed).expect("written");
    until("Zenlayer is at it", || sent_of(&cluster, 198..199).len() == 1);
    cluster.replicas[0].gateway.process.kill();
    cluster.replicas[1].gateway.process.signal("-STOP");
    cluster.replicas[2].to_zenlayer.close();
    let (retried, asks) = (at(2, &cluster), token.clone());
    let asked = std::thread::spawn(move || reset(retried, &asks, "web-199"));
    let status = |cluster: &Cluster| {
        cluster.sql("SELECT coalesce(min(status), '') FROM resets WHERE instance = 'web-199'")
    };
    until("its intent is on record", || status(&cluster) == "sent");
    cluster.replicas[2].gateway.process.signal("-STOP");
    cluster.simulator.fault("[]");
    let open = || cluster.sql("SELECT count(*) FROM resets WHERE status IN ('sent', 'queued')");
    until("the last one has ended what they left", || open() == "0");
    assert_eq!(status(&cluster), "unknown", "nobody knows whether it was sent");
    the_last_tells_of(&cluster, &token, &killed, 0..SIZE);
    the_last_tells_of(&cluster, &token, &paused, SIZE..2 * SIZE);
    let again = raw(at(3, &cluster), &keyed);
    assert_eq!((again.status, again.problem().as_str()), (504, "outcome-unknown"), "{again:?}");
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
    let before = sent(&cluster.simulator).len();
    cluster.replicas[2].to_zenlayer.reopen();
    for n in [1, 2] {
        cluster.replicas[n].gateway.process.signal("-CONT");
    }
    let told = asked.join().expect("answered");
    for (n, instance) in [(1, "web-190"), (2, "web-191")] {
        let address = at(n, &cluster);
        until("it resets again, by a new name", || reset(address, &token, instance).status == 201);
    }
    let after = sent(&cluster.simulator).split_off(before);
    assert!(after.iter().all(|id| id == "web-190" || id == "web-191"), "given up, and sent: {after:?}");
    until("what it knows corrects what others could not", || status(&cluster) == "not_sent");
    assert_eq!((told.status, told.problem().as_str()), (503, "unavailable"), "{told:?}");
    every_call_has_its_intent(&cluster);
}

/// What the surviving replica says of the batch of another.
fn the_last_tells_of(cluster: &Cluster, token: &str, location: &str, range: std::ops::Range<usize>) {
    let last: &Replica = &cluster.replicas[3];
    let batch = call(last.gateway.address, "GET", location, Some(token), None).json();
    assert_eq!(batch["status"], "finished", "{batch}");
    let counted = counts(&batch);
    let of = |status: &str| counted.iter().find(|(name, _)| name == status).map_or(0, |(_, count)| *count);
    assert!(of("accepted") > 0 && of("unknown") > 0 && of("not_sent") > 0, "{counted:?}");
    adds_up(&batch, &sent_of(cluster, range));
}

/// The books of all replicas and those of Zenlayer agree.
fn every_call_has_its_intent(cluster: &Cluster) {
    let audit = |what: &str| {
        let config = cluster.replicas[3].folder.path().join("zengate.toml");
        let output = zengate().args(["audit", what, "--config"]).arg(config).output().expect("runs");
        assert!(output.status.success(), "{what}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let records = audit("export");
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut intents: Vec<String> = records
        .filter(|record| record["kind"] == "intent")
        .map(|record| record["instanceId"].as_str().expect("an id").to_owned())
        .collect();
    for instance in sent(&cluster.simulator) {
        let intent = intents.iter().position(|intent| *intent == instance);
        intents.swap_remove(intent.unwrap_or_else(|| panic!("{instance} was sent without an intent")));
    }
    audit("verify");
}
