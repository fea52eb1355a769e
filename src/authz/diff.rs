//! What a change of the policies gives to whom, and takes from whom, instance by instance.

mod circumstances;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy::{Authorizer, Effect, Entities, PolicyId, PolicySet};

use super::parallel::{self, Progress};
use super::question::{self, Asker, Question};
use super::terms::{Book, Terms, Tried};
use super::{Action, PolicyRevision, Rule, RuleSet};
use crate::domain::{InstanceId, TeamName};
use crate::inventory::Attributes;

pub use circumstances::Circumstances;

/// The actions on instances.
const ACTIONS: [Action; 2] = [Action::ResetPassword, Action::ViewInstance];

/// What one team gains or loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub team: TeamName,
    pub action: Action,
    pub gained: bool,
    /// Under which circumstances; empty: under all that were asked.
    pub only: Vec<String>,
    /// Sorted; at least one.
    pub instances: Vec<InstanceId>,
}

/// The questions of one team whose policies differ.
struct Trial<'r> {
    team: &'r TeamName,
    /// The policies that only one of the two revisions has.
    changed: PolicySet,
    /// What each of them asks of an instance before it can apply or err, and what each permit asks: numbers of a book.
    changed_terms: HashSet<usize>,
    permit_terms: HashSet<usize>,
    /// By action; by circumstance, with its name.
    askers: [Vec<(String, Asker)>; ACTIONS.len()],
}

/// How one instance is decided on differently: the numbers of the action and of the circumstances.
struct Differing {
    action: usize,
    gained: bool,
    circumstances: Vec<usize>,
}

/// Everything on which the two revisions decide differently, by team.
pub fn compare(
    revisions: [&PolicyRevision; 2],
    instances: &[Attributes],
    circumstances: &Circumstances,
    progress: &Progress<'_>,
) -> Vec<Change> {
    let mut book = Book::default();
    let teams: BTreeSet<&TeamName> = revisions.iter().flat_map(|revision| revision.teams.keys()).collect();
    let trials = teams.into_iter().filter_map(|team| Trial::of(revisions, team, circumstances, &mut book));
    let trials: Vec<Trial<'_>> = trials.collect();
    let anyone = Asker::anyone();
    let found = parallel::map(&parallel::shares(instances), progress, |share| {
        let mut found = Vec::new();
        for told in *share {
            let question = anyone.about_instance(told);
            let mut tried = book.on(&question);
            for trial in trials.iter().filter(|trial| trial.concerns(&mut tried)) {
                let differing = trial.differing(revisions, told);
                found.extend(differing.into_iter().map(|differing| (trial, differing, &told.id)));
            }
        }
        found
    });
    let mut changes: BTreeMap<_, BTreeSet<&InstanceId>> = BTreeMap::new();
    for (trial, Differing { action, gained, circumstances }, id) in found.into_iter().flatten() {
        // Gains come before losses.
        let change = (trial.team, action, !gained, trial.names(action, &circumstances));
        changes.entry(change).or_default().insert(id);
    }
    let change = |((team, action, lost, only), ids): ((&TeamName, usize, bool, _), BTreeSet<&InstanceId>)| {
        let instances = ids.into_iter().cloned().collect();
        Change { team: team.clone(), action: ACTIONS[action], gained: !lost, only, instances }
    };
    changes.into_iter().map(change).collect()
}

impl<'r> Trial<'r> {
    /// None when nothing that binds the team has changed.
    fn of(
        revisions: [&'r PolicyRevision; 2],
        team: &'r TeamName,
        circumstances: &Circumstances,
        book: &mut Book<'r>,
    ) -> Option<Self> {
        let [old, new] = revisions.map(|revision| revision.rules(team));
        let sides = [("old", old, only(old, new)), ("new", new, only(new, old))];
        let (mut changed, mut changed_terms) = (PolicySet::new(), HashSet::new());
        for (side, set, rules) in &sides {
            for rule in rules {
                changed_terms.insert(book.number(Terms::leading(set.conditions(rule))));
                let id = PolicyId::new(format!("{side} {}", rule.id));
                changed
                    .add(set.policy(rule).new_id(id))
                    .expect("the ids of a side differ, and the sides too");
            }
        }
        let permits = [old, new].into_iter().flat_map(|set| set.order.iter().map(move |rule| (set, rule)));
        let permits = permits.filter(|(_, rule)| rule.effect == Effect::Permit);
        let permit_terms = permits.map(|(set, rule)| book.number(Terms::all(set.conditions(rule)))).collect();
        let askers = ACTIONS.map(|action| circumstances.askers(action, team));
        (!changed.is_empty()).then_some(Self { team, changed, changed_terms, permit_terms, askers })
    }

    /// Without a permit that may apply both revisions refuse; without a changed policy that may apply or err they
    /// decide alike. This spares most teams most instances.
    fn concerns(&self, tried: &mut Tried<'_, '_>) -> bool {
        self.changed_terms.iter().any(|terms| tried.may_apply(*terms))
            && self.permit_terms.iter().any(|terms| tried.may_apply(*terms))
    }

    fn differing(&self, revisions: [&PolicyRevision; 2], told: &Attributes) -> Vec<Differing> {
        let instance = question::instance(told);
        let id = instance.uid();
        // The user is the same in all of them.
        let entities: Entities = self.askers[0][0].1.with(instance);
        let mut found = Vec::new();
        for (action, askers) in self.askers.iter().enumerate() {
            let (mut gains, mut losses) = (Vec::new(), Vec::new());
            for (number, (_, asker)) in askers.iter().enumerate() {
                let question = asker.question(id.clone(), entities.clone());
                if self.untouched(&question) {
                    continue;
                }
                match revisions.map(|revision| revision.decide(self.team, &question).permits()) {
                    [false, true] => gains.push(number),
                    [true, false] => losses.push(number),
                    [true, true] | [false, false] => {}
                }
            }
            let differing = [(true, gains), (false, losses)].into_iter();
            let differing = differing.filter(|(_, circumstances)| !circumstances.is_empty());
            found.extend(differing.map(|(gained, circumstances)| Differing {
                action,
                gained,
                circumstances,
            }));
        }
        found
    }

    /// A decision hangs on which policies apply and which err: where none of the changed ones does either, the two
    /// revisions decide alike.
    fn untouched(&self, question: &Question) -> bool {
        let answer = Authorizer::new().is_authorized(&question.request, &self.changed, &question.entities);
        answer.diagnostics().reason().next().is_none() && answer.diagnostics().errors().next().is_none()
    }

    /// No name for all of them.
    fn names(&self, action: usize, circumstances: &[usize]) -> Vec<String> {
        let askers = &self.askers[action];
        let all = circumstances.len() == askers.len();
        let names = circumstances.iter().map(|number| askers[*number].0.clone());
        if all { Vec::new() } else { names.collect() }
    }
}

/// The rules of `here` that are not there in the same words.
fn only<'r>(here: &'r RuleSet, there: &RuleSet) -> Vec<&'r Rule> {
    let same = |rule: &Rule| {
        let other = there.policies.policy(&rule.id);
        other.is_some_and(|other| other.to_cedar() == here.policy(rule).to_cedar())
    };
    here.order.iter().filter(|rule| !same(rule)).collect()
}

#[cfg(test)]
mod tests;
