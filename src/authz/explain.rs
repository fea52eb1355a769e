use cedar_policy::{EvalResult, Expression, Policy, eval_expression, pst};

use super::question::Question;

/// What must hold for a permit, one condition after the other, as a refusal shows them.
///
/// The conditions together are the policy: a `when` is taken apart at its `&&`, an `unless` at its `||`, each part
/// turned round. Since a part is looked at only when all before it hold, one that needs an earlier one
/// (`hasTag` before `getTag`) never errs for want of it.
pub(super) struct Conditions(Vec<(String, Expression)>);

impl Conditions {
    /// None of a policy that cannot be taken apart: it is shown without a condition then.
    pub(super) fn of(policy: &Policy) -> Self {
        let parts = policy.to_pst().ok().and_then(|policy| {
            let parsed = texts(policy.body()).into_iter().map(|text| {
                let expression = text.parse().ok()?;
                Some((text, expression))
            });
            parsed.collect()
        });
        Self(parts.unwrap_or_default())
    }

    /// The first that does not hold.
    pub(super) fn first_false(&self, question: &Question) -> Option<&str> {
        let holds = |expression| {
            let result = eval_expression(&question.request, &question.entities, expression);
            matches!(result, Ok(EvalResult::Bool(true)))
        };
        self.0.iter().find(|(_, expression)| !holds(expression)).map(|(text, _)| text.as_str())
    }
}

fn texts(body: &pst::Template) -> Vec<String> {
    let mut texts: Vec<String> = [
        ("principal", body.principal.to_string()),
        ("action", body.action.to_string()),
        ("resource", body.resource.to_string()),
    ]
    .into_iter()
    .filter(|(_, constraint)| !constraint.is_empty())
    .map(|(name, constraint)| format!("{name} {constraint}"))
    .collect();
    for clause in body.clauses() {
        match clause {
            pst::Clause::When(condition) => split(condition, pst::BinaryOp::And, &mut |part| {
                texts.push(part.to_string());
            }),
            pst::Clause::Unless(condition) => split(condition, pst::BinaryOp::Or, &mut |part| {
                texts.push(format!("!({part})"));
            }),
        }
    }
    texts
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
