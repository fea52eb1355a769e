use proptest::prelude::*;

use super::*;
use crate::authz::diff::ledger::{Side, differing};
use crate::authz::diff::trial::reading;
use crate::authz::tests::properties::folder;
use crate::authz::{Holds, Trace};

const ACTION: Action = Action::ResetPassword;

fn instances() -> Vec<Attributes> {
    let made_up = |bits: u8| {
        let mut told = instance(None, if bits & 1 == 1 { &[("env", "dev")] } else { &[] });
        told.id = format!("ins-{bits}").parse().expect("an id");
        told.name = if bits & 2 == 2 { "web-1" } else { "x" }.into();
        told
    };
    (0..4).map(made_up).collect()
}

/// What comes of asking every question of a team, whatever its policies read.
#[derive(Default)]
struct Everything {
    /// By what the policies see of the circumstance, instance, and whether it is gained.
    changed: BTreeSet<(String, String, bool)>,
    unchanged: BTreeSet<(String, String)>,
    /// The keys of policies that apply or err; and those that do where a permit applies.
    applied: BTreeSet<String>,
    applied_beside_a_permit: BTreeSet<String>,
}

fn everything(revisions: [&PolicyRevision; 2], team: &TeamName, circumstances: &Circumstances) -> Everything {
    let sets = revisions.map(|revision| revision.rules(team));
    let reading = reading(ACTION, sets);
    let mut all = Everything::default();
    for circumstance in circumstances.all() {
        let asker = circumstances.asker(circumstance, ACTION, team);
        let name = circumstance.seen(ACTION, &reading).name();
        for told in &instances() {
            let question = asker.about_instance(told);
            let [before, after] = revisions.map(|revision| revision.decide(team, &question).permits());
            let id = told.id.to_string();
            if before == after {
                all.unchanged.insert((name.clone(), id));
            } else {
                all.changed.insert((name.clone(), id, after));
            }
            let traces = [(Side::Old, sets[0]), (Side::New, sets[1])].map(|(side, set)| {
                let traces = set.trace(ACTION, &question).into_iter();
                traces.filter(|trace| trace.applies != Holds::False).map(move |trace| (side, trace)).collect()
            });
            let traces: Vec<(Side, Trace)> = traces.into_iter().flat_map(|traces: Vec<_>| traces).collect();
            let keys = traces.iter().map(|(side, trace)| format!("{side:?} {}", trace.policy));
            all.applied.extend(keys.clone());
            if traces.iter().any(|(_, trace)| trace.effect == cedar_policy::Effect::Permit) {
                all.applied_beside_a_permit.extend(keys);
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_difference_is_found_and_no_other(old in folder(), new in folder()) {
        let (old, new) = (old.loaded(), new.loaded());
        let circumstances = Circumstances { scopes: vec!["zengate:break-glass".to_owned()], ..circumstances() };
        let differences = compare([&old, &new], &instances(), &circumstances, QUIET);
        let (mut applied, mut beside_a_permit) = (BTreeSet::new(), BTreeSet::new());
        let mut keys = BTreeSet::new();
        for team in ["a", "b"].map(|team| team.parse::<TeamName>().expect("a name")) {
            let expected = everything([&old, &new], &team, &circumstances);
            let sets = [&old, &new].map(|revision| revision.rules(&team));
            let apart = circumstances.told_apart(ACTION, &reading(ACTION, sets));
            let mut found = BTreeSet::new();
            for Change { gained, only, on, .. } in differences.changes.iter().filter(|change| change.team == team) {
                let names = apart.iter().map(|one| one.name()).filter(|name| only.is_empty() || only.contains(name));
                found.extend(names.flat_map(|name| on.iter().map(move |id| (name.clone(), id.clone(), *gained))));
            }
            prop_assert_eq!(&found, &expected.changed);
            let both = found.into_iter().filter(|(name, id, _)| expected.unchanged.contains(&(name.clone(), id.clone())));
            prop_assert_eq!(both.count(), 0, "circumstances that are not told apart are decided alike");
            applied.extend(expected.applied);
            beside_a_permit.extend(expected.applied_beside_a_permit);
            keys.extend(differing(sets).into_iter().map(|(key, _)| key.to_string()));
        }
        let unreached = differences.unreached.iter().map(|Unreached { policy, version, .. }| match version {
            Version::Added | Version::Changed => format!("{:?} {policy}", Side::New),
            Version::Removed | Version::Before => format!("{:?} {policy}", Side::Old),
        });
        let unreached: BTreeSet<String> = unreached.collect();
        prop_assert!(unreached.is_subset(&keys), "{unreached:?} differ");
        prop_assert!(unreached.is_disjoint(&beside_a_permit), "{unreached:?} apply to nothing that could be permitted");
        let reached: BTreeSet<String> = keys.difference(&unreached).cloned().collect();
        prop_assert!(reached.is_subset(&applied), "{reached:?} apply to something");
    }
}
