use std::sync::Arc;

use super::question::Question;
use super::{Policies, PolicyRevision, Verdict};
use crate::inventory::Seen;

/// A candidate decides beside the revision in force, and is never obeyed.
impl Policies {
    /// Puts a candidate beside the revision in force.
    pub fn shadow(&self, candidate: PolicyRevision) {
        self.metrics.candidate(candidate.id());
        self.candidate.store(Some(Arc::new(candidate)));
    }

    /// Compares with no candidate any more.
    pub fn unshadow(&self) {
        self.candidate.store(None);
    }

    /// Counts and logs a reset that the candidate would decide otherwise.
    pub(super) fn compare(&self, seen: &Seen, question: &Question, permitted: bool) {
        let Some(candidate) = self.candidate.load_full() else { return };
        let call = seen.call();
        let team = call.principal.team();
        let verdict = candidate.decide(team, question);
        let would = matches!(verdict, Verdict::Permitted(_));
        if would == permitted {
            return;
        }
        let word = |permitted: bool| if permitted { "allow" } else { "deny" };
        self.metrics.candidate_differed(team, word(would));
        let deciding = match &verdict {
            Verdict::Permitted(ids) | Verdict::Refused(ids) => ids.join(", "),
            Verdict::Erred(_) => "a policy that cannot be evaluated".to_owned(),
        };
        tracing::info!(
            request.id = call.origin.request_id.as_str(),
            team.name = %team,
            instance.id = %call.request.instance,
            policy.revision = %self.current().id(),
            policy.candidate = %candidate.id(),
            decision = word(permitted),
            candidate = word(would),
            "the candidate policies would {} what is {}: {deciding}",
            word(would),
            if permitted { "allowed" } else { "denied" },
        );
    }
}
