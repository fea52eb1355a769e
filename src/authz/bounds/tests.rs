use std::sync::Arc;

use jiff::tz::TimeZone;

use super::*;
use crate::authz::tests::{instance, load};
use crate::authz::{About, Action, Asked, Holds, Inquiry, PolicyFaults, PolicyRevision, Verdict};

/// A condition that goes deep in one way, by how much of it there is.
type Shape = fn(usize) -> String;

const SHAPES: [(&str, Shape); 19] = [
    ("or", |n| format!("context.generated{}", " || context.generated".repeat(n))),
    ("or of little", |n| format!("context.generated{}", " || false".repeat(n))),
    ("and", |n| format!("!context.generated{}", " && !context.generated".repeat(n))),
    ("plus", |n| format!("1{} == 1", " + 1".repeat(n))),
    ("minus", |n| format!("1{} == 1", "-1".repeat(n))),
    ("times", |n| format!("2{} == 1", " * 1".repeat(n))),
    ("if", |n| format!("{}context.generated", "if context.generated then true else ".repeat(n))),
    ("if in if", |n| {
        format!("{}context.generated{}", "if ".repeat(n), " then context.generated else true".repeat(n))
    }),
    ("clauses", |n| {
        format!("!context.generated }}{} when {{ true", " when { !context.generated }".repeat(n))
    }),
    ("exceptions", |n| {
        format!("context.generated }}{} when {{ true", " unless { context.generated }".repeat(n))
    }),
    ("brackets", |n| format!("{}context.generated{}", "(".repeat(n), ")".repeat(n))),
    ("nots", |n| format!("{}context.generated{}", "!!!!(".repeat(n), ")".repeat(n))),
    ("sets", |n| format!("{0}1{1} == {0}2{1}", "[".repeat(n), "]".repeat(n))),
    ("records", |n| format!("{}1{}{} == 2", "{a: ".repeat(n), "}".repeat(n), ".a".repeat(n))),
    ("records by index", |n| format!("{}1{}{} == 2", "{a: ".repeat(n), "}".repeat(n), "[\"a\"]".repeat(n))),
    ("lists of lists", |n| format!("{}context.generated{}", "[".repeat(n), "].contains(true)".repeat(n))),
    ("or in brackets", |n| {
        format!("{}context.generated{}", "(context.generated || ".repeat(n), ")".repeat(n))
    }),
    ("much in brackets", |n| {
        let inner = "(if context.generated || context.generated && true then false else ";
        format!("{}context.generated{}", inner.repeat(n), ")".repeat(n))
    }),
    ("both bounds", |n| {
        let inner = |n: usize| format!("context.generated{}", " || false".repeat(n));
        format!("{}{}{}", "!(".repeat(27), inner(n), ")".repeat(27))
    }),
];

fn policy(condition: &str) -> String {
    format!(
        "@id(\"x\") permit (principal in Team::\"a\", action == Action::\"ResetPassword\", resource) when {{ {condition} }};"
    )
}

fn load_one(policy: &str) -> Result<PolicyRevision, PolicyFaults> {
    load("", &[("a", policy)], "")
}

fn within(text: &str) -> bool {
    policies(Text { file: "x".as_ref(), text }, &mut Faults::default())
}

/// The largest of a shape that is within the bounds.
fn largest(shape: Shape) -> usize {
    (1..).find(|n| !within(&policy(&shape(*n)))).expect("every shape goes past them") - 1
}

/// Decides and explains on less than the 2 MiB of stack that a worker has.
fn decided(revision: PolicyRevision, generated: bool) -> (Verdict, Vec<Holds>) {
    let worker = std::thread::Builder::new().stack_size(3 << 19);
    let work = move || {
        let mut asked = Asked::anyone("a".parse().expect("a name"));
        asked.generated = generated;
        let about = About::Instance(Arc::new(instance(None, &[])));
        let inquiry = Inquiry { action: Action::ResetPassword, asked, about, zone: TimeZone::UTC };
        let verdict = revision.answer(&inquiry);
        _ = revision.unmet(&inquiry);
        let traces = revision.trace(&inquiry);
        (verdict, traces.into_iter().flat_map(|trace| trace.conditions).map(|(_, holds)| holds).collect())
    };
    worker.spawn(work).expect("a thread").join().expect("it ends well")
}

