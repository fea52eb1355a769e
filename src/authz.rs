//! Policies (Cedar): [`Seen`] -> [`Authorized`]. Deny by default; an error of evaluation refuses.

mod auditor;
mod blocks;
mod bounds;
mod cases;
mod deep;
mod diff;
mod explain;
mod fault;
mod idle;
mod inquiry;
mod key;
mod limits;
mod load;
mod look;
mod owner;
mod parallel;
mod place;
mod question;
mod scan;
mod shadow;
mod source;
mod terms;
mod verdict;
mod viewer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use cedar_policy::{Authorizer, Decision, Effect, Policy, PolicyId, PolicySet};
use jiff::tz::TimeZone;

use crate::authn::{Call, Identity};
use crate::domain::{Revision, TeamName};
use crate::inventory::{Attributes, Seen};
use crate::metrics::Metrics;

pub use auditor::Auditor;
pub use cases::{Case, CaseFile, Difference, cases};
pub use diff::{Change, Circumstances, Differences, Extent, Unreached, Version, compare, extent};
pub use explain::{Holds, Trace};
pub use fault::{PolicyFault, PolicyFaults};
pub use inquiry::{About, Inquiry, TimeFault, UserFault, time, user};
pub use limits::TeamLimits;
pub use look::Look;
pub use owner::Owner;
pub use parallel::Progress;
pub use place::{Place, shown};
pub use question::{Action, ActionFault, Asked};
pub use verdict::{Unevaluated, Verdict};
pub use viewer::Viewer;

use blocks::{Blocks, Caller};
use deep::deep;
use explain::Conditions;
use limits::LimitTable;
use question::Question;

/// One loaded state of the policies folder. A reset is decided and charged on the one it was authorized on.
pub struct PolicyRevision {
    id: Revision,
    /// The global policies and the team's own.
    teams: HashMap<TeamName, RuleSet>,
    /// The global policies alone: no permit, so nobody else gets anything.
    others: RuleSet,
    /// The file of each policy, and where in it the policy stands.
    places: HashMap<PolicyId, (PathBuf, Place)>,
    limits: LimitTable,
    blocks: Blocks,
    look: Look,
}

/// Policies in the order of their files.
struct RuleSet {
    policies: PolicySet,
    order: Vec<Rule>,
}

struct Rule {
    id: PolicyId,
    effect: Effect,
    /// The actions its scope names; None: any.
    actions: Option<Vec<String>>,
    /// Taken apart when a refusal first asks.
    conditions: OnceLock<Conditions>,
}

