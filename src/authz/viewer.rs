use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cedar_policy::Effect;

use super::question::{Action, Asked, Question};
use super::{Owner, Policies, PolicyRevision, Verdict};
use crate::authn::{Call, Origin, Principal};
use crate::domain::TeamName;
use crate::inventory::Attributes;

/// One caller's eye on instances and resets, on one revision of the policies.
pub struct Viewer {
    policies: Arc<Policies>,
    revision: Arc<PolicyRevision>,
    asked: Asked,
    /// The same, with a generated password.
    generating: Asked,
    /// That a policy cannot be evaluated is told once, however many instances are looked at.
    told: AtomicBool,
}

impl Viewer {
    /// The revision that decides.
    pub fn revision(&self) -> &PolicyRevision {
        &self.revision
    }

    /// The acting team.
    pub fn team(&self) -> &TeamName {
        &self.asked.team
    }

    /// Whether the caller may see the instance.
    pub fn may_view(&self, told: &Attributes) -> bool {
        self.may(Action::ViewInstance, &self.asked, told)
    }

    /// Whether policy permits to reset it: alone, with a reason and a ticket, and with a typed password or a generated
    /// one.
    pub fn may_reset(&self, told: &Attributes) -> bool {
        let may = |asked| self.may(Action::ResetPassword, asked, told);
        may(&self.asked) || may(&self.generating)
    }

    /// Whether the caller may read the resets of `owner`.
    pub fn may_view_resets(&self, owner: &TeamName) -> bool {
        let (action, team, owner) = (Action::ViewReset, &self.asked.team, Owner::Team(owner.clone()));
        let question = Question::of_owner(action, &self.asked, &owner, &self.policies.zone);
        self.granted(self.revision.decide_of_owner(action, team, &owner, &question))
    }

    /// Whether there may be another team whose resets the caller may read: without a permit there is none.
    pub fn may_view_others_resets(&self) -> bool {
        let rules = self.revision.rules(&self.asked.team);
        rules.speaking_of(Action::ViewReset).any(|rule| rule.effect == Effect::Permit)
    }

    fn may(&self, action: Action, asked: &Asked, told: &Attributes) -> bool {
        let question = Question::of_instance(action, asked, told, &self.policies.zone);
        self.granted(self.revision.decide(&asked.team, &question))
    }

    fn granted(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Permitted(_) => true,
            Verdict::Refused(_) => false,
            Verdict::Erred(failed) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    self.policies.failed(&self.revision, &self.asked.team, &failed);
                }
                false
            }
        }
    }
}

impl Policies {
    /// Whether policy lets the call's principal view the instance, or reset it: then what is known of it concerns the
    /// caller. Never a leave to reset.
    pub fn concerns(self: &Arc<Self>, call: &Call, told: &Attributes) -> bool {
        let viewer = self.viewer(&call.principal, &call.origin);
        viewer.may_view(told) || viewer.may_reset(told)
    }

    /// What the principal may see and do, by the revision in force now.
    pub fn viewer(self: &Arc<Self>, principal: &Principal, origin: &Origin) -> Viewer {
        // Whoever resets can write both down, and choose the password: not to have done so yet is no refusal.
        let asked = Asked { reason_given: true, ticket_given: true, ..Asked::by(principal, origin) };
        let generating = Asked { generated: true, ..asked.clone() };
        let told = AtomicBool::new(false);
        Viewer { policies: self.clone(), revision: self.current(), asked, generating, told }
    }
}
