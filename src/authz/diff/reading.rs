use std::collections::BTreeSet;

use cedar_policy::{Policy, pst};

/// What policies read of a question: `context.client`, `principal`, `resource`. The team in a scope does not count:
/// each policy is asked by its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading(BTreeSet<String>);

const CONTEXT: &str = "context";

impl Reading {
    pub(super) fn of(policy: &Policy) -> Self {
        // What cannot be taken apart may read anything.
        let Ok(policy) = policy.to_pst() else { return Self::everything() };
        let body = policy.body();
        let mut reading = Self::default();
        if matches!(body.principal, pst::PrincipalConstraint::Eq(_)) {
            reading = reading.and(Self::one("principal"));
        }
        if body.resource != pst::ResourceConstraint::Any {
            reading = reading.and(Self::one("resource"));
        }
        body.clauses().iter().fold(reading, |reading, clause| {
            let (pst::Clause::When(condition) | pst::Clause::Unless(condition)) = clause;
            reading.and(condition.reduce(&Self::of_part, &Self::and, Self::default()))
        })
    }

    /// None: its parts say it.
    fn of_part(part: &pst::Expr) -> Option<Self> {
        let of_context = |of: &pst::Expr| matches!(of, pst::Expr::Var(pst::Var::Context));
        match part {
            pst::Expr::GetAttr { expr, attr } if of_context(expr) => Some(Self::of_attribute(attr)),
            pst::Expr::HasAttr { expr, attrs } if of_context(expr) => Some(Self::of_attribute(attrs.first())),
            pst::Expr::Var(pst::Var::Principal) => Some(Self::one("principal")),
            pst::Expr::Var(pst::Var::Resource) => Some(Self::one("resource")),
            pst::Expr::Var(pst::Var::Context) => Some(Self::one(CONTEXT)),
            _ => None,
        }
    }

    pub(super) fn everything() -> Self {
        [CONTEXT, "principal", "resource"].map(Self::one).into_iter().fold(Self::default(), Self::and)
    }

    fn one(name: &str) -> Self {
        Self([name.to_owned()].into())
    }

    fn of_attribute(name: &str) -> Self {
        Self::one(&format!("{CONTEXT}.{name}"))
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether the attribute of the context is read, or all of the context.
    pub(super) fn has(&self, attribute: &str) -> bool {
        self.0.contains(CONTEXT) || self.0.contains(&format!("{CONTEXT}.{attribute}"))
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_reads_is_told_wherever_it_stands() {
        for (row, policy, names) in [
            ("nothing", r#"permit (principal in Team::"a", action, resource);"#, &[][..]),
            ("one user", r#"forbid (principal == User::"corp|b", action, resource);"#, &["principal"]),
            ("a group", r#"permit (principal, action, resource in ResourceGroup::"rg");"#, &["resource"]),
            (
                "conditions",
                r#"permit (principal, action, resource) when { resource.name like "context.actor" }
                   unless { [context.client].contains("x") || context.local.hour < 9 };"#,
                &["context.client", "context.local", "resource"],
            ),
            (
                "deep inside",
                r#"permit (principal, action, resource)
                   when { if context has batchSize then {a: [principal]} == {a: []} else context.address.isInRange(ip("::/0")) };"#,
                &["context.address", "context.batchSize", "principal"],
            ),
            ("all of it", "permit (principal, action, resource) when { context == {} };", &["context"]),
        ] {
            let policy: Policy = policy.parse().expect(row);
            assert_eq!(Reading::of(&policy).into_names(), names, "{row}");
        }
    }

    #[test]
    fn whoever_reads_the_whole_context_reads_each_part() {
        let reading = Reading::one("context.client");
        assert_eq!((reading.has("client"), reading.has("cli"), reading.has("scopes")), (true, false, false));
        assert!(Reading::one("context").has("scopes"));
    }
}
