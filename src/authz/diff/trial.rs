use std::collections::HashSet;

use cedar_policy::{AuthorizationError, Authorizer, Effect, Entity, PolicyId, PolicySet};

use super::circumstances::{Circumstance, Circumstances};
use super::ledger::{Entry, Ledger, differing};
use super::reading::Reading;
use crate::authz::question::{self, Asker, Question};
use crate::authz::terms::{Book, Terms, Tried};
use crate::authz::{Action, Owner, PolicyRevision, RuleSet};
use crate::domain::TeamName;
use crate::inventory::Attributes;

/// The questions of one team whose policies differ.
pub(super) struct Trial<'r> {
    team: &'r TeamName,
    revisions: [&'r PolicyRevision; 2],
    /// The policies that differ, permits and forbids apart: where a forbid applies Cedar names no permit that does too.
    changed: [PolicySet; 2],
    /// What each of them asks of an instance before it can apply or err, and what each permit asks: numbers of a book.
    changed_terms: HashSet<usize>,
    permit_terms: HashSet<usize>,
    /// Of the actions that they speak of.
    asks: Vec<Ask>,
}

/// An action, with all circumstances that the team's policies can tell apart, by name.
struct Ask {
    action: Action,
    askers: Vec<(String, Asker)>,
}

/// What a question is about.
#[derive(Clone, Copy)]
pub(super) enum Subject<'t> {
    Instance(&'t Attributes),
    /// Whose resets or records are read.
    Owner(&'t Owner),
}

/// Where the two revisions decide differently.
pub(super) struct Found<'t> {
    pub(super) team: &'t TeamName,
    pub(super) action: Action,
    pub(super) gained: bool,
    /// Under which circumstances; empty: under all that were asked.
    pub(super) only: Vec<&'t str>,
    pub(super) on: &'t str,
}

impl<'r> Trial<'r> {
    /// None when nothing that binds the team has changed.
    pub(super) fn of(
        revisions: [&'r PolicyRevision; 2],
        team: &'r TeamName,
        circumstances: &Circumstances,
        book: &mut Book<'r>,
    ) -> Option<Self> {
        let sets = revisions.map(|revision| revision.rules(team));
        let differing = differing(sets);
        if differing.is_empty() {
            return None;
        }
        let changed_terms = differing
            .iter()
            .map(|(_, Entry { set, rule, .. })| book.number(Terms::leading(set.conditions(rule))));
        let changed_terms = changed_terms.collect();
        let rules = sets.into_iter().flat_map(|set| set.order.iter().map(move |rule| (set, rule)));
        let permits = rules.filter(|(_, rule)| rule.effect == Effect::Permit);
        let permit_terms = permits.map(|(set, rule)| book.number(Terms::all(set.conditions(rule)))).collect();
        let spoken_of = |action: &Action| differing.iter().any(|(_, entry)| entry.rule.speaks_of(*action));
        let asks = Action::ALL.into_iter().filter(spoken_of);
        let asks = asks.map(|action| Ask::of(action, team, sets, circumstances)).collect();
        Some(Self { team, revisions, changed: apart(&differing), changed_terms, permit_terms, asks })
    }

    /// Without a permit that may apply both revisions refuse; without a changed policy that may apply or err they
    /// decide alike. This spares most teams most instances.
    pub(super) fn concerns(&self, tried: &mut Tried<'_, '_>) -> bool {
        self.asks.iter().any(|ask| ask.action.is_of_instances())
            && self.changed_terms.iter().any(|terms| tried.may_apply(*terms))
            && self.permit_terms.iter().any(|terms| tried.may_apply(*terms))
    }

    /// How the two revisions decide differently on it.
    pub(super) fn on<'t>(&'t self, subject: Subject<'t>, ledger: &Ledger<'_>) -> Vec<Found<'t>> {
        let asks = self.asks.iter().filter(|ask| subject.takes(ask.action));
        let mut asks = asks.peekable();
        // The user is the same in all of them.
        let Some(first) = asks.peek().and_then(|ask| ask.askers.first()) else { return Vec::new() };
        let resource = subject.entity();
        let id = resource.uid();
        let entities = first.1.with(resource);
        let found = asks.flat_map(|ask| {
            let questions = ask
                .askers
                .iter()
                .map(|(name, asker)| (name.as_str(), asker.question(id.clone(), entities.clone())));
            let [gains, losses] = self.gains_and_losses(ask.action, subject, questions, ledger);
            [(true, gains), (false, losses)].into_iter().filter_map(|(gained, names)| {
                let only = ask.only(names)?;
                Some(Found { team: self.team, action: ask.action, gained, only, on: subject.name() })
            })
        });
        found.collect()
    }

    /// The names of the questions to which only the new revision says yes, and of those to which only the old one does.
    fn gains_and_losses<'t>(
        &self,
        action: Action,
        subject: Subject<'_>,
        questions: impl Iterator<Item = (&'t str, Question)>,
        ledger: &Ledger<'_>,
    ) -> [Vec<&'t str>; 2] {
        let (mut gains, mut losses) = (Vec::new(), Vec::new());
        for (name, question) in questions {
            if !self.touched(&question, ledger) {
                continue;
            }
            match self.revisions.map(|revision| self.permits(revision, action, subject, &question)) {
                [false, true] => gains.push(name),
                [true, false] => losses.push(name),
                [true, true] | [false, false] => {}
            }
        }
        [gains, losses]
    }

    fn permits(
        &self,
        revision: &PolicyRevision,
        action: Action,
        subject: Subject<'_>,
        question: &Question,
    ) -> bool {
        match subject {
            Subject::Instance(_) => revision.decide(self.team, question).permits(),
            Subject::Owner(owner) => revision.decide_of_owner(action, self.team, owner, question).permits(),
        }
    }

    /// A decision hangs on which policies apply and which err: where none of the changed ones does either, the two
    /// revisions decide alike.
    fn touched(&self, question: &Question, ledger: &Ledger<'_>) -> bool {
        let mut touched = false;
        for set in self.changed.iter().filter(|set| !set.is_empty()) {
            let answer = Authorizer::new().is_authorized(&question.request, set, &question.entities);
            for AuthorizationError::PolicyEvaluationError(error) in answer.diagnostics().errors() {
                ledger.reach(error.policy_id());
                touched = true;
            }
            for policy in answer.diagnostics().reason() {
                ledger.reach(policy);
                touched = true;
            }
        }
        touched
    }
}

