//! One reset, in order. Each step takes the last proof and returns the next; a refusal carries the last one
//! reached, so that its record says all that was known.

mod batch;
mod keyed;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::audit::{About, Facts, Receipt, Refused as Why, Trail, Unopened};
use crate::authn::{Call, Identity};
use crate::authz::{Authorized, Denied, Policies};
use crate::http::Unsendable;
use crate::idempotency::InFlight;
use crate::inventory::{Agent, Attributes, Blind, Inventory, Seen, Unseen};
use crate::metrics::Metrics;
use crate::ratelimit::{self, Limit, Limited, Limiter, Permit, Standings};
use crate::zenlayer::{LateOutcome, Sent, Zenlayer};

pub use batch::{Orders, Queue, RefusedBatch, Settled};
pub use keyed::{KeyError, Known, Replay, Unclaimed};

use keyed::Turn;

/// Everything that a reset passes through, as one worker holds it.
#[derive(Clone)]
pub struct Gateway {
    pub inventory: Inventory,
    pub policies: Arc<Policies>,
    pub limiter: Arc<Limiter>,
    pub trail: Arc<Trail>,
    pub zenlayer: Zenlayer,
    /// Answers that are still listened for, at most so many.
    pub late: Arc<Semaphore>,
    /// Requests by an idempotency key, until they are on record.
    pub in_flight: Arc<InFlight>,
    pub metrics: Arc<Metrics>,
}

/// A request that was served, now or before.
pub enum Done {
    Now(Box<Receipt>),
    /// By the same idempotency key: nothing was sent this time, and nothing charged.
    Again(Replay),
}

/// What a reset would meet now; nothing of it is kept.
pub struct Trial {
    /// With the permits that decide, or why policy refuses.
    /// None: nothing is known of the instance, and what was does not concern the caller.
    pub decision: Result<Authorized, Option<Box<Denied>>>,
    /// None of an instance that the caller may not view.
    pub obstacles: Option<Vec<Blocker>>,
}

/// What stands between a caller and a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    Policy,
    Unready(Unready),
    /// The acting team reset the instance moments ago.
    Cooldown,
    /// The acting team's quota is spent.
    Quota,
    /// The quotas cannot be counted.
    LimitsUnavailable,
    /// What is known of the instance is too old to decide on.
    Stale,
}

