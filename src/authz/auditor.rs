use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{Effect, Entity};

use super::question::{self, Action, Asked, Question};
use super::{Owner, Policies, PolicyRevision, Verdict};
use crate::authn::{Origin, Principal};

/// Most owners that are looked at to learn whether any may be read; where policies name more, it is taken for granted.
const MOST_NAMED: usize = 200;

/// One caller's leave to read the trail, on one revision of the policies; each owner is decided once.
pub struct Auditor {
    policies: Arc<Policies>,
    revision: Arc<PolicyRevision>,
    asked: Asked,
    decided: HashMap<Owner, bool>,
    /// That a policy cannot be evaluated is told once, whoever's records are looked at.
    told: bool,
}

impl Policies {
    /// What the principal may read of the trail, by the revision in force now. Even a team's own records need a permit.
    pub fn auditor(self: &Arc<Self>, principal: &Principal, origin: &Origin) -> Auditor {
        let asked = Asked::by(principal, origin);
        let (policies, revision) = (self.clone(), self.current());
        Auditor { policies, revision, asked, decided: HashMap::new(), told: false }
    }
}

impl Auditor {
    /// Whether it may read the records of `owner`.
    pub fn may_read(&mut self, owner: &Owner) -> bool {
        if let Some(decided) = self.decided.get(owner) {
            return *decided;
        }
        let may = self.decide(question::owner(owner));
        self.decided.insert(owner.clone(), may);
        may
    }

    /// Whether there is anybody whose records it may read. Policies tell owners apart by their names alone, so asking
    /// of every named one, of the acting team and of one that is none of these is asking of all.
    pub fn may_read_any(&mut self) -> bool {
        let rules = self.revision.rules(&self.asked.team);
        if !rules.speaking_of(Action::ViewAudit).any(|rule| rule.effect == Effect::Permit) {
            return false;
        }
        let own = Owner::Team(self.asked.team.clone());
        if self.decide(question::unnamed_owner()) || self.may_read(&own) || self.may_read(&Owner::Gateway) {
            return true;
        }
        let named = self.named();
        named.len() > MOST_NAMED || named.iter().any(|owner| self.may_read(owner))
    }

    fn named(&self) -> BTreeSet<Owner> {
        let rules = self.revision.rules(&self.asked.team);
        let literals =
            rules.speaking_of(Action::ViewAudit).flat_map(|rule| rules.policy(rule).entity_literals());
        literals.filter_map(|uid| question::as_owner(&uid)).collect()
    }

    fn decide(&mut self, owner: Entity) -> bool {
        let question = Question::new(Action::ViewAudit, &self.asked, owner, &self.policies.zone);
        match self.revision.decide(&self.asked.team, &question) {
            Verdict::Permitted(_) => true,
            Verdict::Refused(_) => false,
            Verdict::Erred(failed) => {
                if !std::mem::replace(&mut self.told, true) {
                    self.policies.failed(&self.revision, &self.asked.team, &failed);
                }
                false
            }
        }
    }
}
