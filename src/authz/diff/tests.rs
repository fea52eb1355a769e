mod properties;
mod unreached;

use jiff::tz::TimeZone;

use super::*;
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

/// By anyone, at nine in the evening in Tokyo.
fn circumstances() -> Circumstances {
    Circumstances {
        user: None,
        client: None,
        actor: None,
        address: None,
        batch_size: None,
        scopes: vec!["break".to_owned()],
        at: "2026-11-24T12:00:00Z".parse().expect("a time"),
        zone: TimeZone::get("Asia/Tokyo").expect("a zone"),
    }
}

/// Lines like the command's, of what changes and then of what was not reached.
fn lines(old: &PolicyRevision, new: &PolicyRevision, circumstances: &Circumstances) -> Vec<String> {
    let Differences { changes, unreached } = compare([old, new], &instances(), circumstances, QUIET);
    let line = |Change { team, action, gained, only, on }: &Change| {
        let sign = if *gained { '+' } else { '-' };
        format!("{team} {sign} {} {} [{}]", action.name(), on.join(" "), only.join("; "))
    };
    changes.iter().map(line).chain(unreached.iter().map(ToString::to_string)).collect()
}

/// Of what changes for anyone.
fn differences(old: &PolicyRevision, new: &PolicyRevision) -> Vec<String> {
    let mut lines = lines(old, new, &circumstances());
    lines.retain(|line| !line.contains("nothing asked"));
    lines
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
            &[
                "b + ResetPassword ins-a ins-b ins-c []",
                "b + ViewInstance ins-a ins-b ins-c []",
                "b + ViewReset a []",
                "b + ViewAudit @gateway a b []",
            ],
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
                "b + ResetPassword ins-a ins-b ins-c [nothing given]",
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
            "a + ResetPassword ins-a ins-b [reason and ticket]",
            "a - ResetPassword ins-a ins-b [nothing given]",
        ]
    );
}

#[test]
fn what_takes_a_generated_password_is_asked_with_one() {
    let own = r#"@id("own") permit (principal in Team::"a", action == Action::"ResetPassword", resource in ResourceGroup::"rg-a");"#;
    let generated = r#"@id("own") permit (principal in Team::"a", action == Action::"ResetPassword", resource in ResourceGroup::"rg-a") when { context.generated };"#;
    let typed = r#"@id("typed") forbid (principal, action == Action::"ResetPassword", resource) unless { context.generated };"#;
    let ticket = r#"@id("typed") forbid (principal, action == Action::"ResetPassword", resource) unless { context.generated && context.ticketGiven };"#;
    let cases: [(&str, Folder<'_>, Folder<'_>, &[&str]); 4] = [
        (
            "a permit",
            ("", &[]),
            ("", &[("a", generated)]),
            &["a + ResetPassword ins-a ins-b [a generated password]"],
        ),
        (
            "a permit that a forbid keeps to it, which is as before",
            (typed, &[]),
            (typed, &[("a", own)]),
            &["a + ResetPassword ins-a ins-b [a generated password]"],
        ),
        (
            "a ticket too",
            ("", &[("a", generated)]),
            (ticket, &[("a", generated)]),
            &["a - ResetPassword ins-a ins-b [a generated password]"],
        ),
        (
            "a ticket only",
            (typed, &[("a", own)]),
            (ticket, &[("a", own)]),
            &["a - ResetPassword ins-a ins-b [a generated password]"],
        ),
    ];
    for (row, old, new, expected) in cases {
        let (old, new) = (revision(old.0, old.1), revision(new.0, new.1));
        assert_eq!(lines(&old, &new, &circumstances()), expected, "{row}");
    }
}

#[test]
fn what_teams_read_of_each_other_is_compared_without_an_instance() {
    let a = r#"@id("see") permit (principal in Team::"a", action == Action::"ViewInstance", resource);"#;
    let b = r#"@id("own") permit (principal in Team::"b", action == Action::"ViewInstance", resource);"#;
    let reads = r#"@id("read") permit (principal in Team::"a", action == Action::"ViewReset", resource == Team::"b");"#;
    let audits = r#"@id("read") permit (principal in Team::"a", action == Action::"ViewAudit", resource) when { context.scopes.contains("break") };"#;
    let (with_reads, with_audits) = (format!("{a}{reads}"), format!("{a}{audits}"));
    let no_resets = r#"@id("no") forbid (principal, action == Action::"ViewReset", resource) unless { context.client == "portal" };"#;
    let cases: [(&str, Folder<'_>, Folder<'_>, Extent, &[&str]); 5] = [
        ("nothing", ("", &[("a", a)]), ("", &[("a", a)]), Extent::Nothing, &[]),
        (
            "another team's resets",
            ("", &[("a", a), ("b", b)]),
            ("", &[("a", &with_reads), ("b", b)]),
            Extent::Teams,
            &["a + ViewReset b []"],
        ),
        (
            "records, its own and the gateway's too",
            ("", &[("a", a), ("b", b)]),
            ("", &[("a", &with_audits), ("b", b)]),
            Extent::Teams,
            &["a + ViewAudit @gateway a b [scope break]"],
        ),
        (
            "its own resets, which need no permit",
            ("", &[("a", a), ("b", b)]),
            (no_resets, &[("a", a), ("b", b)]),
            Extent::Teams,
            &["a - ViewReset a []", "b - ViewReset b []"],
        ),
        (
            "a team that comes is one to read of",
            ("", &[("a", &with_audits)]),
            ("", &[("a", &with_audits), ("b", b)]),
            Extent::Instances,
            &["b + ViewInstance ins-a ins-b ins-c []"],
        ),
    ];
    for (row, old, new, reach, expected) in cases {
        let (old, new) = (revision(old.0, old.1), revision(new.0, new.1));
        assert_eq!(lines(&old, &new, &circumstances()), expected, "{row}");
        assert_eq!(extent([&old, &new]), reach, "{row}");
    }
}
