//! A password that must be found nowhere but where it is meant to go.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use crate::http::{call, raw, request};
use crate::support::{ACCESS_KEY_PASSWORD, Gateway, Simulator, configured, payments};

const CANARY: &str = "Cnry~4Feather";

#[test]
fn the_password_is_in_no_log_row_metric_or_problem() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let limits = "[default]\ninstance_cooldown_seconds = 0\n";
    fs::write(folder.path().join("policies/limits.toml"), limits).expect("written");
    let log = fs::File::create(folder.path().join("log")).expect("a file");
    let gateway = Gateway::start(folder.path(), Stdio::from(log), |mut command| {
        command.env("ZENGATE__TELEMETRY__LOG", "trace");
        command
    });
    let token = payments();
    let mut answers = Vec::new();
    let mut ask = |instance: &str, body: String| {
        let path = format!("/v1/instances/{instance}/password-resets");
        let answer = call(gateway.address, "POST", &path, Some(&token), Some(&body));
        let status = answer.status;
        answers.push(format!("{answer:?}"));
        status
    };
    let good = || json!({ "password": CANARY }).to_string();
    assert_eq!(ask("ins-a", good()), 201);
    assert_eq!(ask("ins-b", good()), 403);
    assert_eq!(ask("ins-c", good()), 409);
    assert_eq!(ask("ins-x", json!({ "password": CANARY, "x": CANARY }).to_string()), 400);
    assert_eq!(ask("ins-x", json!({ "password": [CANARY] }).to_string()), 400);
    assert_eq!(ask("ins-x", format!("{{\"password\":\"{CANARY}\"")), 400);
    assert_eq!(ask("ins-x", json!({ "password": format!("{CANARY}é") }).to_string()), 422);
    assert_eq!(ask("ins-a", good()), 201);
    let (describe, reset) = ("DescribeInstances", "ResetInstancePassword");
    // Before the inventory is loaded every unknown instance would be 503.
    let loaded = || call(gateway.operations, "GET", "/metrics", None, None).body;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !loaded().contains("zengate_inventory_refreshes_total{result=\"good\"}") {
        assert!(std::time::Instant::now() < until, "the inventory is loaded");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for (instance, fault, status) in [
        ("ins-x1", json!([{ "fault": "close-after-read", "action": describe }]), 403),
        ("ins-x2", json!([{ "fault": "answer", "status": 500, "body": CANARY, "action": describe }]), 403),
        ("ins-a", json!([{ "fault": "close-after-read", "action": reset, "applied": true }]), 504),
        ("ins-a", json!([{ "fault": "answer", "status": 500, "body": CANARY, "action": reset }]), 504),
    ] {
        simulator.fault(&fault.to_string());
        assert_eq!(ask(instance, good()), status, "{fault}");
    }
    let path = "/v1/instances/ins-a/password-resets?dryRun=true";
    let tried = call(gateway.address, "POST", path, Some(&token), Some(&good()));
    assert_eq!(tried.status, 200);
    answers.push(format!("{tried:?}"));
    let held = simulator.get("instances").to_string();
    assert!(held.contains(CANARY), "the password did arrive");
    let generated = generated(&gateway, &simulator, &mut answers);
    // What is kept of a request by a key, to know it again, is no copy of it.
    let bearer = format!("Bearer {token}");
    let keyed = |key: &str| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let path = "/v1/instances/ins-a/password-resets";
        raw(gateway.address, &request("POST", path, &headers, Some(good().as_bytes())))
    };
    simulator.fault("[]");
    let told = ["k", "k", "\""].map(keyed);
    assert_eq!(told.clone().map(|answer| answer.status), [201, 201, 400]);
    assert_eq!(told[1].header("idempotency-replayed"), Some("true"));
    answers.push(format!("{told:?}"));
    let metrics = call(gateway.operations, "GET", "/metrics", None, None).body;
    gateway.process.signal("-TERM");
    let mut gateway = gateway;
    assert!(gateway.process.ended().success());

    let log = fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(log.lines().count() > 50 && log.contains("TRACE"), "the log is at trace");
    let secret = fs::read_to_string(folder.path().join("zengate.db.idempotency-key")).expect("it was made");
    for (place, text) in [("log", &log), ("metrics", &metrics), ("answers", &answers.concat())] {
        assert!(!text.contains(CANARY), "the password is in the {place}");
        for password in &generated {
            assert!(!text.contains(password), "a generated password is in the {place}");
        }
        assert!(!text.contains(ACCESS_KEY_PASSWORD), "the access key is in the {place}");
        assert!(!text.contains(secret.trim()), "the secret of idempotency keys is in the {place}");
        assert!(
            !text.contains(token.rsplit('.').next().expect("a signature")),
            "the token is in the {place}"
        );
    }
    for name in ["zengate.db", "zengate.db-wal", "zengate.db-shm"] {
        let bytes = fs::read(folder.path().join(name)).unwrap_or_default();
        let has = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(!has(CANARY) && !has(ACCESS_KEY_PASSWORD) && !has(secret.trim()), "{name}");
        assert!(!generated.iter().any(|password| has(password)), "{name} has a generated password");
    }
}