/// A reset that was refused before anything was sent, with the last proof reached.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Unseen(#[from] Box<Unseen>),
    /// Nothing is known of the instance, and what was does not concern the caller: answered as if policy had refused.
    #[error(transparent)]
    Hidden(Box<Unseen>),
    #[error(transparent)]
    Denied(#[from] Box<Denied>),
    #[error("Zenlayer has no such instance")]
    NotFound(Box<Authorized>),
    #[error("the instance is not ready: {1:?}")]
    NotReady(Box<Authorized>, Unready),
    /// Its idempotency key is taken, or nobody can tell.
    #[error(transparent)]
    Unclaimed(#[from] Box<Unclaimed>),
    #[error(transparent)]
    Limited(#[from] Box<Limited>),
    /// The circuit is open, or the account's budget is spent; dropping the permit gives its quotas back.
    #[error("{1}")]
    Unsendable(Box<Permit>, Unsendable),
    #[error(transparent)]
    Unopened(#[from] Box<Unopened>),
}

/// What an instance must not be, to be reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// It is off, or on its way out.
    NotRunning,
    /// Zenlayer works on it.
    Busy,
    /// Nothing in it could set a password.
    NoAgent,
}

impl Gateway {
    /// Resets one password. A refusal is given to the trail without waiting: when the trail is down it is still
    /// answered, and counted as lost.
    pub async fn handle(&self, call: Call) -> Result<Done, Refused> {
        let done = self.reset(call).await;
        let met = match &done {
            Ok(Done::Again(_)) => Some("replayed"),
            Err(Refused::Unclaimed(unclaimed)) => unclaimed.error.met(),
            _ => None,
        };
        met.into_iter().for_each(|met| self.metrics.key_met(met));
        done.inspect_err(|refused| {
            self.refuse(refused.call().principal.identity(), &refused.facts());
        })
    }

    /// Gives a refusal to the trail, without waiting. While free space is below its reserve that is one a caller and
    /// minute: what is left is for intents and outcomes.
    pub fn refuse(&self, caller: &Identity, facts: &Facts<'_>) {
        if !self.trail.scarce() || self.limiter.first_refusal_in_a_minute(caller) {
            self.trail.refuse(facts);
        } else {
            self.trail.leave_out_refusal();
        }
    }

    /// The same of what a caller can bring about as often as it likes: always one a caller and minute.
    pub fn refuse_once_a_minute(&self, caller: &Identity, facts: &Facts<'_>) {
        if self.limiter.first_refusal_in_a_minute(caller) {
            self.trail.refuse(facts);
        }
    }

    async fn reset(&self, call: Call) -> Result<Done, Refused> {
        let seen = self.see(call).await?;
        let (authorized, place) = match self.turn(self.authorize(seen)?).await? {
            (authorized, Turn::First(place)) => (authorized, place),
            (_, Turn::Again(replay)) => return Ok(Done::Again(replay)),
        };
        let permit = match self.limiter.admit(ready(authorized)?).await {
            Ok(permit) => permit,
            Err(limited) => return keyed::limited(&self.trail, limited).await,
        };
        let slot = match self.zenlayer.reserve(permit.team()).await {
            Ok(slot) => slot,
            Err(why) => return Err(Refused::Unsendable(Box::new(permit), why)),
        };
        let intent = match self.trail.open(permit, self.zenlayer.target()).await {
            Ok(intent) => intent,
            Err(unopened) => return keyed::unopened(&self.trail, unopened).await,
        };
        // From now on the trail knows the key.
        drop(place);
        let Sent { outcome, effort, late } = self.zenlayer.send(&intent, slot).await;
        let receipt = self.trail.close(intent, outcome, effort).await;
        if let Some(late) = late {
            self.await_late(receipt.about(), late);
        }
        Ok(Done::Now(Box::new(receipt)))
    }

    /// Listens on for the answer of a reset that was given up: what it says corrects the record. A stop does not wait
    /// for it.
    fn await_late(&self, about: About, late: LateOutcome) {
        let Ok(place) = self.late.clone().try_acquire_owned() else { return };
        let trail = self.trail.clone();
        tokio::task::spawn_local(async move {
            let _place = place;
            if let Some((outcome, effort)) = late.come().await {
                trail.correct(&about, &outcome, effort).await;
            }
        });
    }

    /// Goes as far as a reset does before it charges anything.
    pub async fn try_out(&self, call: Call) -> Result<Trial, Refused> {
        let seen = match self.see(call).await {
            Err(Refused::Hidden(_)) => return Ok(Trial { decision: Err(None), obstacles: None }),
            seen => seen?,
        };
        let team = seen.call().principal.team().clone();
        let revision = self.policies.current();
        let obstacles = async |told: &Attributes| {
            let left = self.limiter.standings(&revision, &team, std::iter::once(&told.id)).await;
            obstacles(told, left.as_deref().ok().and_then(<[_]>::first))
        };
        match self.authorize(seen) {
            Ok(authorized) => {
                let Some(told) = authorized.seen().attributes() else {
                    return Err(Refused::NotFound(Box::new(authorized)));
                };
                let obstacles = Some(obstacles(told).await);
                Ok(Trial { decision: Ok(authorized), obstacles })
            }
            Err(Refused::Denied(denied)) => {
                let obstacles = match denied.seen.attributes().filter(|_| denied.explanation.is_some()) {
                    Some(told) => Some(obstacles(told).await),
                    None => None,
                };
                Ok(Trial { decision: Err(Some(denied)), obstacles })
            }
            Err(refused) => Err(refused),
        }
    }

    /// When Zenlayer cannot be asked, whom the instance does not concern learns nothing of it all the same: neither
    /// that it is there nor that it is not.
    async fn see(&self, call: Call) -> Result<Seen, Refused> {
        let unseen = match self.inventory.look(call).await {
            Ok(seen) => return Ok(seen),
            Err(unseen) => unseen,
        };
        let Unseen { call, error: Blind::Failed { charged, .. } } = &*unseen else {
            return Err(unseen.into());
        };
        let known = self.inventory.last_known(&call.request.instance);
        // Before the first refresh all instances are alike, and unknown.
        if known.is_none_or(|known| self.policies.concerns(call, &known)) {
            return Err(unseen.into());
        }
        match self.inventory.charge_stranger(call.principal.identity(), *charged) {
            Ok(()) => Err(Refused::Hidden(unseen)),
            Err(error) => Err(Box::new(Unseen { call: unseen.call, error }).into()),
        }
    }

    /// Who may not view the instance pays for having asked, the same for a foreign one as for a missing one.
    fn authorize(&self, seen: Seen) -> Result<Authorized, Refused> {
        self.policies.authorize(seen).map_err(|denied| match denied.explanation {
            Some(_) => denied.into(),
            None => {
                let caller = denied.seen.call().principal.identity();
                match self.inventory.charge_stranger(caller, denied.seen.charged()) {
                    Ok(()) => denied.into(),
                    Err(error) => Box::new(Unseen { call: denied.seen.into_call(), error }).into(),
                }
            }
        })
    }
}

fn ready(authorized: Authorized) -> Result<Authorized, Refused> {
    let Some(told) = authorized.seen().attributes() else {
        return Err(Refused::NotFound(Box::new(authorized)));
    };
    match unready(told).next() {
        Some(unready) => Err(Refused::NotReady(Box::new(authorized), unready)),
        None => Ok(authorized),
    }
}

/// What keeps the instance from being reset. What Zenlayer does not tell of it, or tells in a word of its own that is
/// new, keeps nothing: Zenlayer itself refuses what cannot be done.
fn unready(told: &Attributes) -> impl Iterator<Item = Unready> + use<> {
    let status = match &*told.status {
        "STOPPED" | "RELEASING" | "RECYCLE" | "RECYCLING" | "CREATE_FAILED" => Some(Unready::NotRunning),
        "DEPLOYING" | "REBUILDING" | "REBOOT" | "BOOTING" | "STOPPING" | "IMAGING" | "RESIZING" => {
            Some(Unready::Busy)
        }
        _ => None,
    };
    let agent = (told.agent == Agent::Absent).then_some(Unready::NoAgent);
    status.into_iter().chain(agent)
}

/// What would stop a reset of the instance that policy permits, by what is left of its quotas. None: they cannot be counted.
pub fn obstacles(told: &Attributes, left: Option<&Standings>) -> Vec<Blocker> {
    let spent = |limit| left.is_some_and(|left| left.spent().any(|spent| spent == limit));
    let resting = spent(Limit::Cooldown).then_some(Blocker::Cooldown);
    let quota = spent(Limit::Team).then_some(Blocker::Quota);
    let uncounted = left.is_none().then_some(Blocker::LimitsUnavailable);
    unready(told).map(Blocker::Unready).chain(resting).chain(quota).chain(uncounted).collect()
}

impl Blocker {
    /// As answers name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Unready(Unready::NotRunning) => "not-running",
            Self::Unready(Unready::Busy) => "busy",
            Self::Unready(Unready::NoAgent) => "no-agent",
            Self::Cooldown => "cooldown",
            Self::Quota => "quota",
            Self::LimitsUnavailable => "limits-unavailable",
            Self::Stale => "stale",
        }
    }
}

