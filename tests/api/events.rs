//! What the gateway puts on record of itself.

use std::fs;

use serde_json::{Value, json};

use crate::gateway::{Setup, TestGateway};
use crate::keys::jwks;
use crate::provider::Provider;
use crate::reload::wait;

/// The records of the gateway's keys, as `use: id`.
fn keys(gateway: &TestGateway) -> Vec<String> {
    let named = |record: &Value| {
        let text = |field: &str| record[field].as_str().expect("a text").to_owned();
        format!("{}: {}", text("key"), text("keyId"))
    };
    let records = gateway.records_until(|_| true);
    records.iter().filter(|record| record["kind"] == "key").map(named).collect()
}

#[test]
fn the_policies_in_force_are_on_record_from_the_start_and_with_each_change() {
    let gateway = TestGateway::spawn();
    let shipped = gateway.records_of("policy", 1).remove(0);
    assert_eq!((&shipped["teams"], shipped.get("team")), (&json!(3), None), "{shipped}");
    gateway.reloader.reload().expect("good");
    gateway.records_of("policy", 1);
    let teams = gateway.folder.path().join("policies/teams");
    fs::write(teams.join("shop-1.cedar"), "// Nothing yet.\n").expect("written");
    gateway.reloader.reload().expect("good");
    let policies = gateway.records_of("policy", 2);
    assert_eq!(policies[1]["teams"], 4);
    assert_ne!(policies[1]["revision"], policies[0]["revision"]);
    fs::write(teams.join("shop-1.cedar"), "nonsense").expect("written");
    gateway.reloader.reload().expect_err("bad");
    gateway.records_of("policy", 2);
    let records = gateway.records_until(|_| true);
    let start = records.iter().position(|record| record["kind"] == "start").expect("a start");
    assert_eq!(records[start + 1]["kind"], "policy", "before anything is decided by them");
}

#[test]
fn another_access_key_is_on_record() {
    let gateway = TestGateway::spawn();
    wait(&gateway, "the keys in force", |gateway| keys(gateway).len() >= 3);
    let first = ["access-key: ak-test", "issuer: corp: rsa, ec, ec384, ed", "issuer: portal: (without id)"];
    assert_eq!(keys(&gateway), first, "the first ones");
    fs::write(gateway.folder.path().join("access-key-password"), "sk-other\n").expect("written");
    wait(&gateway, "the change", |gateway| keys(gateway).len() >= 4);
    assert_eq!(keys(&gateway)[3], "access-key: ak-test", "under the same id, too");
    let records = gateway.records_until(|_| true);
    assert!(!records.iter().any(|record| record.to_string().contains("sk-")), "and never its secret");
}

#[test]
fn other_keys_of_an_issuer_are_on_record_and_the_same_in_another_order_are_not() {
    let provider = Provider::start();
    let all: Value = serde_json::from_str(&jwks()).expect("JSON");
    let set = |ids: &[&str]| {
        let of = |id: &&str| all["keys"].as_array()?.iter().find(|key| key["kid"] == **id).cloned();
        json!({ "keys": ids.iter().filter_map(of).collect::<Vec<_>>() })
    };
    provider.publish(&set(&["ec", "ed"]));
    let issuer = provider.url("");
    let config = format!(
        "[issuers.idp]\nissuer = \"{issuer}\"\nalgorithms = [\"ES256\", \"EdDSA\"]\ndiscovery = true\nallow_private = true\nshared = true\nmay_assert_teams = [\"web\"]\n"
    );
    let gateway = TestGateway::with(Setup { config: &config, ..Setup::default() });
    let of_idp = |gateway: &TestGateway| -> Vec<String> {
        keys(gateway).into_iter().filter(|key| key.starts_with("issuer: idp")).collect()
    };
    wait(&gateway, "the first keys", |gateway| of_idp(gateway).len() == 1);
    let refreshes = |gateway: &TestGateway| {
        gateway.metric(r#"zengate_issuer_key_refreshes_total{issuer="idp",result="good"}"#)
    };
    let refreshed = || {
        let before = refreshes(&gateway);
        gateway.reloader.reload().expect("good");
        wait(&gateway, "a refresh", |gateway| refreshes(gateway) > before);
        std::thread::sleep(std::time::Duration::from_millis(1200));
    };
    provider.publish(&set(&["ed", "ec"]));
    refreshed();
    assert_eq!(of_idp(&gateway), ["issuer: idp: ec, ed"]);
    provider.publish(&set(&["ed"]));
    refreshed();
    provider.publish(&set(&[]));
    refreshed();
    wait(&gateway, "both changes", |gateway| of_idp(gateway).len() >= 3);
    assert_eq!(of_idp(&gateway)[1..], ["issuer: idp: ed", "issuer: idp: (none)"]);
}
