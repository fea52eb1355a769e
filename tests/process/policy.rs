//! `zengate policy check` and `zengate policy diff`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Simulator, beside, configured, zengate};

/// Two copies of a small policies folder, and a place for more.
struct Folders(TempDir);

const OWN: &str = r#"@id("own")
permit (principal in Team::"web", action == Action::"ResetPassword", resource)
when { resource.hasTag("team") && resource.getTag("team") == "web" };
"#;

impl Folders {
    fn new() -> Self {
        let folders = Self(tempfile::tempdir().expect("a folder"));
        for side in ["old", "new"] {
            fs::create_dir_all(folders.path(side).join("teams")).expect("made");
            let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/schema.cedarschema");
            fs::copy(schema, folders.path(side).join("schema.cedarschema")).expect("copied");
            folders.write(side, "global.cedar", "");
            folders.write(side, "limits.toml", "");
            folders.write(side, "teams/web.cedar", OWN);
        }
        folders
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, side: &str, file: &str, text: &str) {
        fs::write(self.path(side).join(file), text).expect("written");
    }

    /// Runs a policy command beside the folders.
    fn run(&self, arguments: &[&str]) -> Told {
        Told::by(zengate().current_dir(self.0.path()).arg("policy").args(arguments).output().expect("runs"))
    }
}

/// What a command told, and its exit code.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Told {
    fn by(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// The simulator's instances, as a file.
fn inventory() -> String {
    beside("instances.json").display().to_string()
}

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
    fs::create_dir(folders.path("bad")).expect("made");
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
fn gains_and_losses_are_told_team_by_team() {
    let folders = Folders::new();
    folders.write("new", "teams/web.cedar", &OWN.replace("== \"web\"", "== \"payments\""));
    folders.write("new", "limits.toml", "# Later\n");
    let sre = r#"@id("all") permit (principal in Team::"sre", action == Action::"ResetPassword", resource)
        when { context.scopes.contains("zengate:break-glass") };"#;
    folders.write("new", "teams/sre.cedar", sre);
    let ticket = r#"@id("ticket") forbid (principal, action == Action::"ResetPassword", resource) unless { context.ticketGiven };"#;
    folders.write("new", "global.cedar", ticket);
    let compare = |from: &str, to: &str| {
        folders.run(&["diff", from, to, "--inventory", &inventory(), "--scope", "zengate:break-glass"])
    };
    let there = compare("old", "new");
    assert_eq!(there.code, Some(1), "{there:?}");
    let expected = "\
changed: global.cedar, teams/sre.cedar, teams/web.cedar
changed, but not part of this comparison: limits.toml
sre  ResetPassword  gains 4 with reason, ticket and scope zengate:break-glass: ins-a ins-b ins-c ins-d
web  ResetPassword  gains 2 with reason and ticket or with reason, ticket and scope zengate:break-glass: ins-a ins-c
web  ResetPassword  loses 1: ins-b
";
    assert_eq!(there.stdout, expected);
    assert_eq!(there.stderr, "zengate: instances are gained or lost by 2 teams\n");
    let back = compare("new", "old");
    let turned = expected.replace("gains", "?").replace("loses", "gains").replace('?', "loses");
    let mut lines: Vec<&str> = turned.lines().collect();
    lines.swap(3, 4);
    assert_eq!((back.code, back.stdout.lines().collect::<Vec<_>>()), (Some(1), lines), "gains come first");
}

#[test]
fn a_change_that_decides_nothing_otherwise_is_no_difference() {
    let folders = Folders::new();
    folders.write("new", "teams/web.cedar", &format!("// As before\n{OWN}"));
    let told = folders.run(&["diff", "old", "new", "--inventory", &inventory(), "--scope", "x"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    let expected = "\
changed: teams/web.cedar
no difference on 4 instances, asked with nothing given; with reason and ticket; with reason, ticket and scope x
";
    assert_eq!(told.stdout, expected);
}

#[test]
fn policies_are_asked_at_the_time_that_is_given() {
    let folders = Folders::new();
    let night =
        "@id(\"night\") forbid (principal, action, resource is Instance) when { context.local.hour < 6 };";
    folders.write("new", "global.cedar", night);
    let at = |time: &str| folders.run(&["diff", "old", "new", "--inventory", &inventory(), "--at", time]);
    assert_eq!(at("2026-11-24T12:00:00Z").code, Some(0));
    let told = at("2026-11-24T07:00:00+02:00");
    assert_eq!(
        (told.code, told.stdout.lines().last()),
        (Some(1), Some("web  ResetPassword  loses 1: ins-b")),
        "{told:?}"
    );
}

#[test]
fn many_instances_are_cut_short_unless_all_are_wanted() {
    let folders = Folders::new();
    let instances: Vec<_> = (10..33).map(|n| json!({ "instanceId": format!("ins-{n}") })).collect();
    fs::write(folders.path("many.json"), json!(instances).to_string()).expect("written");
    folders.write(
        "new",
        "teams/x.cedar",
        r#"@id("see") permit (principal in Team::"x", action == Action::"ViewInstance", resource);"#,
    );
    let diff = ["diff", "old", "new", "--inventory", "many.json"];
    let (short, long) = (folders.run(&diff), folders.run(&[&diff[..], &["--all"]].concat()));
    let last = |told: &Told| told.stdout.lines().last().unwrap_or_default().to_owned();
    let line = last(&short);
    assert!(line.starts_with("x  ViewInstance   gains 23: ins-10 ins-11 "), "{line}");
    assert!(line.ends_with(" ins-29 and 3 more"), "{line}");
    assert!(last(&long).ends_with(" ins-29 ins-30 ins-31 ins-32"), "{}", last(&long));
}