impl PolicyRevision {
    /// Loads and validates the whole folder, or says everything that is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, PolicyFaults> {
        load::folder(folder)
    }

    /// The revision's name in records and metrics.
    pub fn id(&self) -> &Revision {
        &self.id
    }

    /// How the folder looked when this was read from it.
    pub fn look(&self) -> Look {
        self.look
    }

    /// What binds `team`.
    pub fn limits(&self, team: &TeamName) -> &TeamLimits {
        self.limits.of(team)
    }

    /// Every row of limits.toml, the default first.
    pub fn limit_rows(&self) -> impl Iterator<Item = (Option<&TeamName>, &TeamLimits)> {
        self.limits.rows()
    }

    /// Whether blocks.toml stops the caller, acting for `team`.
    pub fn blocks(&self, identity: &Identity, team: Option<&TeamName>) -> bool {
        self.blocks.stop(&Caller {
            issuer: identity.issuer().as_str(),
            subject: identity.subject(),
            client: identity.client(),
            token_id: identity.token_id(),
            team,
        })
    }

    /// How many teams have policies.
    pub fn team_count(&self) -> usize {
        self.teams.len()
    }

    /// Whether the team has a file of its own; else the global policies alone bind it, and permit nothing.
    pub fn has_team(&self, team: &TeamName) -> bool {
        self.teams.contains_key(team)
    }

    /// The team with a file whose name is nearest to this one, if it may be a slip of the same.
    fn nearest_team(&self, team: &TeamName) -> Option<&TeamName> {
        let far = |other: &TeamName| strsim::osa_distance(other.as_str(), team.as_str());
        let slips = (team.as_str().len() / 3).max(1);
        let near = self.teams.keys().map(|other| (far(other), other)).filter(|(far, _)| *far <= slips);
        near.min().map(|(_, other)| other)
    }

    /// How many policies there are, those of global.cedar included.
    pub fn policy_count(&self) -> usize {
        self.places.len()
    }

    /// Whether the policy is a global one or the team's own.
    fn binds(&self, team: &TeamName, policy: &str) -> bool {
        self.rules(team).policies.policy(&PolicyId::new(policy)).is_some()
    }

    fn rules(&self, team: &TeamName) -> &RuleSet {
        self.teams.get(team).unwrap_or(&self.others)
    }

    /// Cedar skips a policy that fails to evaluate, so a forbid that errs would permit: any error refuses.
    fn decide(&self, team: &TeamName, question: &Question) -> Verdict {
        let rules = self.rules(team);
        let answer = Authorizer::new().is_authorized(&question.request, &rules.policies, &question.entities);
        let errors: Vec<Unevaluated> = answer.diagnostics().errors().map(Unevaluated::of).collect();
        if !errors.is_empty() {
            return Verdict::Erred(errors);
        }
        // Cedar's reasons are unordered: give them in the order of the files.
        let reasons: Vec<&PolicyId> = answer.diagnostics().reason().collect();
        let deciding = rules.order.iter().filter(|rule| reasons.contains(&&rule.id));
        let deciding = deciding.map(|rule| rule.id.to_string()).collect();
        match answer.decision() {
            Decision::Allow => Verdict::Permitted(deciding),
            Decision::Deny => Verdict::Refused(deciding),
        }
    }

    /// Of a question about what `owner` owns. A team's own resets need no permit.
    fn decide_of_owner(
        &self,
        action: Action,
        team: &TeamName,
        owner: &Owner,
        question: &Question,
    ) -> Verdict {
        let own_resets = action == Action::ViewReset && matches!(owner, Owner::Team(owner) if owner == team);
        match self.decide(team, question) {
            Verdict::Refused(forbids) if forbids.is_empty() && own_resets => Verdict::Permitted(Vec::new()),
            verdict => verdict,
        }
    }
}

/// The revision in force.
pub struct Policies {
    current: ArcSwap<PolicyRevision>,
    candidate: ArcSwapOption<PolicyRevision>,
    /// Whose clock `context.local` shows.
    zone: TimeZone,
    metrics: Arc<Metrics>,
}

/// A reset that policy permits, with the revision it was decided on. Only [`Policies::authorize`] makes one:
///
/// ```compile_fail,E0451
/// use zengate::authz::Authorized;
/// use zengate::inventory::Seen;
/// fn forge(seen: Seen, genuine: Authorized) -> Authorized {
///     Authorized { seen, ..genuine }
/// }
/// ```
///
/// ```
/// use zengate::authz::{Authorized, Policies};
/// use zengate::inventory::Seen;
/// fn earn(seen: Seen, policies: &Policies) -> Option<Authorized> {
///     policies.authorize(seen).ok()
/// }
/// ```
#[derive(Debug)]
pub struct Authorized {
    seen: Seen,
    revision: Arc<PolicyRevision>,
    policies: Vec<String>,
}

/// A reset that policy refuses.
#[derive(Debug, thiserror::Error)]
#[error("policy refuses it")]
pub struct Denied {
    pub seen: Seen,
    pub revision: Revision,
    /// What a caller who may view the instance is told; None: only the one fixed refusal.
    pub explanation: Option<Explanation>,
    /// The forbids that bit, for the record.
    pub forbids: Vec<String>,
}

/// Why policy refused, for those who may view the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// These forbids apply.
    Forbidden(Vec<String>),
    /// These permits of the team were looked at, and none fits.
    NoPermit(Vec<Unmet>),
    /// A policy could not be evaluated.
    Erred,
}

/// A permit that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    pub policy: String,
    /// The first condition that does not hold, in Cedar's own normal form.
    pub condition: Option<String>,
}

impl Policies {
    /// Puts a loaded revision into force.
    pub fn new(revision: PolicyRevision, zone: TimeZone, metrics: Arc<Metrics>) -> Self {
        metrics.revision(revision.id());
        let (current, candidate) = (ArcSwap::from_pointee(revision), ArcSwapOption::empty());
        Self { current, candidate, zone, metrics }
    }

    /// The revision in force now.
    pub fn current(&self) -> Arc<PolicyRevision> {
        self.current.load_full()
    }

