use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::authz::tests::properties::folder;
use crate::authz::tests::{instance, load};

const QUIET: &Progress<'static> = &|_, _| {};

fn revision(global: &str, teams: &[(&str, &str)]) -> PolicyRevision {
    load(global, teams, "").unwrap_or_else(|e| panic!("{e}"))
}

/// The global policies, and those of teams.
type Folder<'t> = (&'t str, &'t [(&'t str, &'t str)]);

/// ins-a of rg-a, running; ins-b of rg-a, stopped; ins-c of no group.
fn instances() -> Vec<Attributes> {
    let told = |id: &str, group: Option<&str>, status: &str| {
        let mut told = instance(group, &[]);
        (told.id, told.status) = (id.parse().expect("an id"), status.into());
        told
    };
    vec![
        told("ins-c", None, "RUNNING"),
        told("ins-b", Some("rg-a"), "STOPPED"),
        told("ins-a", Some("rg-a"), "RUNNING"),
    ]
}

/// Lines like the command's.
fn differences(old: &PolicyRevision, new: &PolicyRevision) -> Vec<String> {
    let circumstances = Circumstances {
        scopes: vec!["break".to_owned()],
        at: "2026-11-24T12:00:00Z".parse().expect("a time"),
        zone: TimeZone::get("Asia/Tokyo").expect("a zone"),
    };
    let changes = compare([old, new], &instances(), &circumstances, QUIET);
    let line = |Change { team, action, gained, only, instances }: &Change| {
        let ids: Vec<&str> = instances.iter().map(InstanceId::as_str).collect();
        format!(
            "{team} {} {} {} [{}]",
            if *gained { '+' } else { '-' },
            action.name(),
            ids.join(" "),
            only.join("; ")
        )
    };
    changes.iter().map(line).collect()
}

#[test]
fn gains_and_losses_are_told_by_team_action_and_circumstance() {
    let own = r#"@id("own") permit (principal in Team::"a", action == Action::"ResetPassword", resource in ResourceGroup::"rg-a");"#;
    let all = r#"@id("own") permit (principal in Team::"a", action == Action::"ResetPassword", resource);"#;
    let b = r#"@id("all") permit (principal in Team::"b", action, resource);"#;
    let stopped = r#"@id("stopped") forbid (principal, action, resource is Instance) when { resource.status == "STOPPED" };"#;
    let ticket = r#"@id("ticket") forbid (principal, action == Action::"ResetPassword", resource) unless { context.ticketGiven };"#;
    let scope = r#"@id("scope") forbid (principal, action in [Action::"ResetPassword", Action::"ViewInstance"], resource) unless { context.scopes.contains("break") };"#;
    let evening = r#"@id("hour") forbid (principal, action == Action::"ResetPassword", resource) when { context.local.hour == 21 };"#;
    let errs = r#"@id("errs") forbid (principal, action == Action::"ResetPassword", resource) when { (if resource.status == "STOPPED" then 9223372036854775807 else 1) + 1 == 0 };"#;
    let errs_first = r#"@id("errs") forbid (principal, action == Action::"ResetPassword", resource) when { context.local.hour + 9223372036854775807 > 0 } when { resource.name == "nobody's" };"#;
    let swapped = format!(
        "// Another order\n{all}\n@id(\"no\") forbid (principal, action, resource) when {{ resource == Instance::\"ins-z\" }};"
    );
    let cases: [(&str, Folder<'_>, Folder<'_>, &[&str]); 12] = [
        ("nothing", ("", &[("a", own)]), ("", &[("a", own)]), &[]),
        ("a comment and a forbid that never bites", ("", &[("a", all)]), ("", &[("a", &swapped)]), &[]),
        (
            "a wider permit",
            ("", &[("a", own), ("b", b)]),
            ("", &[("a", all), ("b", b)]),
            &["a + ResetPassword ins-c []"],
        ),
        ("a narrower one", ("", &[("a", all)]), ("", &[("a", own)]), &["a - ResetPassword ins-c []"]),
        (
            "a new team",
            ("", &[("a", own)]),
            ("", &[("a", own), ("b", b)]),
            &["b + ResetPassword ins-a ins-b ins-c []", "b + ViewInstance ins-a ins-b ins-c []"],
        ),
        ("a team that is gone", ("", &[("a", own)]), ("", &[]), &["a - ResetPassword ins-a ins-b []"]),
        (
            "a global forbid",
            ("", &[("a", own), ("b", b)]),
            (stopped, &[("a", own), ("b", b)]),
            &["a - ResetPassword ins-b []", "b - ResetPassword ins-b []", "b - ViewInstance ins-b []"],
        ),
        (
            "a forbid without a ticket",
            ("", &[("a", own)]),
            (ticket, &[("a", own)]),
            &["a - ResetPassword ins-a ins-b [nothing given]"],
        ),
        (
            "a forbid without a scope",
            (scope, &[("b", b)]),
            ("", &[("b", b)]),
            &[
                "b + ResetPassword ins-a ins-b ins-c [nothing given; reason and ticket]",
                "b + ViewInstance ins-a ins-b ins-c [nothing given]",
            ],
        ),
        (
            "a forbid at this hour",
            ("", &[("a", own)]),
            (evening, &[("a", own)]),
            &["a - ResetPassword ins-a ins-b []"],
        ),
        ("a forbid that errs", ("", &[("a", own)]), (errs, &[("a", own)]), &["a - ResetPassword ins-b []"]),
        (
            "a forbid that errs before it looks at the instance",
            ("", &[("a", own)]),
            (errs_first, &[("a", own)]),
            &["a - ResetPassword ins-a ins-b []"],
        ),
    ];
    for (row, old, new, expected) in cases {
        let (old, new) = (revision(old.0, old.1), revision(new.0, new.1));
        assert_eq!(differences(&old, &new), expected, "{row}");
        let turned: Vec<String> = expected
            .iter()
            .map(|line| line.replacen(" + ", " ± ", 1).replacen(" - ", " + ", 1).replacen(" ± ", " - ", 1))
            .collect();
        assert_eq!(differences(&new, &old), turned, "{row}, the other way round");
    }
}

