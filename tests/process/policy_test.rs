//! `zengate policy test`.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::support::{copy, python, root, said, zengate};

const TABLE: &str = r#"
    [instances.ins-web-dev]
    resource_group = "rg-web"
    tags = { env = "dev" }
    [instances.ins-web-prod]
    resource_group = "rg-web"
    tags = { env = "prod" }

    [cases."the team resets what is not production"]
    team = "web"
    instance = "ins-web-dev"
    expect = "allow"
    rules = ["web/reset-own-outside-production"]

    [cases."production needs a ticket"]
    team = "web"
    instance = "ins-web-prod"
    expect = "deny"
    rules = ["global/production-needs-a-ticket"]
"#;

/// The shipped folder with these tables alone in its `tests/`.
fn folder(tables: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&root("policies"), folder.path());
    let tests = folder.path().join("tests");
    fs::remove_dir_all(&tests).expect("the shipped tables are there");
    fs::create_dir(&tests).expect("made");
    for (name, table) in tables {
        fs::write(tests.join(name), table).expect("written");
    }
    folder
}

fn test(folder: &Path, arguments: &[&str]) -> Output {
    zengate().args(["policy", "test"]).arg(folder).args(arguments).output().expect("runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_folder_that_decides_as_its_tables_say_passes() {
    let folder = folder(&[("web.toml", TABLE)]);
    let output = test(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(stdout(&output).ends_with(": 2 passed, 0 failed\n"), "{}", said(&output));
    let output = test(folder.path(), &["--verbose"]);
    assert!(stdout(&output).starts_with("ok   tests/web.toml: the team resets what is not production\n"));
}

#[test]
fn a_folder_that_decides_otherwise_shows_each_difference() {
    let other = r#"
        [instances.ins-a]
        tags = { team = "payments", env = "prod" }
        [cases."production needs no ticket"]
        team = "payments"
        instance = "ins-a"
        expect = "allow"
        rules = ["payments/reset-own"]
        [cases."nobody's instance"]
        team = "web"
        instance = "ins-a"
        ticket_given = true
        expect = "allow"
    "#;
    let folder = folder(&[("web.toml", TABLE), ("payments.toml", other)]);
    let output = test(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(
        said(&output),
        "FAIL tests/payments.toml: production needs no ticket\n\
         \u{20}    payments, ResetPassword on ins-a\n\
         \u{20}    expected  allow  by payments/reset-own\n\
         \u{20}    got       deny   by global/production-needs-a-ticket\n\
         FAIL tests/payments.toml: nobody's instance\n\
         \u{20}    web, ResetPassword on ins-a\n\
         \u{20}    expected  allow\n\
         \u{20}    got       deny   since no permit fits\n\
         \u{20}              web/reset-own-outside-production: does not hold: resource in ResourceGroup::\"rg-web\"\n\
         4 cases in 2 files: 2 passed, 2 failed\n"
    );
}

#[test]
fn a_folder_without_a_case_and_a_faulty_one_are_no_success() {
    let without = folder(&[]);
    let output = test(without.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("tests: has no case; create tests/"), "{}", said(&output));

    let faulty = folder(&[("bad.toml", "[cases.x]\nteem = \"web\""), ("worse.toml", "[")]);
    fs::write(faulty.path().join("global.cedar"), "permit").expect("written");
    let output = test(faulty.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    for fault in [
        "global.cedar:1:",
        "tests/bad.toml:1:8: team: is required\n",
        "tests/bad.toml:2:1: teem: is not a known key\n  2 | teem = \"web\"\n    | ^^^^\n",
        "tests/worse.toml:1:",
    ] {
        assert!(said(&output).contains(fault), "{fault} in {}", said(&output));
    }
}

#[test]
fn a_misspelt_team_is_a_warning() {
    let case = |name: &str| {
        format!(
            "[cases.{name}]\nteam = \"wbe\"\naction = \"ViewReset\"\nowner = \"web\"\nexpect = \"deny\"\n"
        )
    };
    let folder =
        folder(&[("x.toml", &(case("one") + &case("two") + &case("three").replace("wbe", "newcomers")))]);
    let output = test(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(stdout(&output), "3 cases in 1 file: 3 passed, 0 failed\n");
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = "/tests/x.toml:2:8: the folder has no policies of team wbe: is web meant?\n  2 | team = \"wbe\"\n    |        ^^^^^\n";
    assert!(warned.starts_with("warning: ") && warned.ends_with(line), "{warned}");
    assert_eq!(warned.matches("warning").count(), 1, "{warned}");
}

#[test]
fn a_table_that_names_no_policy_of_the_folder_is_faulty() {
    let folder = folder(&[("web.toml", &TABLE.replace("global/production-needs", "global/prod-needs"))]);
    let output = test(folder.path(), &[]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{}", said(&output));
    let fault = "tests/web.toml:19:13: rules: \"global/prod-needs-a-ticket\": is no policy of teams/web.cedar or \
                 global.cedar\n  19 |     rules = [\"global/prod-needs-a-ticket\"]\n     |             ^^^";
    assert!(said(&output).contains(fault), "{}", said(&output));
}

#[test]
fn the_configuration_names_the_folder_and_the_zone() {
    let table = TABLE.replace("expect = \"allow\"", "time = \"2026-06-01T06:30:00Z\"\nexpect = \"allow\"");
    let policies = folder(&[("web.toml", &table)]);
    let early = r#"@id("early") forbid (principal, action, resource) when { context.local.hour < 8 };"#;
    let global = policies.path().join("global.cedar");
    let text = fs::read_to_string(&global).expect("read");
    fs::write(&global, text + early).expect("written");
    let output = test(policies.path(), &[]);
    assert!(said(&output).contains("by global/early"), "in UTC it is half past six: {}", said(&output));

    let simulator = crate::support::Simulator::start();
    let configured = crate::support::configured(&simulator);
    let config = configured.path().join("zengate.toml");
    let zone = format!("[policies]\ndir = {:?}\ntime_zone = \"Europe/Berlin\"\n", policies.path());
    let text = fs::read_to_string(&config).expect("read");
    fs::write(&config, text + &zone).expect("written");
    let output = zengate().args(["policy", "test", "--config"]).arg(&config).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "in Berlin it is half past eight: {}", said(&output));
}

#[test]
fn a_junit_file_says_the_same() {
    let tricky = r#"
        [cases."<&> \"quoted\" ]]> \u0007 ü"]
        team = "web"
        action = "ViewReset"
        owner = "payments"
        expect = "allow"
    "#;
    let folder = folder(&[("web.toml", TABLE), ("x.toml", tricky)]);
    let file = folder.path().join("report.xml");
    let output = test(folder.path(), &["--junit", file.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let script = "import sys, xml.etree.ElementTree as tree\n\
        root = tree.parse(sys.argv[1]).getroot()\n\
        print(root.get('tests'), root.get('failures'))\n\
        for suite in root: print(suite.get('name'), suite.get('tests'), suite.get('failures'), len(suite))\n\
        for failure in root.iter('failure'): print(failure.text)";
    let read = python().args(["-c", script]).arg(&file).output().expect("runs");
    assert_eq!(
        said(&read),
        "3 1\ntests/web.toml 2 0 2\ntests/x.toml 1 1 1\nweb, ViewReset of payments\nexpected  allow\n\
         got       deny   since no permit fits\n          the team has no permit for the action\n"
    );

    let nowhere = folder.path().join("none/report.xml");
    let output = test(folder.path(), &["--junit", nowhere.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("none/report.xml cannot be written: "), "{}", said(&output));
}
