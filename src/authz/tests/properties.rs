//! What holds of any folder, tried on folders of a few policies made up from parts.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Conditions that validate and that `inquiries` makes true and false; the last may overflow.
const CONDITIONS: [&str; 7] = [
    r#"resource.name == "web-1""#,
    r#"resource.hasTag("env") && resource.getTag("env") == "dev""#,
    r#"context.scopes.contains("zengate:break-glass")"#,
    "context.reasonGiven || context.local.hour < 9",
    r#"context.client != "portal""#,
    "context.generated",
    "context.batchSize + 9223372036854775806 > 0",
];

#[derive(Debug, Clone)]
pub(in crate::authz) struct Part {
    permits: bool,
    when: &'static str,
    unless: Option<&'static str>,
}

/// A folder: the global forbids, then the policies of team a and of team b.
#[derive(Debug, Clone)]
pub(in crate::authz) struct Folder([Vec<Part>; 3]);

const NAMES: [&str; 3] = ["global", "a", "b"];

fn part() -> impl Strategy<Value = Part> {
    (any::<bool>(), select(&CONDITIONS[..]), prop::option::of(select(&CONDITIONS[..])))
        // What is both demanded and excluded never applies, and the validator says so.
        .prop_map(|(permits, when, unless)| Part { permits, when, unless: unless.filter(|u| *u != when) })
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    prop::collection::vec(part(), 0..4)
}

pub(in crate::authz) fn folder() -> impl Strategy<Value = Folder> {
    let global =
        parts().prop_map(|parts| parts.into_iter().map(|part| Part { permits: false, ..part }).collect());
    (global, parts(), parts()).prop_map(|(global, a, b)| Folder([global, a, b]))
}

/// One policy's text, named by its place.
fn text(file: &str, number: usize, part: &Part) -> String {
    let effect = if part.permits { "permit" } else { "forbid" };
    let principal =
        if file == "global" { "principal".to_owned() } else { format!("principal in Team::\"{file}\"") };
    let unless = part.unless.map(|unless| format!(" unless {{ {unless} }}")).unwrap_or_default();
    format!(
        "@id(\"{number}\") {effect} ({principal}, action == Action::\"ResetPassword\", resource) when {{ {} }}{unless};\n",
        part.when
    )
}

impl Folder {
    fn texts(&self) -> [Vec<String>; 3] {
        let of = |file: usize| {
            self.0[file].iter().enumerate().map(|(number, part)| text(NAMES[file], number, part)).collect()
        };
        [of(0), of(1), of(2)]
    }

    pub(in crate::authz) fn loaded(&self) -> PolicyRevision {
        load_texts(&self.texts())
    }
}

fn load_texts([global, a, b]: &[Vec<String>; 3]) -> PolicyRevision {
    load(&global.concat(), &[("a", &a.concat()), ("b", &b.concat())], "").unwrap_or_else(|e| panic!("{e}"))
}

/// Questions of the team that tell the conditions apart.
fn inquiries(team: &str) -> Vec<Inquiry> {
    let about = |bits: u32| {
        let bit = |n: u32| bits >> n & 1 == 1;
        let mut told = instance(None, if bit(0) { &[("env", "dev")] } else { &[] });
        told.name = if bit(1) { "web-1" } else { "web-2" }.into();
        let anyone = Asked::anyone(team.parse().expect("a name"));
        let asked = Asked {
            scopes: if bit(2) { vec!["zengate:break-glass".to_owned()] } else { Vec::new() },
            reason_given: bit(3),
            client: if bit(4) { "portal" } else { "" }.to_owned(),
            generated: bit(2),
            batch_size: if bit(1) && bit(4) { 2 } else { 1 },
            ..anyone
        };
        let about = About::Instance(Arc::new(told));
        Inquiry { action: Action::ResetPassword, asked, about, zone: TimeZone::UTC }
    };
    (0..1 << 5).map(about).collect()
}

/// What is decided, whatever the order that its policies are named in.
fn verdicts(revision: &PolicyRevision, team: &str) -> Vec<Verdict> {
    let sorted = |verdict| match verdict {
        Verdict::Permitted(mut permits) => {
            permits.sort();
            Verdict::Permitted(permits)
        }
        Verdict::Refused(mut forbids) => {
            forbids.sort();
            Verdict::Refused(forbids)
        }
        Verdict::Erred(mut failed) => {
            failed.sort_by(|one, other| one.policy.cmp(&other.policy));
            Verdict::Erred(failed)
        }
    };
    inquiries(team).iter().map(|inquiry| sorted(revision.answer(inquiry))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn one_more_forbid_never_allows(folder in folder(), part in part(), file in 0_usize..2) {
        let mut more = folder.clone();
        more.0[file].push(Part { permits: false, ..part });
        let (before, after) = (verdicts(&folder.loaded(), "a"), verdicts(&more.loaded(), "a"));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(before.permits() || !after.permits(), "{before:?} became {after:?}");
        }
    }

    #[test]
    fn one_team_s_file_decides_nothing_for_another(folder in folder(), other in parts()) {
        let mut changed = folder.clone();
        changed.0[2] = other;
        prop_assert_eq!(verdicts(&folder.loaded(), "a"), verdicts(&changed.loaded(), "a"));
    }

    #[test]
    fn the_order_of_files_and_policies_decides_nothing(folder in folder(), swaps in any::<[(Index, Index); 3]>()) {
        let mut texts = folder.texts();
        for (file, (one, other)) in texts.iter_mut().zip(swaps).filter(|(file, _)| !file.is_empty()) {
let (one, other) = (one.index(file.len()), other.index(file.len()));
            file.swap(one, other);
        }
        let [global, a, b] = texts.map(|file| file.concat());
        let turned = load(&global, &[("b", &b), ("a", &a)], "").unwrap_or_else(|e| panic!("{e}"));
        for team in ["a", "b"] {
            prop_assert_eq!(verdicts(&folder.loaded(), team), verdicts(&turned, team));
        }
    }
}

#[test]
fn the_questions_of_the_properties_are_decided_in_every_way() {
    let permit = Part { permits: true, when: CONDITIONS[4], unless: None };
    let forbid = |when| Part { permits: false, when, unless: None };
    let folder = Folder([vec![forbid(CONDITIONS[0])], vec![permit, forbid(CONDITIONS[1])], Vec::new()]);
    let decided = verdicts(&folder.loaded(), "a");
    assert!(decided.iter().any(Verdict::permits));
    for global in [true, false] {
        let named = |forbids: &[String]| forbids.iter().any(|id| id.starts_with("global/") == global);
        let refused = |verdict: &&Verdict| matches!(verdict, Verdict::Refused(forbids) if named(forbids));
        assert!(decided.iter().any(|verdict| refused(&verdict)), "{global}");
    }
    let overflowing = Folder([vec![forbid(CONDITIONS[6])], Vec::new(), Vec::new()]);
    assert!(verdicts(&overflowing.loaded(), "a").iter().any(|verdict| matches!(verdict, Verdict::Erred(_))));
}