    /// Replaces the revision as a whole; requests in flight finish on theirs.
    pub fn replace(&self, revision: PolicyRevision) {
        let id = revision.id().clone();
        self.current.store(Arc::new(revision));
        self.metrics.revision(&id);
    }

    /// Decides one reset on the revision in force.
    pub fn authorize(&self, seen: Seen) -> Result<Authorized, Box<Denied>> {
        let revision = self.current();
        let team = seen.call().principal.team().clone();
        let asked = Asked::of(&seen);
        // What Zenlayer does not have is all unknown.
        let attributes = match seen.attributes() {
            Some(known) => known.clone(),
            None => Arc::new(Attributes::unknown(seen.call().request.instance.clone())),
        };
        let about = |action| Question::of_instance(action, &asked, &attributes, &self.zone);
        let question = about(Action::ResetPassword);
        let verdict = revision.decide(&team, &question);
        let permitted = matches!(verdict, Verdict::Permitted(_));
        self.metrics.decided(&team, if permitted { "allow" } else { "deny" });
        self.compare(&seen, &question, permitted);
        let explanation = match verdict {
            Verdict::Permitted(policies) => return Ok(Authorized { seen, revision, policies }),
            Verdict::Refused(forbids) if forbids.is_empty() => {
                Explanation::NoPermit(revision.rules(&team).unmet(Action::ResetPassword, &question))
            }
            Verdict::Refused(forbids) => Explanation::Forbidden(forbids),
            Verdict::Erred(failed) => {
                self.failed(&revision, &team, &failed);
                Explanation::Erred
            }
        };
        // Asked of a missing instance too, so that the time to refuse does not tell it from a foreign one.
        let views = matches!(revision.decide(&team, &about(Action::ViewInstance)), Verdict::Permitted(_));
        let may_view = views && seen.attributes().is_some();
        let forbids = match &explanation {
            Explanation::Forbidden(forbids) => forbids.clone(),
            Explanation::NoPermit(_) | Explanation::Erred => Vec::new(),
        };
        let explanation = may_view.then_some(explanation);
        Err(Box::new(Denied { seen, revision: revision.id().clone(), explanation, forbids }))
    }

    /// Counts and logs a decision that no policy could make.
    fn failed(&self, revision: &PolicyRevision, team: &TeamName, failed: &[Unevaluated]) {
        self.metrics.policy_failed();
        let policies = failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        tracing::error!(team.name = %team, policy.revision = %revision.id(), "a policy cannot be evaluated, so it refuses: {policies}");
    }
}

impl Authorized {
    /// What was decided on.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The decision is to be made anew.
    pub fn into_call(self) -> Call {
        self.seen.into_call()
    }

    /// The revision that decided.
    pub fn revision(&self) -> &PolicyRevision {
        &self.revision
    }

    /// The permits that decided.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
}

impl RuleSet {
    /// The permits that speak of the action, in the order of the file, and why each does not fit.
    fn unmet(&self, action: Action, question: &Question) -> Vec<Unmet> {
        let permits = self.speaking_of(action).filter(|rule| rule.effect == Effect::Permit);
        let unmet = permits.map(|rule| {
            let condition = self.conditions(rule).first_false(question).map(str::to_owned);
            Unmet { policy: rule.id.to_string(), condition }
        });
        unmet.collect()
    }

    /// The rules whose scope names the action, or any, in the order of their files.
    fn speaking_of(&self, action: Action) -> impl Iterator<Item = &Rule> {
        self.order.iter().filter(move |rule| rule.speaks_of(action))
    }

    fn policy(&self, rule: &Rule) -> &Policy {
        self.policies.policy(&rule.id).expect("the order is that of these policies")
    }

    fn conditions<'r>(&self, rule: &'r Rule) -> &'r Conditions {
        // What is shown of it is read again, and has more brackets than the policy has.
        rule.conditions.get_or_init(|| deep(|| Conditions::of(self.policy(rule))).unwrap_or_default())
    }
}

impl Rule {
    fn speaks_of(&self, action: Action) -> bool {
        self.actions.as_ref().is_none_or(|names| names.iter().any(|name| name == action.name()))
    }
}

impl std::fmt::Debug for PolicyRevision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PolicyRevision").field(&self.id).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests;
