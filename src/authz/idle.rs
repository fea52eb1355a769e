//! Permits that no instance of an inventory can meet: a tag that is misspelt, a group that is gone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cedar_policy::{Effect, EntityTypeName, Policy, PolicyId, ResourceConstraint};

use super::parallel::{self, Progress};
use super::question::{Asker, Question};
use super::terms::{Book, Terms};
use super::{Action, PolicyFault, PolicyRevision, Rule};
use crate::inventory::Attributes;

/// Permits that ask the same of an instance.
struct Group<'r> {
    terms: Terms<'r>,
    permits: Vec<&'r PolicyId>,
    /// An instance was found that they may apply to.
    met: AtomicBool,
    /// The number of the last condition that an instance failed by which meets those before it.
    furthest: AtomicUsize,
}

impl PolicyRevision {
    /// The permits of instances that no instance meets, whoever asks and however.
    ///
    /// A permit is judged by those of its conditions that hang on the instance alone, and one that cannot be
    /// evaluated counts as met: no permit is named that could permit something.
    pub fn idle(&self, instances: &[Attributes], progress: &Progress<'_>) -> Vec<PolicyFault> {
        let groups = self.groups();
        let asker = Asker::anyone();
        parallel::map(&parallel::shares(instances), progress, |share| {
            if groups.iter().all(Group::is_met) {
                return;
            }
            let questions: Vec<Question> = share.iter().map(|told| asker.about_instance(told)).collect();
            groups.iter().filter(|group| !group.is_met()).for_each(|group| group.try_on(&questions));
        });
        let idle = groups.iter().filter(|group| !instances.is_empty() && !group.is_met());
        let mut idle: Vec<PolicyFault> = idle.flat_map(|group| self.faults(group)).collect();
        idle.sort_by(PolicyFault::in_order);
        idle
    }

    fn groups(&self) -> Vec<Group<'_>> {
        let (mut book, mut permits) = (Book::default(), Vec::new());
        for set in self.teams.values() {
            for rule in set.order.iter().filter(|rule| rule.effect == Effect::Permit) {
                if of_instances(rule, set.policy(rule)) {
                    let number = book.number(Terms::all(set.conditions(rule)));
                    permits.resize_with(permits.len().max(number + 1), Vec::new);
                    permits[number].push(&rule.id);
                }
            }
        }
        let groups = book.into_terms().into_iter().zip(permits);
        let group = |(terms, permits)| Group {
            terms,
            permits,
            met: AtomicBool::new(false),
            furthest: AtomicUsize::new(0),
        };
        groups.map(group).collect()
    }

    fn faults(&self, group: &Group<'_>) -> impl Iterator<Item = PolicyFault> {
        let furthest = group.furthest.load(Ordering::Relaxed);
        let conditions = if furthest == 0 { "condition" } else { "conditions up to" };
        let unmet = format!("no instance meets its {conditions} `{}`", group.terms.text(furthest));
        group.permits.iter().filter_map(move |id| {
            let (file, place) = self.places.get(*id)?.clone();
            Some(PolicyFault { file, place: Some(place), message: format!("{id}: {unmet}") })
        })
    }
}

impl Group<'_> {
    fn is_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    fn try_on(&self, questions: &[Question]) {
        for question in questions {
            match self.terms.first_false(question) {
                Some(number) => _ = self.furthest.fetch_max(number, Ordering::Relaxed),
                None => return self.met.store(true, Ordering::Relaxed),
            }
        }
    }
}

/// Whether the permit speaks of instances alone. One of any action may be there for what a team owns.
fn of_instances(rule: &Rule, policy: &Policy) -> bool {
    let on_instances = |name: &String| name.parse().is_ok_and(Action::is_of_instances);
    let team: EntityTypeName = "Team".parse().expect("a type of the schema");
    rule.actions.as_ref().is_some_and(|names| names.iter().all(on_instances))
        || match policy.resource_constraint() {
            ResourceConstraint::Any => false,
            ResourceConstraint::In(id) | ResourceConstraint::Eq(id) => *id.type_name() != team,
            ResourceConstraint::Is(kind) | ResourceConstraint::IsIn(kind, _) => kind != team,
        }
}

#[cfg(test)]
mod tests;