/// Permits and forbids, under the ledger's keys.
fn apart(differing: &[(PolicyId, Entry<'_>)]) -> [PolicySet; 2] {
    [Effect::Permit, Effect::Forbid].map(|effect| {
        let of_effect = differing.iter().filter(|(_, entry)| entry.rule.effect == effect);
        let policies = of_effect.map(|(key, entry)| entry.policy().new_id(key.clone()));
        PolicySet::from_policies(policies).expect("keys differ")
    })
}

impl Ask {
    fn of(action: Action, team: &TeamName, sets: [&RuleSet; 2], circumstances: &Circumstances) -> Self {
        let reading = reading(action, sets);
        let apart = circumstances.told_apart(action, &reading).into_iter();
        let asker = |one: Circumstance<'_>| (one.name(), circumstances.asker(one, action, team));
        Self { action, askers: apart.map(asker).collect() }
    }

    /// No name for all of them; None for none.
    fn only<'t>(&self, names: Vec<&'t str>) -> Option<Vec<&'t str>> {
        match names.len() {
            0 => None,
            all if all == self.askers.len() => Some(Vec::new()),
            _ => Some(names),
        }
    }
}

/// What the policies that speak of the action read. The unchanged ones count too: a new permit may fit only where an
/// old forbid does not apply.
pub(super) fn reading(action: Action, sets: [&RuleSet; 2]) -> Reading {
    let policies = sets.into_iter().flat_map(|set| set.speaking_of(action).map(|rule| set.policy(rule)));
    policies.map(Reading::of).fold(Reading::default(), Reading::and)
}

impl<'t> Subject<'t> {
    /// Whether the action is asked of it.
    fn takes(self, action: Action) -> bool {
        match self {
            Self::Instance(_) => action.is_of_instances(),
            Self::Owner(Owner::Team(_)) => !action.is_of_instances(),
            Self::Owner(Owner::Gateway) => action == Action::ViewAudit,
        }
    }

    fn entity(self) -> Entity {
        match self {
            Self::Instance(told) => question::instance(told),
            Self::Owner(owner) => question::owner(owner),
        }
    }

    fn name(self) -> &'t str {
        match self {
            Self::Instance(told) => told.id.as_str(),
            Self::Owner(owner) => owner.as_str(),
        }
    }
}