impl Refused {
    /// Whose it was.
    fn call(&self) -> &Call {
        match self {
            Self::Unseen(unseen) | Self::Hidden(unseen) => &unseen.call,
            Self::Denied(denied) => denied.seen.call(),
            Self::NotFound(authorized) | Self::NotReady(authorized, _) => authorized.seen().call(),
            Self::Unclaimed(unclaimed) => unclaimed.authorized.seen().call(),
            Self::Limited(limited) => limited.authorized.seen().call(),
            Self::Unsendable(permit, _) => permit.authorized().seen().call(),
            Self::Unopened(unopened) => unopened.permit.authorized().seen().call(),
        }
    }

    /// All that was known, for the record.
    fn facts(&self) -> Facts<'_> {
        match self {
            Self::Unseen(unseen) | Self::Hidden(unseen) => {
                Facts::of_call(&unseen.call).refused(match unseen.error {
                    Blind::Spent { .. } => Why::LookupLimit,
                    Blind::Failed { .. } => Why::Inventory,
                })
            }
            Self::Denied(denied) => Facts::of_denied(denied).refused(Why::Policy),
            Self::NotFound(authorized) => Facts::of_authorized(authorized).refused(Why::NotFound),
            Self::NotReady(authorized, _) => Facts::of_authorized(authorized).refused(Why::NotReady),
            Self::Unclaimed(unclaimed) => {
                Facts::of_authorized(&unclaimed.authorized).refused(unclaimed.error.why())
            }
            Self::Limited(limited) => {
                Facts::of_limited(limited).refused(match limited.error {
                    ratelimit::Error::Overflow(_) | ratelimit::Error::Away(_) => Why::Limiter,
                    ratelimit::Error::Spent(spent) => match spent.limit {
                        // Neither reaches a reset: both are asked before.
                        Limit::Caller | Limit::FailedAuthentications => Why::CallerLimit,
                        Limit::Team => Why::TeamQuota,
                        Limit::Cooldown => Why::Cooldown,
                    },
                })
            }
            Self::Unsendable(permit, why) => Facts::of_authorized(permit.authorized()).refused(match why {
                Unsendable::Spent(_) => Why::AccountBudget,
                Unsendable::Suspended(_) => Why::Circuit,
            }),
            Self::Unopened(unopened) => {
                Facts::of_authorized(unopened.permit.authorized()).refused(Why::Trail)
            }
        }
    }
}
