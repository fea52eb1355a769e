//! `zengate policy check`, and what all policy commands take their policies and instances from.

use std::fs;

use crate::folders::{Folders, OWN, Told, inventory, reworded};
use crate::support::{Simulator, configured, zengate};

#[test]
fn a_good_folder_is_told_in_one_line() {
    let folders = Folders::new();
    let told = folders.run(&["check", "new"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    let (before, after) =
        ("new: good; 1 team, 1 policy, revision ", "; not tried on instances (see --inventory)\n");
    let revision = told.stdout.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    assert!(revision.is_some_and(|name| name.len() == 16), "{told:?}");
    let tried = folders.run(&["check", "new", "--strict", "--inventory", &inventory()]);
    assert_eq!((tried.code, tried.stderr.as_str()), (Some(0), ""), "{tried:?}");
    assert!(tried.stdout.ends_with("; tried on 4 instances\n"), "{tried:?}");
}

#[test]
fn every_fault_of_a_folder_is_shown_under_its_source_line() {
    let folders = Folders::new();
    folders.write("new", "global.cedar", "// Nobody\n@id(\"all\") permit (principal, action, resource);\n");
    folders.write("new", "limits.toml", "[default]\nteem = 1\n");
    let bad = "@id(\"own\") permit (principal in Team::\"web\", action == Action::\"ViewInstance\", resource)\n\twhen { resource.nmae == \"ü\" };\n";
    folders.write("new", "teams/web.cedar", bad);
    let told = folders.run(&["check", "new"]);
    assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{told:?}");
    let expected = "\
new/global.cedar:2:12: global/all is a permit: global.cedar may only forbid; permits belong to a team
  2 | @id(\"all\") permit (principal, action, resource);
    |            ^^^^^^
new/limits.toml:2:1: default.teem: is not a known key
  2 | teem = 1
    | ^^^^
new/teams/web.cedar:2:9: for policy `web/own`, attribute `nmae` on entity type `Instance` not found; did you mean";
    assert!(told.stderr.starts_with(expected), "{}", told.stderr);
    let rest = "
  2 |     when { resource.nmae == \"ü\" };
    |            ^^^^^^^^^^^^^
zengate: new: 3 faults
";
    assert!(told.stderr.ends_with(rest), "{}", told.stderr);
    let missing = folders.run(&["check", "nowhere"]);
    assert_eq!(missing.code, Some(1));
    assert_eq!(missing.stderr, "nowhere: is not a folder that can be read\nzengate: nowhere: 1 fault\n");
}

#[test]
fn a_start_on_a_bad_folder_shows_the_source_line_too() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    fs::write(folder.path().join("policies/global.cedar"), "permit (").expect("written");
    let output = zengate().args(["check", "--config"]).arg(folder.path().join("zengate.toml")).output();
    let told = Told::by(output.expect("runs"));
    assert_eq!(told.code, Some(78), "{told:?}");
    let expected = "global.cedar:1:9: unexpected end of input\n  1 | permit (\n    |         ^\n";
    assert!(told.stderr.ends_with(expected), "{told:?}");
}

#[test]
fn a_permit_that_no_instance_meets_is_a_warning() {
    let folders = Folders::new();
    let gone = r#"
@id("gone")
permit (principal in Team::"web", action == Action::"ViewInstance", resource in ResourceGroup::"rg-old");
"#;
    folders.write("new", "teams/web.cedar", &(OWN.to_owned() + gone));
    let warning = "\
warning: new/teams/web.cedar:6:1: web/gone: no instance meets its condition `resource in ResourceGroup::\"rg-old\"`
  6 | permit (principal in Team::\"web\", action == Action::\"ViewInstance\", resource in ResourceGroup::\"rg-old\");
    | ^^^^^^
";
    let lenient = folders.run(&["check", "new", "--inventory", &inventory()]);
    assert_eq!((lenient.code, lenient.stderr.as_str()), (Some(0), warning), "{lenient:?}");
    assert!(
        lenient.stdout.starts_with("new: good, with 1 warning; 1 team, 2 policies, revision "),
        "{lenient:?}"
    );
    let strict = folders.run(&["check", "new", "--strict", "--inventory", &inventory()]);
    assert_eq!((strict.code, strict.stdout.as_str()), (Some(1), ""), "{strict:?}");
    assert_eq!(strict.stderr, warning.to_owned() + "zengate: new: 1 warning\n");
    let untried = folders.run(&["check", "new", "--strict"]);
    assert_eq!((untried.code, untried.stderr.as_str()), (Some(0), ""), "{untried:?}");
    fs::write(folders.path("none.json"), "[]").expect("written");
    let none = folders.run(&["check", "new", "--inventory", "none.json"]);
    assert_eq!(none.stderr, "warning: the inventory has no instance, so no permit can be tried\n");
}

#[test]
fn a_configuration_gives_the_folder_and_asks_zenlayer_for_the_instances() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let config = folder.path().join("zengate.toml").display().to_string();
    let folders = Folders::new();
    let own = folders.run(&["check", "--config", &config]);
    assert_eq!(own.code, Some(0), "{own:?}");
    assert!(
        own.stdout.contains("/policies: good, with ") && own.stdout.ends_with("; tried on 4 instances\n"),
        "{own:?}"
    );
    assert!(
        own.stderr
            .contains("tour/reset-own: no instance meets its condition `resource.name like \"tour-*\"`"),
        "{own:?}"
    );
    let named = folders.run(&["check", "new", "--config", &config]);
    assert!(
        named.stdout.starts_with("new: good; ") && named.stdout.ends_with("; tried on 4 instances\n"),
        "{named:?}"
    );
    let compared = folders.run(&["diff", "old", "new", "--config", &config]);
    assert_eq!(
        (compared.code, compared.stdout.as_str()),
        (Some(0), "no difference: the folders hold the same files\n")
    );
    folders.write("new", "teams/web.cedar", &reworded());
    drop(simulator);
    for (arguments, code) in [(&["check"][..], 1), (&["check", "new"], 1), (&["diff", "old", "new"], 78)] {
        let alone = folders.run(&[arguments, &["--config", &config]].concat());
        assert_eq!(alone.code, Some(code), "{arguments:?}: {alone:?}");
        assert!(alone.stderr.starts_with("zengate: Zenlayer does not tell its instances: "), "{alone:?}");
        assert!(alone.stderr.ends_with("; --inventory FILE takes them from a file instead\n"), "{alone:?}");
        let saved = folders.run(&[arguments, &["--config", &config, "--inventory", &inventory()]].concat());
        assert_eq!(saved.code, Some(0), "{arguments:?}: {saved:?}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_exit_code() {
    let folders = Folders::new();
    fs::write(folders.path("odd.json"), r#"{"instances": []}"#).expect("written");
    fs::write(folders.path("marked.json"), "\u{feff}[]").expect("written");
    fs::create_dir(folders.path("bad")).expect("made");
    folders.write("new", "teams/web.cedar", &reworded());
    for (arguments, code, part) in [
        (&["check"][..], 78, "zengate.toml: 1 fault\n  cannot be read"),
        (&["check", "new", "--config", "x.toml"], 78, "x.toml: 1 fault\n  cannot be read"),
        (&["diff", "old", "new"], 78, "--inventory FILE needs no configuration"),
        (&["check", "new", "--inventory", "x.json"], 1, "--inventory x.json: No such file"),
        (
            &["check", "new", "--inventory", "odd.json"],
            1,
            "--inventory odd.json: must be a JSON array of instances",
        ),
        (&["diff", "old", "new", "--inventory", "x.json"], 78, "--inventory x.json: No such file"),
        (
            &["check", "new", "--inventory", "marked.json"],
            1,
            "--inventory marked.json: begins with a byte order mark: save it without",
        ),
        (&["check", "new", "--inventory", "old"], 1, "--inventory old: it is no regular file"),
        (&["inventory"], 78, "zengate.toml: 1 fault\n  cannot be read"),
        (&["diff", "old", "bad", "--inventory", "odd.json"], 78, "zengate: bad: 4 faults"),
        (&["diff", "bad", "new", "--inventory", "odd.json"], 78, "zengate: bad: 4 faults"),
        (&["diff", "old", "--inventory", "odd.json"], 2, "<NEW>"),
        (&["diff", "old", "new", "--at", "noon"], 2, "--at"),
        (&[], 2, "Usage"),
    ] {
        let told = folders.run(arguments);
        assert_eq!((told.code, told.stdout.as_str()), (Some(code), ""), "{arguments:?}: {told:?}");
        assert!(told.stderr.contains(part), "{arguments:?}: {told:?}");
    }
}

#[test]
fn the_instances_are_printed_as_an_inventory_is_read() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let config = folder.path().join("zengate.toml").display().to_string();
    let folders = Folders::new();
    let printed = folders.run(&["inventory", "--config", &config]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    fs::write(folders.path("saved.json"), &printed.stdout).expect("written");
    let ids: Vec<String> = ["a", "b", "c", "d"].map(|letter| format!("ins-{letter}")).into();
    let told: serde_json::Value = serde_json::from_str(&printed.stdout).expect("JSON");
    let told: Vec<_> = told.as_array().expect("an array").iter().map(|told| &told["instanceId"]).collect();
    assert_eq!(told, ids.iter().collect::<Vec<_>>());
    let explained = |from: &[&str]| {
        let of = |id: &String| {
            let asked = ["explain", "--policies", "new", "--team", "web", "--instance", id];
            let told = folders.run(&[&asked[..], from].concat());
            let all = told.stdout.lines().filter(|line| !line.starts_with("  time "));
            all.map(str::to_owned).collect::<Vec<_>>()
        };
        ids.iter().map(of).collect::<Vec<_>>()
    };
    let live = explained(&["--config", &config]);
    assert!(live[0].iter().any(|line| line.ends_with(" 203.0.113.10 10.0.0.10 2001:db8::10")), "{live:?}");
    assert_eq!(explained(&["--inventory", "saved.json"]), live);
    drop(simulator);
    let alone = folders.run(&["inventory", "--config", &config]);
    assert_eq!((alone.code, alone.stdout.as_str()), (Some(1), ""), "{alone:?}");
}
