//! The policies folder changes under a gateway: as Kubernetes swaps it, as an editor saves it, and by a mistake.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::gateway::{FREE, Setup, TestGateway, payments};

/// In neither of the two states may payments reset `pay-2`; by the forbids of `open` and the permits of `shut`
/// together it could. `pay-1` it may reset in both.
const OPEN: [&str; 2] =
    ["", r#"@id("one") permit (principal in Team::"payments", action, resource == Instance::"pay-1");"#];
const SHUT: [&str; 2] = [
    r#"@id("two") forbid (principal, action == Action::"ResetPassword", resource == Instance::"pay-2");"#,
    r#"@id("all") permit (principal in Team::"payments", action, resource);"#,
];

/// Writes a state of the folder beside the others, as the kubelet does.
fn lay(policies: &Path, version: &str, [global, team]: [&str; 2]) {
    let folder = policies.join(version);
    fs::create_dir_all(folder.join("teams")).expect("made");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/schema.cedarschema");
    fs::copy(schema, folder.join("schema.cedarschema")).expect("copied");
    fs::write(folder.join("global.cedar"), global).expect("written");
    fs::write(folder.join("limits.toml"), FREE).expect("written");
    fs::write(folder.join("teams/payments.cedar"), team).expect("written");
}

/// Swaps all files at once.
fn swap(policies: &Path, version: &str) {
    symlink(version, policies.join("..data_tmp")).expect("linked");
    fs::rename(policies.join("..data_tmp"), policies.join("..data")).expect("swapped");
}

/// A gateway whose folder is a mounted ConfigMap's, with the permits of `OPEN` in force.
fn mounted() -> TestGateway {
    let often = [("REQUESTS", "1000000"), ("PERIOD_SECONDS", "1"), ("BURST", "1000000")];
    let often = often.map(|(key, value)| (format!("ZENGATE__INVENTORY__CALLER_LOOKUPS__{key}"), value));
    let overrides: Vec<_> = often.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let gateway = TestGateway::with(Setup { limits: Some(FREE), overrides: &overrides, ..Setup::default() });
    let policies = gateway.folder.path().join("policies");
    lay(&policies, "..open", OPEN);
    lay(&policies, "..shut", SHUT);
    fs::remove_dir_all(policies.join("teams")).expect("removed");
    fs::remove_file(policies.join("blocks.toml")).expect("removed");
    swap(&policies, "..open");
    for name in ["schema.cedarschema", "global.cedar", "limits.toml", "teams"] {
        symlink(format!("..data/{name}"), policies.join("link")).expect("linked");
        fs::rename(policies.join("link"), policies.join(name)).expect("renamed");
    }
    gateway.reloader.reload().expect("good");
    gateway
}

fn detail(gateway: &TestGateway) -> String {
    gateway.reset(&payments(), "pay-2").json()["detail"].as_str().unwrap_or_default().to_owned()
}

/// Until the watch has put another state into force; it looks once a second, twice.
pub fn wait(gateway: &TestGateway, what: &str, done: impl Fn(&TestGateway) -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !done(gateway) {
        assert!(Instant::now() < until, "{what}: {}", gateway.metrics());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `make verify` asks for more.
fn swaps() -> usize {
    std::env::var("ZENGATE_TEST_SWAPS").map_or(50, |count| count.parse().expect("a number"))
}

#[test]
fn swaps_under_load_fail_no_request_and_show_none_a_mix() {
    let gateway = mounted();
    let policies = gateway.folder.path().join("policies");
    let (ended, resets, loads) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let token = payments();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let answer = gateway.reset(&token, "pay-1");
                    assert_eq!(answer.status, 201, "in both states: {answer:?}");
                    let answer = gateway.reset(&token, "pay-2");
                    assert_eq!(answer.status, 403, "in neither state, only in a mix: {answer:?}");
                    resets.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // One loads without a pause, so that swaps fall into the middle of its loads.
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                // Both states are good; but a slow machine may not get to read one before the next swap.
                match gateway.reloader.reload() {
                    Ok(()) => _ = loads.fetch_add(1, Ordering::Relaxed),
                    Err(faults) => {
                        assert!(faults.to_string().contains("changes while it is read"), "{faults}")
                    }
                }
            }
        });
        for n in 0..swaps() {
            swap(&policies, if n % 2 == 0 { "..shut" } else { "..open" });
            std::thread::sleep(Duration::from_millis(60));
            // Every fifth state stays until it was read: else a slow machine reads none.
            if n % 5 == 0 {
                let before = loads.load(Ordering::Relaxed);
                wait(&gateway, "a state is read", |_| loads.load(Ordering::Relaxed) > before + 1);
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(resets.into_inner() > 50, "there was load");
    let records = gateway.records_until(|_| true);
    let decided = records.iter().filter(|record| record["kind"] != "policy");
    let mut revisions: Vec<&str> = decided.filter_map(|record| record["revision"].as_str()).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 2, "each record names one of the two: {revisions:?}");
}

#[test]
fn the_folder_is_watched_and_a_bad_state_never_takes_the_good_one_away() {
    let gateway = mounted();
    let policies = gateway.folder.path().join("policies");
    let state =
        |wanted: f64| move |g: &TestGateway| g.metric("zengate_policy_last_reload_successful") == wanted;
    assert_eq!(detail(&gateway), "No policy permits the acting team this action on this instance.");
    swap(&policies, "..shut");
    wait(&gateway, "a swap", |g| detail(g) == "Forbidden by global/two.");

    lay(&policies, "..broken", ["", "permit (principal, action, resource);"]);
    swap(&policies, "..broken");
    wait(&gateway, "a bad state", state(0.0));
    assert_eq!(detail(&gateway), "Forbidden by global/two.", "the last good state stays in force");
    // Back as it was: good again, though the revision is the same.
    swap(&policies, "..shut");
    wait(&gateway, "the good state", state(1.0));

    // An editor writes a new file and renames it into place.
    let team = policies.join("..shut/teams/payments.cedar");
    fs::write(policies.join("..shut/teams/.payments.swp"), "half of").expect("written");
    fs::write(policies.join("new"), "// Nobody.\n").expect("written");
    fs::rename(policies.join("new"), &team).expect("renamed");
    wait(&gateway, "an editor's rename", |g| g.reset(&payments(), "pay-1").status == 403);

    // Another writes in place.
    fs::write(&team, SHUT[1]).expect("written");
    wait(&gateway, "a file written in place", |g| g.reset(&payments(), "pay-1").status == 201);

    fs::remove_dir_all(policies.join("..shut")).expect("removed");
    wait(&gateway, "a folder that is gone", state(0.0));
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
}

#[test]
fn a_candidate_decides_beside_and_is_never_obeyed() {
    let config = "[policies]\nshadow_dir = \"candidate\"\n";
    let gateway = TestGateway::with(Setup { config, ..Setup::default() });
    let state = |wanted: f64| {
        move |g: &TestGateway| g.metric("zengate_policy_shadow_last_reload_successful") == wanted
    };
    let differences = |candidate: &str| {
        let labels = format!(r#"{{candidate="{candidate}",team="payments"}}"#);
        gateway.metric(&format!("zengate_policy_shadow_differences_total{labels}"))
    };
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201, "no candidate yet, which is in nobody's way");

    let web_instead = r#"
        @id("one") permit (principal in Team::"payments", action == Action::"ResetPassword", resource == Instance::"pay-2");
        @id("web") permit (principal in Team::"payments", action == Action::"ResetPassword", resource in ResourceGroup::"rg-web");"#;
    lay(gateway.folder.path(), "candidate", ["", web_instead]);
    wait(&gateway, "the candidate", state(1.0));
    for (instance, status, allows, denies) in [
        ("pay-2", 201, 0.0, 0.0),
        ("pay-3", 201, 0.0, 1.0),
        ("web-1", 403, 1.0, 1.0),
        ("pay-4", 201, 1.0, 2.0),
    ] {
        assert_eq!(
            gateway.reset(&payments(), instance).status,
            status,
            "{instance}: the candidate is not obeyed"
        );
        assert_eq!((differences("allow"), differences("deny")), (allows, denies), "{instance}");
    }
    assert_eq!(gateway.metric("zengate_policy_last_reload_successful"), 1.0);

    let file = gateway.folder.path().join("candidate/teams/payments.cedar");
    fs::write(file, "permit (").expect("written");
    wait(&gateway, "a candidate that is wrong", state(0.0));
    assert_eq!(gateway.reset(&payments(), "pay-5").status, 201);
    assert_eq!(differences("deny"), 2.0, "what is wrong is not compared");
}