#[test]
fn a_policy_at_the_bounds_is_loaded_decided_and_explained_on_less_than_a_workers_stack() {
    for (row, shape) in SHAPES {
        let n = largest(shape);
        for generated in [false, true] {
            let revision =
                load_one(&policy(&shape(n))).unwrap_or_else(|faults| panic!("{row}: {n}: {faults}"));
            let (verdict, conditions) = decided(revision, generated);
            assert!(!matches!(verdict, Verdict::Erred(_)), "{row}: {n}: {verdict:?}");
            assert!(conditions.len() > 2, "{row}: {n}: it is taken apart: {conditions:?}");
            let err = conditions.iter().find(|holds| matches!(holds, Holds::Erred(_)));
            assert!(err.is_none(), "{row}: {n}: {err:?}");
        }
        let faults = load_one(&policy(&shape(n + 1))).expect_err(row).0;
        assert_eq!(faults.len(), 1, "{row}: {faults:?}");
        assert!(
            faults[0].message.starts_with("more than ") && faults[0].place.is_some(),
            "{row}: {faults:?}"
        );
    }
}

#[test]
fn what_goes_far_deeper_is_one_fault() {
    let signs = |sign: &str| policy(&format!("{} 1 == 1", sign.repeat(20_000)));
    let texts = SHAPES.map(|(row, shape)| (row, policy(&shape(20_000))));
    let odd = [
        ("!!!!", signs("!")),
        ("- - -", signs("- ")),
        (".x.x", policy(&format!("context{}", ".x".repeat(20_000)))),
        ("[x][x]", policy(&format!("context{}", "[\"x\"]".repeat(20_000)))),
        ("()()", policy(&format!("context{}", "()".repeat(20_000)))),
        ("half", format!("permit ({}", "[".repeat(20_000))),
        ("astray", format!("permit ({}", "[)".repeat(20_000))),
        ("if astray", policy(&"if (true then ) else ".repeat(20_000))),
    ];
    for (row, text) in texts.into_iter().chain(odd) {
        let faults = load_one(&text).expect_err(row).0;
        assert_eq!(faults.len(), 1, "{row}: {faults:?}");
        assert!(faults[0].message.starts_with("more than "), "{row}: {faults:?}");
    }
}

#[test]
fn a_list_of_thousands_is_no_deep_policy() {
    let names: Vec<String> = (0..5_000).map(|n| format!("Instance::\"ins-{n}\"")).collect();
    let listed = policy(&format!("resource in [{}] && !([[1], [2, 3]].contains([4]))", names.join(", ")));
    let many = (0..500)
        .map(|n| policy("context.generated || (context.reasonGiven)").replace("\"x\"", &format!("\"x{n}\"")));
    let many = many.collect::<String>();
    let told = policy(&format!("context.client == \"{}\" // {}\n", "((||".repeat(500), "((||".repeat(500)));
    for (row, text) in [("listed", listed), ("many", many), ("in strings and comments", told)] {
        assert!(load_one(&text).is_ok(), "{row}");
    }
}

#[test]
fn a_schema_is_no_deeper_either() {
    let deep = |n: usize| format!("entity X {{ x: {}Long{} }};", "Set<".repeat(n), ">".repeat(n));
    let records = |n: usize| format!("entity X {{ x: {}Long{} }};", "{x: ".repeat(n), "}".repeat(n));
    let good = |text: &str| schema(Text { file: "x".as_ref(), text }, &mut Faults::default());
    for shape in [deep, records] {
        let text = shape(DEEPEST - 1);
        assert!(good(&text));
        let read = crate::authz::deep::deep(|| cedar_policy::Schema::from_cedarschema_str(&text).is_ok());
        assert_eq!(read, Some(true));
        assert!(!good(&shape(DEEPEST)));
    }
}
