//! `zengate serve` and its signals.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::call;
use crate::support::{Gateway, Simulator, configured, said, zengate};

#[test]
fn one_line_is_logged_a_request_and_it_reads_alone() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let log = fs::File::create(folder.path().join("log")).expect("a file");
    let mut gateway = Gateway::start(folder.path(), Stdio::from(log), |command| command);
    let made = gateway.reset("ins-a", "Abcd~1234");
    gateway.process.signal("-TERM");
    assert_eq!(gateway.process.ended().code(), Some(0));
    let log = fs::read_to_string(folder.path().join("log")).expect("a log");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect();
    let requests: Vec<_> = lines.iter().filter(|line| line.get("http.route").is_some()).collect();
    assert_eq!(requests.len(), 1, "{log}");
    let line = requests[0];
    assert_eq!(line["message"], "POST /v1/instances/{instanceId}/password-resets answered 201");
    assert_eq!((&line["team.name"], &line["instance.id"]), (&"payments".into(), &"ins-a".into()));
    assert_eq!((&line["audit.id"], &line["request.id"]), (&made.json()["id"], &made.json()["requestId"]));
    assert!(line["duration_ms"].is_number() && line["user"] == "corp|alice", "{line}");
    assert!(lines.last().is_some_and(|line| line["message"] == "stopped"), "{log}");
}

#[test]
fn a_hangup_reloads_the_policies_and_a_bad_folder_changes_nothing() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let metrics = || call(gateway.operations, "GET", "/metrics", None, None).body;
    let wait = |wanted: &str| {
        let until = Instant::now() + Duration::from_secs(10);
        while !metrics().contains(wanted) {
            assert!(Instant::now() < until, "{wanted} in {}", metrics());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    assert_eq!(gateway.reset("ins-a", "Abcd~1234").status, 201);
    let team = folder.path().join("policies/teams/payments.cedar");
    let good = fs::read_to_string(&team).expect("read");
    fs::write(&team, "permit (principal, action, resource);").expect("written");
    gateway.process.signal("-HUP");
    wait("\nzengate_policy_last_reload_successful 0\n");
    assert_eq!(gateway.reset("ins-a", "Abcd~1234").status, 429, "the last good policies stay in force");
    fs::write(&team, "// Nobody.\n").expect("written");
    gateway.process.signal("-HUP");
    wait("\nzengate_policy_last_reload_successful 1\n");
    assert_eq!(gateway.reset("ins-a", "Abcd~1234").status, 403, "now nothing is permitted");
    let blocks = folder.path().join("policies/blocks.toml");
    fs::write(&blocks, "subjects = [\"alice\"]").expect("written");
    gateway.process.signal("-HUP");
    wait("\nzengate_policy_last_reload_successful 0\n");
    fs::write(&blocks, "subjects = [\"corp|alice\"]").expect("written");
    gateway.process.signal("-HUP");
    wait("\nzengate_policy_last_reload_successful 1\n");
    assert_eq!(gateway.reset("ins-a", "Abcd~1234").json()["detail"], "This caller is blocked.");
    fs::write(&blocks, "").expect("written");
    fs::write(&team, good).expect("written");
    gateway.process.signal("-HUP");
    let until = Instant::now() + Duration::from_secs(10);
    while gateway.reset("ins-a", "Abcd~1234").status == 403 {
        assert!(Instant::now() < until, "and now it is again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn policies_without_end_stop_no_gateway() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let config = folder.path().join("zengate.toml");
    let text = fs::read_to_string(&config).expect("read") + "[policies]\nshadow_dir = \"candidate\"\n";
    fs::write(&config, text).expect("written");
    let mut copied = std::process::Command::new("cp");
    copied.args(["-r", "policies", "candidate"]);
    assert!(copied.current_dir(folder.path()).status().expect("cp runs").success());
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let metrics = || call(gateway.operations, "GET", "/metrics", None, None).body;
    let wait = |wanted: u8| {
        let until = Instant::now() + Duration::from_secs(10);
        let told = |metrics: &str| {
            let of = |folder| format!("\nzengate_policy_{folder}last_reload_successful {wanted}\n");
            metrics.contains(&of("")) && metrics.contains(&of("shadow_"))
        };
        while !told(&metrics()) {
            assert!(Instant::now() < until, "{wanted} in {}", metrics());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(1);
    let policy = |condition: String| {
        format!("@id(\"x\") permit (principal in Team::\"deep\", action, resource) when {{ {condition} }};")
    };
    for (row, text) in [
        ("brackets", policy(format!("{}true{}", "(".repeat(20_000), ")".repeat(20_000)))),
        ("a chain", policy(format!("true{}", " || true".repeat(200_000)))),
        ("no end", "permit (principal, action, resource) when {".to_owned() + &"[".repeat(1_000_000)),
    ] {
        let put = |text: Option<&str>| {
            for side in ["policies", "candidate"] {
                let file = folder.path().join(side).join("teams/deep.cedar");
                text.map_or_else(|| fs::remove_file(&file), |text| fs::write(&file, text)).expect(row);
            }
            gateway.process.signal("-HUP");
        };
        put(Some(&text));
        wait(0);
        assert_ne!(gateway.reset("ins-a", "Abcd~1234").status, 403, "{row}: the last good ones decide");
        put(None);
        wait(1);
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    simulator.fault(r#"[{"fault":"hang-after-read","action":"ResetInstancePassword"}]"#);
    let mut gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let address = gateway.address;
    let asking = std::thread::spawn(move || {
        let bearer = format!("Bearer {}", crate::support::payments());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let path = "/v1/instances/ins-a/password-resets";
        let bytes = crate::http::request("POST", path, &headers, Some(br#"{"password":"Abcd~1234"}"#));
        let mut stream = std::net::TcpStream::connect(address).expect("connected");
        std::io::Write::write_all(&mut stream, &bytes).expect("written");
        _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    });
    simulator.wait_for_resets(1);
    let began = Instant::now();
    gateway.process.signal("-TERM");
    std::thread::sleep(Duration::from_millis(300));
    gateway.process.signal("-TERM");
    assert_eq!(gateway.process.ended().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(5), "the hanging reset has 10 s, and is not waited for");
    asking.join().expect("the caller ends");
}

#[test]
fn health_is_asked_for_by_command() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let config = folder.path().join("zengate.toml");
    let ask = || zengate().args(["healthcheck", "--config"]).arg(&config).output().expect("runs");
    assert_eq!(ask().status.code(), Some(1), "nobody answers yet");
    let _gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let healthy = ask();
    assert_eq!(healthy.status.code(), Some(0), "{}", said(&healthy));
}

#[test]
fn health_is_asked_for_through_a_name() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let ask = |url: String| zengate().args(["healthcheck", "--url", &url]).output().expect("runs");
    for (row, port, path, wanted) in [
        ("readiness", gateway.operations.port(), "/readyz", 0),
        ("what callers reach", gateway.address.port(), "/openapi.json", 0),
        ("not there", gateway.address.port(), "/readyz", 1),
    ] {
        let output = ask(format!("http://localhost:{port}{path}"));
        assert_eq!(output.status.code(), Some(wanted), "{row}: {}", said(&output));
    }
}
