use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use cedar_policy::{Policy, PolicyId};

use super::reading::Reading;
use crate::authz::{PolicyRevision, Rule, RuleSet};

/// The policies that only one of two revisions has in these words, and which of them any question was about.
pub(super) struct Ledger<'r>(BTreeMap<PolicyId, Entry<'r>>);

/// A policy that differs.
pub(super) struct Entry<'r> {
    pub(super) set: &'r RuleSet,
    pub(super) rule: &'r Rule,
    side: Side,
    /// It applied to something that was asked, or erred on it.
    reached: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

/// A policy that differs and applied to nothing asked: what it gives or takes is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    pub policy: String,
    pub version: Version,
    /// `context.client`, `principal`, `resource`; what would have to be asked otherwise.
    pub reads: Vec<String>,
}

/// Which version of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Added,
    Removed,
    Changed,
    /// That before the change.
    Before,
}

impl<'r> Ledger<'r> {
    pub(super) fn of(revisions: [&'r PolicyRevision; 2]) -> Self {
        let [old, new] = revisions;
        let teams = old.teams.keys().chain(new.teams.keys());
        // The global policies on their own too: there may be no team.
        let sets = teams.map(|team| revisions.map(|revision| revision.rules(team)));
        let sets = sets.chain([[&old.others, &new.others]]);
        Self(sets.flat_map(differing).collect())
    }

    /// Where a policy of this side stands in the ledger: ids are the same on both.
    pub(super) fn key(side: Side, rule: &Rule) -> PolicyId {
        PolicyId::new(format!("{side:?} {}", rule.id))
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &'r Rule> {
        self.0.values().map(|entry| entry.rule)
    }

    /// The policy applied to what was asked, or erred on it.
    pub(super) fn reach(&self, key: &PolicyId) {
        if let Some(entry) = self.0.get(key) {
            entry.reached.store(true, Ordering::Relaxed);
        }
    }

    /// In the order of their names.
    pub(super) fn unreached(&self) -> Vec<Unreached> {
        let entries = self.0.values().filter(|entry| !entry.reached.load(Ordering::Relaxed));
        let unreached = entries.map(|entry| Unreached {
            policy: entry.rule.id.to_string(),
            version: self.version(entry),
            reads: Reading::of(entry.policy()).into_names(),
        });
        let mut unreached: Vec<_> = unreached.collect();
        unreached.sort_by(|one, other| one.policy.cmp(&other.policy));
        unreached
    }

    fn version(&self, entry: &Entry<'_>) -> Version {
        let on = |side| self.0.contains_key(&Self::key(side, entry.rule));
        match entry.side {
            Side::New if on(Side::Old) => Version::Changed,
            Side::New => Version::Added,
            Side::Old if on(Side::New) => Version::Before,
            Side::Old => Version::Removed,
        }
    }
}

impl Entry<'_> {
    pub(super) fn policy(&self) -> &Policy {
        self.set.policy(self.rule)
    }
}

/// The policies of either set that the other does not have in the same words, each with its key.
pub(super) fn differing<'r>([old, new]: [&'r RuleSet; 2]) -> Vec<(PolicyId, Entry<'r>)> {
    let only = |side, here: &'r RuleSet, there: &'r RuleSet| {
        let differs = |rule: &&Rule| {
            there.policies.policy(&rule.id).is_none_or(|other| !same(here.policy(rule), other))
        };
        let entry = move |rule| {
            let entry = Entry { set: here, rule, side, reached: AtomicBool::new(false) };
            (Ledger::key(side, rule), entry)
        };
        here.order.iter().filter(differs).map(entry).collect::<Vec<_>>()
    };
    only(Side::Old, old, new).into_iter().chain(only(Side::New, new, old)).collect()
}

/// Whether they decide by the same words, however these are laid out and annotated.
fn same(one: &Policy, other: &Policy) -> bool {
    if one.to_cedar() == other.to_cedar() {
        return true;
    }
    let (Ok(one), Ok(other)) = (one.to_pst(), other.to_pst()) else { return false };
    let (one, other) = (one.body(), other.body());
    (one.effect, &one.principal, &one.action, &one.resource, one.clauses())
        == (other.effect, &other.principal, &other.action, &other.resource, other.clauses())
}

/// `changed, and applied to nothing asked: web/own (reads context.client)`
impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.version {
            Version::Added => "added, and",
            Version::Removed => "removed, and",
            Version::Changed => "changed, and",
            Version::Before => "changed, and before that",
        };
        let reads = if self.reads.is_empty() { "nothing".to_owned() } else { self.reads.join(", ") };
        write!(f, "{what} applied to nothing asked: {} (reads {reads})", self.policy)
    }
}
