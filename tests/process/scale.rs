//! What a large account costs: a real gateway beside a Zenlayer of 100,000 instances.

use std::fmt::Write;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Gateway, Simulator, configured, payments};

const INSTANCES: usize = 100_000;

/// Each about 550 bytes, as Zenlayer writes them.
fn instances() -> String {
    let mut json = String::with_capacity(INSTANCES * 600);
    for n in 0..INSTANCES {
        json.push(if n == 0 { '[' } else { ',' });
        let (team, a, b, c) = (n % 500, n >> 16, n >> 8 & 255, n & 255);
        write!(
            json,
            r#"{{"instanceId":"ins-{n:06}","instanceName":"payments-db-{n:06}","zoneId":"asia-southeast-1a","instanceType":"z2a.cpu.1","cpu":1,"memory":2,"imageId":"img-debian-12","imageName":"Debian 12","status":"RUNNING","enableAgent":true,"publicIpAddresses":["203.0.{b}.{c}"],"privateIpAddresses":["10.{a}.{b}.{c}"],"resourceGroupId":"rg-{team}","resourceGroupName":"group {team}","tags":{{"tags":[{{"key":"team","value":"{}"}},{{"key":"env","value":"dev"}},{{"key":"cost-center","value":"{team}"}}]}},"createTime":"2026-01-01T00:00:00Z","expiredTime":null}}"#,
            if n % 1000 == 0 { "payments".to_owned() } else { format!("team-{team}") },
        )
        .expect("written to memory");
    }
    json + "]"
}

/// Resident memory of a process, in MiB.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

fn metric(gateway: &Gateway, name: &str) -> f64 {
    let text = crate::http::call(gateway.operations, "GET", "/metrics", None, None).body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_default()
}

#[test]
#[expect(clippy::print_stdout, reason = "its figures are for docs/performance.md")]
fn a_hundred_thousand_instances_fit_well_under_200_mib() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("instances.json");
    fs::write(&file, instances()).expect("written");
    let simulator = Simulator::with(&file);
    let folder = configured(&simulator);
    let config = folder.path().join("zengate.toml");
    let text = fs::read_to_string(&config).expect("read");
    fs::write(&config, text + "[inventory]\nrefresh_seconds = 1\n").expect("written");
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let before = resident(gateway.process.id());

    let until = Instant::now() + Duration::from_secs(240);
    let refreshes = || metric(&gateway, "zengate_inventory_refresh_duration_seconds_count");
    while refreshes() < 3.0 {
        assert!(Instant::now() < until, "three refreshes");
        std::thread::sleep(Duration::from_millis(100));
    }
    let held = resident(gateway.process.id());
    let seconds = metric(&gateway, "zengate_inventory_refresh_duration_seconds_sum") / refreshes();
    println!(
        "a refresh of {INSTANCES} instances: {seconds:.1} s; resident before it {before} MiB, after three {held} MiB"
    );
    assert_eq!(metric(&gateway, "zengate_inventory_instances"), INSTANCES as f64);
    assert!(held < 150, "{held} MiB");

    assert_eq!(gateway.reset("ins-099000", "Abcd~1234").status, 201);
    assert_eq!(gateway.reset("ins-099001", "Abcd~1234").status, 403);
    let page = "/v1/instances?limit=200";
    let page = crate::http::call(gateway.address, "GET", page, Some(&payments()), None).json();
    let own = page["items"].as_array().expect("a list").len();
    assert_eq!((own, page["nextCursor"].is_string()), (2, true), "of the first 2,000 instances");
}
