//! `kill -9` in the middle of a batch: its states always add up, and none says less than Zenlayer knows.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::call;
use crate::support::{FREE, Gateway, Simulator, begin_batch, configured, payments, said, zengate};

const SIZE: usize = 100;

fn begin(gateway: &Gateway) -> String {
    let ids: Vec<_> = (0..SIZE).map(|n| format!("ins-{n}")).collect();
    begin_batch(gateway.address, &payments(), &ids)
}

/// The instances whose password Zenlayer set.
fn applied(simulator: &Simulator) -> Vec<String> {
    let instances = simulator.get("instances")["instances"].as_array().cloned().expect("a list");
    let set = instances.iter().filter(|instance| instance["resets"].as_u64() > Some(0));
    set.map(|instance| instance["instanceId"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_kill_amid_a_batch_leaves_states_that_add_up() {
    let mut random = fastrand::Rng::new();
    for round in 0..4 {
        let simulator = Simulator::of(SIZE);
        let delay = json!([{ "action": "ResetInstancePassword", "fault": "delay", "milliseconds": 5, "jitterMilliseconds": 40 }]);
        simulator.fault(&delay.to_string());
        let folder = configured(&simulator);
        std::fs::write(folder.path().join("policies/limits.toml"), FREE).expect("written");
        let mut gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
        let location = begin(&gateway);
        let moment = Duration::from_millis(random.u64(0..600));
        std::thread::sleep(moment);
        gateway.process.kill();
        let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
        let batch = settled(&gateway, &location);
        let resets = batch["resets"].as_array().expect("a list");
        assert_eq!(resets.len(), SIZE, "round {round}, killed after {moment:?}");
        let counts = batch["counts"].as_object().expect("counts");
        assert_eq!(counts.values().filter_map(Value::as_u64).sum::<u64>(), SIZE as u64, "{counts:?}");
        let set = applied(&simulator);
        for reset in resets {
            let (id, status) = (reset["instanceId"].as_str().expect("an id"), reset["status"].as_str());
            match status.expect("a status") {
                "accepted" => assert!(set.iter().any(|one| one == id), "{reset}"),
                "not_sent" => assert!(!set.iter().any(|one| one == id), "{reset}"),
                "unknown" => {}
                other => panic!("{other}: {reset}"),
            }
        }
        drop(gateway);
        let config = folder.path().join("zengate.toml");
        let verified = zengate().args(["audit", "verify", "--config"]).arg(config).output().expect("runs");
        assert!(verified.status.success(), "{}", said(&verified));
    }
}

fn settled(gateway: &Gateway, location: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let told = call(gateway.address, "GET", location, Some(&payments()), None);
        if told.status == 200 && told.json()["status"] == "finished" {
            return told.json();
        }
        assert!(Instant::now() < until, "{told:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
