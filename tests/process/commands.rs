//! Commands that look and tell.

use std::fs;

use serde_json::json;

use crate::keys::{CORP, KEYS, claims, pem, token};
use crate::support::{Simulator, configured, root, run, said, zengate};

#[test]
fn every_fault_of_a_configuration_is_told_at_once() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let file = folder.path().join("zengate.toml");
    let good = fs::read_to_string(&file).expect("read");
    let check = || zengate().args(["check", "--config"]).arg(&file).output().expect("runs");
    assert_eq!(check().status.code(), Some(0), "what is spoiled below is good: {}", said(&check()));
    let bad = good
        .replace("workers = 1", "workers = 1\nwrokers = 2\nshutdown_seconds = 0")
        .replace("may_assert_teams = [\"payments\"]", "may_assert_teams = \"payments\"")
        .replace("access_key_password_file = \"key\"", "access_key_password_file = \"no-such-file\"");
    fs::write(&file, bad).expect("written");
    let output = check();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for fault in [
        "4 faults",
        "server.wrokers: is not a known key",
        "server.shutdown_seconds: is 0, out of bounds: must be a whole number from 1 to 600",
        "issuers.corp.may_assert_teams: must be a list of strings, not a string",
        "upstream.access_key_password_file: ",
        "no-such-file cannot be read",
    ] {
        assert!(stderr.contains(fault), "{fault} in {stderr}");
    }
    let served = zengate().args(["serve", "--config"]).arg(&file).output().expect("runs");
    assert_eq!((served.status.code(), served.stderr), (Some(78), output.stderr), "serve says the same");
}

#[test]
fn what_a_configuration_names_is_checked_too() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let file = folder.path().join("zengate.toml");
    let other_team = r#"@id("x") permit (principal in Team::"web", action, resource);"#;
    fs::write(folder.path().join("policies/teams/payments.cedar"), other_team).expect("written");
    fs::write(folder.path().join("jwks.json"), r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#)
        .expect("written");
    let output = zengate().args(["check", "--config"]).arg(&file).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("its scope must be `principal in Team::\"payments\"`"), "{stderr}");
    assert!(stderr.contains("holds no key that the issuer's algorithms can use"), "{stderr}");
}

#[test]
fn bad_usage_is_exit_code_2() {
    for arguments in [vec!["fly"], vec!["serve", "--no-such-flag"], vec![]] {
        assert_eq!(run(&arguments).status.code(), Some(2), "{arguments:?}");
    }
    let missing = run(&["serve", "--config", "/nonexistent/zengate.toml"]);
    assert_eq!(missing.status.code(), Some(78), "{}", said(&missing));
}

#[test]
fn openapi_prints_the_checked_in_file() {
    let output = run(&["openapi"]);
    let file = root("openapi/openapi.json");
    assert_eq!(String::from_utf8_lossy(&output.stdout), fs::read_to_string(file).expect("the file"));
}

#[test]
fn a_minted_token_is_inspected_and_a_bad_one_is_explained() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let config = folder.path().join("zengate.toml");
    let key = folder.path().join("issuer.pem");
    fs::write(&key, pem("PRIVATE KEY", KEYS.ec.as_bytes())).expect("written");
    let minted = zengate()
        .args(["token", "mint", "--kid", "ec", "--issuer", CORP, "--subject", "alice", "--team", "payments"])
        .args(["--team", "finance", "--key-file"])
        .arg(&key)
        .output()
        .expect("runs");
    assert!(minted.status.success(), "{}", said(&minted));
    let minted = String::from_utf8(minted.stdout).expect("text");
    let inspect = |token: &str| {
        zengate().args(["token", "inspect", token.trim(), "--config"]).arg(&config).output().expect("runs")
    };
    let output = inspect(&minted);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("teams    payments (1 that its issuer may not assert)"), "{text}");
    assert!(!text.contains(minted.trim().rsplit('.').next().expect("a signature")), "{text}");

    let mut expired = claims("alice", json!(["payments"]));
    expired["exp"] = json!(1);
    for (token, why) in [
        (token(&expired), "it has expired"),
        (minted.trim().replace('.', "!"), "not three parts"),
        (minted.trim()[..minted.trim().len() - 4].to_owned() + "AAAA", "its signature does not match"),
    ] {
        let output = inspect(&token);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(why), "{why} in {}", said(&output));
    }
}

#[test]
fn a_changed_moved_or_removed_record_is_found_and_located() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let config = folder.path().join("zengate.toml");
    let mut gateway =
        crate::support::Gateway::start(folder.path(), std::process::Stdio::null(), |command| command);
    assert_eq!(gateway.reset("ins-a", "Abcd~1234").status, 201);
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());
    let database = folder.path().join("zengate.db");
    // The write-ahead log may hold what the file itself does not yet.
    let checkpoint = rusqlite::Connection::open(&database).expect("opened");
    checkpoint.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("checkpointed");
    let intent = "SELECT sequence FROM records WHERE kind = 'intent'";
    let intent: i64 = checkpoint.query_row(intent, [], |row| row.get(0)).expect("there");
    let next = intent + 1;
    drop(checkpoint);
    let whole = fs::read(&database).expect("read");
    let verify = || zengate().args(["audit", "verify", "--config"]).arg(&config).output().expect("runs");
    for (row, tampering, finding) in [
        ("nothing", String::new(), None),
        (
            "a changed record",
            format!(
                "UPDATE records SET record = replace(record, 'alice', 'mallo') WHERE sequence = {intent}"
            ),
            Some(format!("sequence {intent}: its bytes do not have the hash")),
        ),
        (
            "a removed record",
            format!("DELETE FROM records WHERE sequence = {intent}"),
            Some(format!("sequence {next}: records before it are missing")),
        ),
        (
            "two swapped",
            format!(
                "UPDATE records SET sequence = 100 WHERE sequence = {intent}; UPDATE records SET sequence = {intent} WHERE sequence = {next}; UPDATE records SET sequence = {next} WHERE sequence = 100"
            ),
            Some(format!("sequence {intent}: its bytes name another place")),
        ),
        (
            "a changed hash",
            format!("UPDATE records SET hash = upper(hash) WHERE sequence = {next}"),
            Some(format!("sequence {next}: its bytes do not have the hash")),
        ),
    ] {
        fs::write(&database, &whole).expect("written");
        let connection = rusqlite::Connection::open(&database).expect("opened");
        for forbidden in ["UPDATE records SET hash = ''", "DELETE FROM records"] {
            assert!(connection.execute(forbidden, []).is_err(), "the trail is append-only: {forbidden}");
        }
        let lift = "DROP TRIGGER records_are_never_updated; DROP TRIGGER records_are_never_deleted";
        connection.execute_batch(lift).expect("dropped");
        connection.execute_batch(&tampering).expect("tampered");
        // Who tampers puts back what would tell of it.
        let put_back = [("updated", "UPDATE"), ("deleted", "DELETE")].map(|(name, what)| {
            format!(
                "CREATE TRIGGER records_are_never_{name} BEFORE {what} ON records
                BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;"
            )
        });
        connection.execute_batch(&put_back.concat()).expect("put back");
        drop(connection);
        let output = verify();
        match finding {
            None => assert_eq!(output.status.code(), Some(0), "{row}: {}", said(&output)),
            Some(finding) => {
                assert_eq!(output.status.code(), Some(1), "{row}: {}", said(&output));
                assert!(said(&output).contains(&finding), "{row}: {}", said(&output));
            }
        }
    }
}