#[test]
fn nothing_secret_is_an_argument_or_in_the_environment_and_no_memory_is_dumped() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let trace = folder.path().join("trace");
    let gateway = Gateway::traced(folder.path(), &trace, &["-e", "trace=prctl,openat"]);
    assert_eq!(gateway.reset("ins-a", CANARY).status, 201);
    let child = gateway.process.child();
    let of = |file: &str| fs::read(format!("/proc/{child}/{file}")).expect("readable");
    for file in ["cmdline", "environ"] {
        let bytes = of(file);
        let has = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(!bytes.is_empty() && !has(ACCESS_KEY_PASSWORD) && !has(CANARY), "{file}");
    }
    let limits = String::from_utf8(of("limits")).expect("text");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    gateway.end_traced();
    let trace = fs::read_to_string(&trace).expect("a trace");
    let position = |what: &str| trace.lines().position(|line| line.contains(what));
    let forbidden = position("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0").expect("no dumps");
    assert!(forbidden < position("/key\"").expect("the access key is read"), "before any secret is read");
}

/// Passwords made up and set: in the clear, sealed, and without anybody knowing whether they were. All else that is
/// answered goes to `answers`.
fn generated(gateway: &Gateway, simulator: &Simulator, answers: &mut Vec<String>) -> Vec<String> {
    let key = json!({
        "kty": "EC", "crv": "P-256", "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
        "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
    });
    let (clear, sealed) = (json!({ "generate": true }), json!({ "generate": true, "recipientKey": key }));
    let reset = "ResetInstancePassword";
    let none = json!([]);
    let lost = json!([{ "fault": "close-after-read", "action": reset, "applied": true }]);
    let path = "/v1/instances/ins-a/password-resets";
    let post = |path: &str, body: &serde_json::Value| {
        call(gateway.address, "POST", path, Some(&payments()), Some(&body.to_string()))
    };
    let passwords =
        [(&clear, &none, 201), (&sealed, &none, 201), (&clear, &lost, 504), (&sealed, &lost, 504)]
            .into_iter()
            .map(|(body, fault, status)| {
                simulator.fault(&fault.to_string());
                let told = post(path, body);
                assert_eq!(told.status, status, "{told:?}");
                let held = simulator.get("instances");
                let held = held["instances"].as_array().expect("a list").iter();
                let held = held.clone().find(|held| held["instanceId"] == "ins-a").expect("the instance");
                let held = held["password"].as_str().expect("a password").to_owned();
                match told.json()["password"].as_str() {
                    // Told, as it should be; what is told later must not have it.
                    Some(password) => assert_eq!(password, held),
                    None => answers.push(format!("{told:?}")),
                }
                let location = told.header("location").expect("a path");
                answers
                    .push(format!("{:?}", call(gateway.address, "GET", location, Some(&payments()), None)));
                held
            });
    let passwords = passwords.collect();
    answers.push(format!("{:?}", post(&format!("{path}?dryRun=true"), &clear)));
    passwords
}
