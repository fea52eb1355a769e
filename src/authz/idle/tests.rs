use proptest::prelude::*;

use jiff::tz::TimeZone;

use super::*;
use crate::authz::question::Question;
use crate::authz::tests::{instance, load};
use crate::authz::{Asked, PolicyFaults};
use crate::domain::TeamName;
use crate::inventory::Agent;

const QUIET: &Progress<'static> = &|_, _| {};

fn loaded(permits: &str) -> Result<PolicyRevision, PolicyFaults> {
    let forbid = r#"@id("never") forbid (principal, action, resource is Instance) when { resource.name == "nobody's" };"#;
    load(forbid, &[("a", permits)], "")
}

fn revision(permits: &str) -> PolicyRevision {
    loaded(permits).unwrap_or_else(|e| panic!("{e}\n{permits}"))
}

fn instances() -> Vec<Attributes> {
    let mut one = instance(Some("rg"), &[("env", "dev"), ("team", "a")]);
    one.name = "pay-1".into();
    let mut two = instance(None, &[("env", "prod")]);
    (two.id, two.status) = ("ins-b".parse().expect("an id"), "STOPPED".into());
    vec![one, two]
}

#[test]
fn a_permit_that_no_instance_can_meet_is_named_with_the_condition() {
    let on = |rest: &str| format!(r#"principal in Team::"a", action == Action::"ResetPassword", {rest};"#);
    let any = |rest: &str| format!(r#"principal in Team::"a", action, {rest};"#);
    for (row, scope, expected) in [
        ("one meets it", on(r#"resource in ResourceGroup::"rg")"#), None),
        ("nothing is asked", on("resource)"), None),
        (
            "a group that is gone",
            on(r#"resource in ResourceGroup::"rg-old")"#),
            Some(r#"its condition `resource in ResourceGroup::"rg-old"`"#),
        ),
        (
            "a misspelt value",
            on(r#"resource) when { resource.hasTag("env") && resource.getTag("env") == "prdo" }"#),
            Some(r#"its conditions up to `resource.getTag("env") == "prdo"`"#),
        ),
        (
            "two conditions that two instances meet",
            on(r#"resource) when { resource.name == "pay-1" } unless { resource.status == "RUNNING" }"#),
            Some(r#"its conditions up to `!(resource.status == "RUNNING")`"#),
        ),
        (
            "behind a condition on the request",
            on(r#"resource) when { context.reasonGiven && resource.name == "x" }"#),
            Some(r#"its condition `resource.name == "x"`"#),
        ),
        (
            "mixed with the request",
            on(r#"resource) when { context.reasonGiven || resource.name == "x" }"#),
            None,
        ),
        (
            "mixed with the user",
            on(r#"resource) when { principal == User::"corp|b" || resource.name == "x" }"#),
            None,
        ),
        (
            "mixed with a user by name",
            on(r#"resource) when { User::"corp|b" in Team::"a" || resource.name == "x" }"#),
            None,
        ),
        (
            "it cannot be evaluated",
            on(
                r#"resource) when { (if resource.name == "pay-1" then 9223372036854775807 else 1) + 1 == 0 }"#,
            ),
            None,
        ),
        ("of any action, on anything", any("resource) when { resource == Instance::\"x\" }"), None),
        ("of any action, on a team", any(r#"resource == Team::"b")"#), None),
        (
            "of any action, on instances",
            any(r#"resource is Instance in Zone::"z")"#),
            Some(r#"its condition `resource is Instance in Zone::"z"`"#),
        ),
        (
            "of reading resets",
            r#"principal in Team::"a", action == Action::"ViewReset", resource == Team::"b");"#.to_owned(),
            None,
        ),
    ] {
        let revision = revision(&format!("// First\n@id(\"x\")\n  permit ({scope}"));
        let found: Vec<String> = revision.idle(&instances(), QUIET).iter().map(ToString::to_string).collect();
        let found: Vec<&str> =
            found.iter().filter_map(|text| text.split_once("teams/")).map(|(_, text)| text).collect();
        let expected = expected.map(|condition| format!("a.cedar:3:3: a/x: no instance meets {condition}"));
        assert_eq!(found, expected.as_slice(), "{row}");
    }
}

#[test]
fn permits_that_ask_the_same_are_named_each() {
    let permit = |id: &str, action: &str| {
        format!(
            "@id(\"{id}\") permit (principal in Team::\"a\", action == Action::\"{action}\", resource) when {{ resource.name == \"x\" }};\n"
        )
    };
    let revision = revision(&(permit("see", "ViewInstance") + &permit("reset", "ResetPassword")));
    let lines: Vec<_> =
        revision.idle(&instances(), QUIET).into_iter().filter_map(|fault| fault.place).collect();
    assert_eq!(lines.iter().map(|place| place.line).collect::<Vec<_>>(), [1, 2]);
    assert!(revision.idle(&[], QUIET).is_empty(), "nothing is tried on no instance");
}

/// Conditions on the instance alone, and others.
const OF_INSTANCE: [&str; 6] = [
    r#"resource.name like "pay-*""#,
    r#"resource.status == "RUNNING""#,
    r#"resource.hasTag("env") && resource.getTag("env") == "dev""#,
    r#"resource in ResourceGroup::"rg""#,
    r#"resource.agent == "PRESENT" || resource.hasTag("team")"#,
    r#"if resource.status == "RUNNING" then resource.name == "web-1" else true"#,
];
const OTHERS: [&str; 6] = [
    "context.reasonGiven",
    r#"context.local.hour < 12 && resource.name like "pay-*""#,
    r#"principal == User::"test|someone""#,
    r#"context.ticketGiven || resource.status == "STOPPED""#,
    r#"if context.ticketGiven then resource.name like "pay-*" else resource in ResourceGroup::"rg""#,
    r#"context.scopes.contains("x") || resource.hasTag("env")"#,
];

fn made_up(bits: u8) -> Attributes {
    let bit = |n: u8| bits >> n & 1 == 1;
    let tags: Vec<_> = [("env", if bit(0) { "dev" } else { "prod" }), ("team", "a")].into();
    let mut told = instance(bit(1).then_some("rg"), &tags[..usize::from(bit(2)) + usize::from(bit(3))]);
    told.name = if bit(4) { "pay-1" } else { "web-1" }.into();
    told.status = if bit(5) { "RUNNING" } else { "STOPPED" }.into();
    told.agent = if bit(6) { Agent::Present } else { Agent::Absent };
    told
}

/// What the gateway decides in several ways of asking; whether it ever permits.
fn ever_permitted(revision: &PolicyRevision, instances: &[Attributes]) -> bool {
    let team: TeamName = "a".parse().expect("a name");
    let asked = |bits: u8| Asked {
        reason_given: bits & 1 == 1,
        ticket_given: bits & 2 == 2,
        scopes: if bits & 4 == 4 { vec!["x".to_owned()] } else { Vec::new() },
        ..Asked::anyone(team.clone())
    };
    let mut questions = instances.iter().flat_map(|told| (0..8).map(move |bits| (told, bits)));
    questions.any(|(told, bits)| {
        let question = Question::of_instance(Action::ResetPassword, &asked(bits), told, &TimeZone::UTC);
        revision.decide(&team, &question).permits()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_permit_that_is_named_permits_nothing(
        of_instance in proptest::collection::vec((0..6_usize, any::<bool>()), 0..4),
        others in proptest::collection::vec((0..6_usize, any::<bool>()), 0..2),
        instances in proptest::collection::vec(0..128_u8, 1..4),
    ) {
        let clause = |(condition, when): (&str, bool)| {
            format!(" {} {{ {condition} }}", if when { "when" } else { "unless" })
        };
        let clauses = of_instance.iter().map(|(n, when)| (OF_INSTANCE[*n], *when));
        let clauses = clauses.chain(others.iter().map(|(n, when)| (OTHERS[*n], *when)));
        let clauses: String = clauses.map(clause).collect();
        let permit = r#"@id("x") permit (principal in Team::"a", action == Action::"ResetPassword", resource)"#;
        let loaded = loaded(&format!("{permit}{clauses};"));
        // The validator refuses what contradicts itself.
        prop_assume!(loaded.is_ok());
        let revision = loaded.expect("just asked");
        let instances: Vec<Attributes> = instances.into_iter().map(made_up).collect();
        let (named, permitted) = (!revision.idle(&instances, QUIET).is_empty(), ever_permitted(&revision, &instances));
        prop_assert!(!(named && permitted), "{clauses}");
        if others.is_empty() {
            prop_assert!(named != permitted, "and where all hangs on the instance, it is named whenever: {clauses}");
        }
    }
}
