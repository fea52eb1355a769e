use std::fmt;

use cedar_policy::AuthorizationError;

/// What policy says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// By these permits; by none where no permit is needed.
    Permitted(Vec<String>),
    /// By these forbids; by none when no permit fits.
    Refused(Vec<String>),
    /// These could not be evaluated, at least one, which refuses.
    Erred(Vec<Unevaluated>),
}

/// A policy that failed on a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{policy}: {why}")]
pub struct Unevaluated {
    pub policy: String,
    pub why: String,
}

impl Verdict {
    /// Whether it is allowed.
    pub fn permits(&self) -> bool {
        matches!(self, Self::Permitted(_))
    }

    /// The policies that decided: those that could not be evaluated, where there are such.
    pub fn policies(&self) -> Vec<&str> {
        match self {
            Self::Permitted(policies) | Self::Refused(policies) => {
                policies.iter().map(String::as_str).collect()
            }
            Self::Erred(failed) => failed.iter().map(|failed| failed.policy.as_str()).collect(),
        }
    }

    /// `by global/frozen`
    pub fn reason(&self) -> String {
        match self {
            Self::Permitted(_) | Self::Refused(_) => reason(self.permits(), &self.policies()),
            Self::Erred(failed) => {
                let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
                format!("since a policy cannot be evaluated: {}", failed.join("; "))
            }
        }
    }
}

/// `deny   by global/frozen`
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6} {}", word(self.permits()), self.reason())
    }
}

/// A decision as tables, records and answers name it.
pub(super) fn word(allow: bool) -> &'static str {
    if allow { "allow" } else { "deny" }
}

/// What stands behind a decision by these policies.
pub(super) fn reason(allow: bool, policies: &[&str]) -> String {
    match (allow, policies) {
        (true, []) => "without a permit".to_owned(),
        (false, []) => "since no permit fits".to_owned(),
        (_, policies) => format!("by {}", policies.join(", ")),
    }
}

impl Unevaluated {
    pub(super) fn of(error: &AuthorizationError) -> Self {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        Self { policy: error.policy_id().to_string(), why: error.inner().to_string() }
    }
}
