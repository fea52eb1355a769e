use cedar_policy::{
    Authorizer, Effect, EvalResult, Expression, Policy, PolicySet, Response, eval_expression, pst,
};

use super::question::{Action, Question};
use super::terms::Reads;
use super::{RuleSet, Unevaluated};

/// How one policy fares on a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub policy: String,
    pub effect: Effect,
    /// Whether it applies; never [`Holds::NotReached`].
    pub applies: Holds,
    /// In Cedar's own normal form, in their order.
    pub conditions: Vec<(String, Holds)>,
}

/// How a condition fares on a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    True,
    False,
    /// It cannot be evaluated, though all before it hold.
    Erred(String),
    /// One before it does not hold, and without that it cannot be evaluated.
    NotReached,
}

/// What must hold for a policy to apply, one condition after the other, as a refusal shows them.
///
/// The conditions together are the policy: a `when` is taken apart at its `&&`, an `unless` at its `||`, each part
/// turned round. Since a part is looked at only when all before it hold, one that needs an earlier one
/// (`hasTag` before `getTag`) never errs for want of it.
#[derive(Default)]
pub(super) struct Conditions(Vec<Condition>);

/// One of them.
pub(super) struct Condition {
    /// In Cedar's own normal form.
    pub(super) text: String,
    expression: Expression,
    pub(super) reads: Reads,
}

impl RuleSet {
    /// How each policy fares that speaks of the action, in the order of the files.
    pub(super) fn trace(&self, action: Action, question: &Question) -> Vec<Trace> {
        let traces = self.speaking_of(action).map(|rule| Trace {
            policy: rule.id.to_string(),
            effect: rule.effect,
            applies: applies(self.policy(rule), question),
            conditions: self.conditions(rule).evaluated(question),
        });
        traces.collect()
    }
}

/// Asks the authorizer, as a decision does, of this policy alone.
fn applies(policy: &Policy, question: &Question) -> Holds {
    let mut alone = PolicySet::new();
    alone.add(policy.clone()).expect("it is the only one");
    let answer: Response = Authorizer::new().is_authorized(&question.request, &alone, &question.entities);
    let diagnostics = answer.diagnostics();
    match diagnostics.errors().next() {
        Some(error) => Holds::Erred(Unevaluated::of(error).why),
        None if diagnostics.reason().next().is_some() => Holds::True,
        None => Holds::False,
    }
}

impl Conditions {
    /// None of a policy that cannot be taken apart: it is shown without a condition then.
    pub(super) fn of(policy: &Policy) -> Self {
        let parts = policy.to_pst().ok().and_then(|policy| {
            let parsed = parts(policy.body()).into_iter().map(|(text, reads)| {
                let expression = text.parse().ok()?;
                Some(Condition { text, expression, reads })
            });
            parsed.collect()
        });
        Self(parts.unwrap_or_default())
    }

    /// The first that does not hold.
    pub(super) fn first_false(&self, question: &Question) -> Option<&str> {
        let unmet = |condition: &&Condition| condition.holds(question) != Holds::True;
        self.0.iter().find(unmet).map(|condition| condition.text.as_str())
    }

    /// In their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }

    /// Each, those after the first that does not hold too.
    fn evaluated(&self, question: &Question) -> Vec<(String, Holds)> {
        let mut all_before = true;
        let evaluated = self.0.iter().map(|condition| {
            let held = match condition.holds(question) {
                Holds::Erred(_) if !all_before => Holds::NotReached,
                held => held,
            };
            all_before &= held == Holds::True;
            (condition.text.clone(), held)
        });
        evaluated.collect()
    }
}

impl Condition {
    pub(super) fn holds(&self, question: &Question) -> Holds {
        match eval_expression(&question.request, &question.entities, &self.expression) {
            Ok(EvalResult::Bool(true)) => Holds::True,
            Ok(EvalResult::Bool(false)) => Holds::False,
            Ok(other) => Holds::Erred(format!("is {other}, neither true nor false")),
            Err(error) => Holds::Erred(error.to_string()),
        }
    }
}

/// Each condition's text, and what it reads.
fn parts(body: &pst::Template) -> Vec<(String, Reads)> {
    let mut parts: Vec<(String, Reads)> = [
        ("principal", body.principal.to_string(), Reads::Asker),
        ("action", body.action.to_string(), Reads::Asker),
        ("resource", body.resource.to_string(), Reads::Resource),
    ]
    .into_iter()
    .filter(|(_, constraint, _)| !constraint.is_empty())
    .map(|(name, constraint, reads)| (format!("{name} {constraint}"), reads))
    .collect();
    for clause in body.clauses() {
        match clause {
            pst::Clause::When(condition) => split(condition, pst::BinaryOp::And, &mut |part| {
                parts.push((part.to_string(), Reads::of(part)));
            }),
            pst::Clause::Unless(condition) => split(condition, pst::BinaryOp::Or, &mut |part| {
                parts.push((format!("!({part})"), Reads::of(part)));
            }),
        }
    }
    parts
}

fn split(condition: &pst::Expr, at: pst::BinaryOp, part: &mut impl FnMut(&pst::Expr)) {
    match condition {
        pst::Expr::BinaryOp { op, left, right } if *op == at => {
            split(left, at, part);
            split(right, at, part);
        }
        whole => part(whole),
    }
}
