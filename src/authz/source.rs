use std::ops::Range;
use std::path::{Path, PathBuf};

use cedar_policy::{
    Effect, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ValidationMode, Validator,
};

use super::bounds;
use super::fault::{Faults, Text};
use super::scan::{self, Parts};
use super::{Place, RuleSet};
use crate::domain::TeamName;

/// Characters of the longest `@id`.
const LONGEST_ID: usize = 128;

/// A `.cedar` file, parsed; every policy is named `<stem>/<@id>`.
pub(super) struct Source {
    file: PathBuf,
    text: String,
    pub(super) policies: Vec<Placed>,
}

/// A policy, and where it stands in its file.
pub(super) struct Placed {
    pub(super) policy: Policy,
    span: Range<usize>,
}

impl Source {
    /// None when it is no Cedar, or past a bound. A policy without a name of its own is numbered, so that its other
    /// faults are told too.
    pub(super) fn parse(file: &Path, stem: &str, text: String, faults: &mut Faults) -> Option<Self> {
        let told = Text { file, text: &text };
        if !bounds::policies(told, faults) {
            return None;
        }
        let set: PolicySet = match text.parse() {
            Ok(set) => set,
            Err(e) => {
                faults.diagnostic(told, None, &e);
                return None;
            }
        };
        let mut policies: Vec<Placed> = Vec::new();
        for (number, (policy, span)) in (1..).zip(statements(&text, &set)) {
            let head = part(&text, &span, |parts| span.start..parts.effect.end);
            let Some(policy) = policy else {
                faults.at(
                    told,
                    &head,
                    "this is a template (?principal or ?resource); policies must be whole",
                );
                continue;
            };
            let named = policy.annotation("id").filter(|id| !id.trim().is_empty());
            if named.is_none() {
                faults.at(told, &head, "the policy has no @id(\"…\")");
            }
            // It stands in records and answers as it is.
            if named.is_some_and(|id| id.chars().count() > LONGEST_ID || id.chars().any(char::is_control)) {
                let fault =
                    format!("an @id has at most {LONGEST_ID} characters, none of them a control character");
                faults.at(told, &head, fault);
                continue;
            }
            let name = named.map_or_else(|| format!("(policy {number})"), str::to_owned);
            let id = PolicyId::new(format!("{stem}/{name}"));
            if policies.iter().any(|other| *other.policy.id() == id) {
                faults.at(told, &head, format!("two policies share the @id {id}"));
                continue;
            }
            policies.push(Placed { policy: policy.new_id(id), span });
        }
        Some(Self { file: file.to_owned(), text, policies })
    }

    /// Where each policy of the file says what it does.
    pub(super) fn places(&self) -> impl Iterator<Item = (PolicyId, (PathBuf, Place))> {
        self.policies.iter().map(|Placed { policy, span }| {
            let place = Place::of(&self.text, &part(&self.text, span, |parts| parts.effect));
            (policy.id().clone(), (self.file.clone(), place))
        })
    }

    /// global.cedar binds every team, and gives nothing to any.
    pub(super) fn forbids_only(&self, faults: &mut Faults) {
        for Placed { policy, span } in &self.policies {
            if policy.effect() == Effect::Permit {
                let id = policy.id();
                let message =
                    format!("{id} is a permit: global.cedar may only forbid; permits belong to a team");
                faults.at(self.told(), &part(&self.text, span, |parts| parts.effect), message);
            }
        }
    }

    /// A team's file speaks of that team's principals alone.
    pub(super) fn own_team_only(&self, team: &TeamName, faults: &mut Faults) {
        let kind: EntityTypeName = "Team".parse().expect("a type of the schema");
        let own = EntityUid::from_type_name_and_id(kind, EntityId::new(team.as_str()));
        for Placed { policy, span } in &self.policies {
            let scoped = match policy.principal_constraint() {
                PrincipalConstraint::In(scope) => scope == own,
                PrincipalConstraint::Any => policy.effect() == Effect::Forbid,
                _ => false,
            };
            if !scoped {
                let id = policy.id();
                let message =
                    format!("{id}: its scope must be `principal in Team::\"{team}\"`, the file's own team");
                faults.at(self.told(), &part(&self.text, span, |parts| parts.principal), message);
            }
        }
    }

    /// Cedar's warnings (a condition that can never hold, say) are faults here.
    pub(super) fn validate(&self, validator: &Validator, faults: &mut Faults) {
        let set = RuleSet::of([self]);
        let result = validator.validate(&set.policies, ValidationMode::Strict);
        let span_of = |id: &PolicyId| {
            self.policies.iter().find(|placed| placed.policy.id() == id).map(|placed| &placed.span)
        };
        // Cedar gives them in any order, and of one span only the first is kept.
        let mut errors: Vec<_> = result.validation_errors().collect();
        errors.sort_by_cached_key(ToString::to_string);
        errors.iter().for_each(|e| faults.diagnostic(self.told(), span_of(e.policy_id()), *e));
        for warning in result.validation_warnings() {
            faults.diagnostic(self.told(), span_of(warning.policy_id()), warning);
        }
    }

    fn told(&self) -> Text<'_> {
        Text { file: &self.file, text: &self.text }
    }
}

/// The policies of a text in its order, with their places; None for a template.
fn statements(text: &str, set: &PolicySet) -> Vec<(Option<Policy>, Range<usize>)> {
    // Cedar names them policy0, policy1, … in their order.
    let number = |id: &PolicyId| id.to_string().trim_start_matches("policy").parse::<usize>().ok();
    let policies = set.policies().map(|policy| {
        let own = policy.to_cedar().expect("it was parsed from text and has no slots");
        (number(policy.id()), own, Some(policy.clone()))
    });
    let templates = set.templates().map(|template| (number(template.id()), template.to_cedar(), None));
    let mut all: Vec<_> = policies.chain(templates).collect();
    all.sort_by_key(|(number, ..)| *number);
    let spans = scan::spans(text, all.iter().map(|(_, own, _)| own.as_str()));
    all.into_iter().map(|(.., policy)| policy).zip(spans).collect()
}

/// A part of the policy at `span`.
fn part(text: &str, span: &Range<usize>, of: impl FnOnce(Parts) -> Range<usize>) -> Range<usize> {
    Parts::of(text, span).map_or(span.clone(), of)
}
