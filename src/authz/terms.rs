//! What policies ask of the resource alone: it is the same whoever asks, so it is tried once for all.

use std::collections::HashMap;

use cedar_policy::pst;

use super::explain::{Condition, Conditions, Holds};
use super::question::Question;

/// What the value of a condition hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// In the scope: who asks, and for what. Such a condition never errs.
    Asker,
    /// The resource, and nothing else of the request.
    Resource,
    /// Anything else.
    More,
}

impl Reads {
    /// Of a part of a `when` or `unless`. A user by name counts as the principal: its teams depend on who asks.
    pub(super) fn of(condition: &pst::Expr) -> Self {
        let (resource, more) = condition.reduce(
            &|part| match part {
                pst::Expr::Var(pst::Var::Resource) => Some((true, false)),
                pst::Expr::Var(_) | pst::Expr::Slot(_) | pst::Expr::Unknown { .. } => Some((false, true)),
                pst::Expr::Literal(pst::Literal::EntityUID(uid)) => {
                    Some((false, uid.ty.to_string() == "User"))
                }
                _ => None,
            },
            &|left, right| (left.0 || right.0, left.1 || right.1),
            (false, false),
        );
        if resource && !more { Self::Resource } else { Self::More }
    }
}

/// The conditions of one policy that hang on the resource alone.
pub(super) struct Terms<'r>(Vec<&'r Condition>);

impl<'r> Terms<'r> {
    /// Where one is false the policy does not apply.
    pub(super) fn all(conditions: &'r Conditions) -> Self {
        Self(conditions.iter().filter(|condition| condition.reads == Reads::Resource).collect())
    }

    /// Where one is false the policy does not apply, and does not err either: no condition before it can.
    pub(super) fn leading(conditions: &'r Conditions) -> Self {
        let leading = conditions.iter().take_while(|condition| condition.reads != Reads::More);
        Self(leading.filter(|condition| condition.reads == Reads::Resource).collect())
    }

    /// The number of the first that is false; None when all hold, or one before it cannot be evaluated.
    pub(super) fn first_false(&self, question: &Question) -> Option<usize> {
        for (number, condition) in self.0.iter().enumerate() {
            match condition.holds(question) {
                Holds::True => {}
                Holds::False => return Some(number),
                // Nothing is known of what comes after it.
                Holds::Erred(_) | Holds::NotReached => return None,
            }
        }
        None
    }

    pub(super) fn text(&self, number: usize) -> &str {
        &self.0[number].text
    }
}

/// The terms of many policies, each but once: most teams ask the same to view as to reset.
#[derive(Default)]
pub(super) struct Book<'r> {
    terms: Vec<Terms<'r>>,
    numbers: HashMap<Vec<&'r str>, usize>,
}

impl<'r> Book<'r> {
    /// The number of the terms in the book.
    pub(super) fn number(&mut self, terms: Terms<'r>) -> usize {
        let key = terms.0.iter().map(|condition| condition.text.as_str()).collect();
        *self.numbers.entry(key).or_insert_with(|| {
            self.terms.push(terms);
            self.terms.len() - 1
        })
    }

    /// All of them, in the order of their numbers.
    pub(super) fn into_terms(self) -> Vec<Terms<'r>> {
        self.terms
    }

    /// The terms on one resource.
    pub(super) fn on<'b>(&'b self, question: &'b Question) -> Tried<'b, 'r> {
        Tried { book: self, question, met: vec![None; self.terms.len()] }
    }
}

/// The terms of a book on one resource, each tried when it is first asked for.
pub(super) struct Tried<'b, 'r> {
    book: &'b Book<'r>,
    question: &'b Question,
    met: Vec<Option<bool>>,
}

impl Tried<'_, '_> {
    /// Whether a policy with these terms may apply to the resource.
    pub(super) fn may_apply(&mut self, number: usize) -> bool {
        let terms = &self.book.terms[number];
        *self.met[number].get_or_insert_with(|| terms.first_false(self.question).is_none())
    }
}
