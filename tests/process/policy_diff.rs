//! `zengate policy diff`.

use std::fs;

use serde_json::json;

use crate::folders::{Folders, OWN, Told, inventory, reworded};

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
web  ResetPassword  gains 2 with reason and ticket: ins-a ins-c
web  ResetPassword  loses 1: ins-b
";
    assert_eq!(there.stdout, expected);
    assert_eq!(there.stderr, "zengate: access is gained or lost by 2 teams\n");
    let back = compare("new", "old");
    let turned = expected.replace("gains", "?").replace("loses", "gains").replace('?', "loses");
    let mut lines: Vec<&str> = turned.lines().collect();
    lines.swap(3, 4);
    assert_eq!((back.code, back.stdout.lines().collect::<Vec<_>>()), (Some(1), lines), "gains come first");
}

#[test]
fn a_change_that_decides_nothing_otherwise_is_no_difference() {
    let folders = Folders::new();
    let last_line = |text: &str| {
        folders.write("new", "teams/web.cedar", text);
        let told = folders.run(&["diff", "old", "new", "--inventory", &inventory(), "--scope", "x"]);
        assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
        told.stdout.strip_prefix("changed: teams/web.cedar\n").unwrap_or(&told.stdout).to_owned()
    };
    assert_eq!(last_line(&format!("// As before\n{OWN}")), "no difference: every policy says the same\n");
    assert_eq!(
        last_line(&reworded()),
        "no difference on 4 instances, asked with nothing given; with reason and ticket; with reason, ticket and \
         scope x; with a generated password; with reason, ticket and a generated password; with reason, ticket, scope \
         x and a generated password\n"
    );
}

#[test]
fn policies_are_asked_at_the_time_that_is_given() {
    let folders = Folders::new();
    let night =
        "@id(\"night\") forbid (principal, action, resource is Instance) when { context.local.hour < 6 };";
    folders.write("new", "global.cedar", night);
    let at = |time: &str| folders.run(&["diff", "old", "new", "--inventory", &inventory(), "--at", time]);
    let told = at("2026-11-24T12:00:00Z");
    assert_eq!(
        (told.code, told.stdout.lines().last()),
        (Some(1), Some("added, and applied to nothing asked: global/night (reads context.local, resource)")),
        "{told:?}"
    );
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

#[test]
fn what_applies_to_nothing_asked_is_a_difference_until_it_is_asked_for() {
    let folders = Folders::new();
    let backdoor = r#"
@id("backdoor")
permit (principal in Team::"web", action == Action::"ResetPassword", resource) when { context.client == "portal" };
"#;
    folders.write("new", "teams/web.cedar", &(OWN.to_owned() + backdoor));
    let diff =
        |more: &[&str]| folders.run(&[&["diff", "old", "new", "--inventory", &inventory()], more].concat());
    let unasked = diff(&[]);
    assert_eq!(unasked.code, Some(1), "{unasked:?}");
    assert_eq!(
        unasked.stdout,
        "changed: teams/web.cedar\nadded, and applied to nothing asked: web/backdoor (reads context.client)\n"
    );
    assert_eq!(
        unasked.stderr,
        "zengate: what 1 policy would give or take is not known: ask otherwise, with --scope, --user, --client, \
         --actor, --address, --batch-size or --at\n"
    );
    let asked =
        diff(&["--client", "portal", "--user", "corp|b", "--address", "10.0.0.1", "--batch-size", "5"]);
    assert_eq!(
        (asked.code, asked.stdout.lines().last(), asked.stderr.as_str()),
        (
            Some(1),
            Some("web  ResetPassword  gains 3: ins-a ins-c ins-d"),
            "zengate: access is gained or lost by 1 team\n"
        )
    );
    for bad in [["--user", "b"], ["--address", "here"], ["--batch-size", "101"]] {
        assert_eq!(diff(&bad).code, Some(2), "{bad:?}");
    }
}

#[test]
fn what_teams_read_of_each_other_needs_no_instances() {
    let folders = Folders::new();
    let read = r#"
@id("read")
permit (principal in Team::"web", action in [Action::"ViewReset", Action::"ViewAudit"], resource)
when { context.scopes.contains("zengate:audit") };
"#;
    folders.write("new", "teams/web.cedar", &(OWN.to_owned() + read));
    folders.write("new", "teams/sre.cedar", "");
    let told = folders.run(&["diff", "old", "new", "--scope", "zengate:audit"]);
    let expected = "\
changed: teams/sre.cedar, teams/web.cedar
web  ViewReset      gains 1 with scope zengate:audit: sre
web  ViewAudit      gains 3 with scope zengate:audit: @gateway sre web
";
    assert_eq!((told.code, told.stdout.as_str()), (Some(1), expected), "{told:?}");
    let reworded = read.replace(
        "[Action::\"ViewReset\", Action::\"ViewAudit\"]",
        "[Action::\"ViewAudit\", Action::\"ViewReset\"]",
    );
    folders.write("old", "teams/web.cedar", &(OWN.to_owned() + &reworded));
    let told = folders.run(&["diff", "old", "new", "--scope", "zengate:audit"]);
    assert_eq!(
        told.stdout.lines().last(),
        Some("no difference, asked with nothing given; with scope zengate:audit"),
        "{told:?}"
    );
}