#[test]
fn an_instance_may_be_gained_and_lost_by_one_change() {
    let by_day = |condition: &str| {
        format!(
            "@id(\"x\") permit (principal in Team::\"a\", action == Action::\"ResetPassword\", resource in ResourceGroup::\"rg-a\") when {{ {condition} }};"
        )
    };
    let (plain, ticket) = (by_day("!context.ticketGiven"), by_day("context.ticketGiven"));
    let (old, new) = (revision("", &[("a", &plain)]), revision("", &[("a", &ticket)]));
    assert_eq!(
        differences(&old, &new),
        [
            "a + ResetPassword ins-a ins-b [reason and ticket; reason, ticket and scope break]",
            "a - ResetPassword ins-a ins-b [nothing given]",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_difference_is_found_and_no_other(old in folder(), new in folder()) {
        let (old, new) = (old.loaded(), new.loaded());
        let circumstances = Circumstances {
            scopes: vec!["zengate:break-glass".to_owned()],
            at: "2026-11-24T12:00:00Z".parse().expect("a time"),
            zone: TimeZone::UTC,
        };
        let made_up = |bits: u8| {
            let mut told = instance(None, if bits & 1 == 1 { &[("env", "dev")] } else { &[] });
            told.id = format!("ins-{bits}").parse().expect("an id");
            told.name = if bits & 2 == 2 { "web-1" } else { "x" }.into();
            told
        };
        let instances: Vec<Attributes> = (0..4).map(made_up).collect();

        let mut found = BTreeSet::new();
        for Change { team, action, gained, only, instances } in compare([&old, &new], &instances, &circumstances, QUIET) {
            let names = circumstances.askers(action, &team).into_iter().map(|(name, _)| name);
            let names: Vec<String> = names.filter(|name| only.is_empty() || only.contains(name)).collect();
            for id in &instances {
                found.extend(names.iter().map(|name| (team.clone(), action.name(), name.clone(), id.clone(), gained)));
            }
        }
        let mut expected = BTreeSet::new();
        for (team, action) in ["a", "b"].into_iter().flat_map(|team| ACTIONS.map(|action| (team, action))) {
            let team: TeamName = team.parse().expect("a name");
            for (name, asker) in circumstances.askers(action, &team) {
                for told in &instances {
                    let question = asker.about_instance(told);
                    let [before, after] = [&old, &new].map(|revision| revision.decide(&team, &question).permits());
                    if before != after {
                        expected.insert((team.clone(), action.name(), name.clone(), told.id.clone(), after));
                    }
                }
            }
        }
        prop_assert_eq!(found, expected);
    }
}
