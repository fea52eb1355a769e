//! One reset, in order. Each step takes the last proof and returns the next; a refusal carries the last one
//! reached, so that its record says all that was known.

use std::sync::Arc;

use crate::audit::{Facts, Receipt, Refused as Why, Trail, Unopened};
use crate::authn::Call;
use crate::authz::{Authorized, Denied, Policies};
use crate::inventory::{Agent, Blind, Inventory, Seen, Unseen};
use crate::ratelimit::{self, Limit, Limited, Limiter};
use crate::zenlayer::Zenlayer;

/// Everything that a reset passes through, as one worker holds it.
#[derive(Clone)]
pub struct Gateway {
    pub inventory: Inventory,
    pub policies: Arc<Policies>,
    pub limiter: Arc<Limiter>,
    pub trail: Arc<Trail>,
    pub zenlayer: Zenlayer,
}

/// A reset that was refused before anything was sent, with the last proof reached.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Unseen(#[from] Box<Unseen>),
    #[error(transparent)]
    Denied(#[from] Box<Denied>),
    #[error("Zenlayer has no such instance")]
    NotFound(Box<Authorized>),
    #[error("the instance is not ready: {1:?}")]
    NotReady(Box<Authorized>, Blocker),
    #[error(transparent)]
    Limited(#[from] Box<Limited>),
    #[error(transparent)]
    Unopened(#[from] Box<Unopened>),
}

/// What an instance must not be, to be reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    NotRunning,
    NoAgent,
}

impl Gateway {
    /// Resets one password. A refusal is given to the trail without waiting: when the trail is down it is still
    /// answered, and counted as lost.
    pub async fn handle(&self, call: Call) -> Result<Receipt, Refused> {
        self.reset(call).await.inspect_err(|refused| self.trail.refuse(&refused.facts()))
    }

    async fn reset(&self, call: Call) -> Result<Receipt, Refused> {
        let seen = self.inventory.look(call).await?;
        let authorized = ready(self.authorize(seen)?)?;
        let permit = self.limiter.admit(authorized)?;
        let intent = self.trail.open(permit).await?;
        let outcome = self.zenlayer.send(&intent).await;
        Ok(self.trail.close(intent, outcome).await)
    }

    /// Who may not view the instance pays for having asked, the same for a foreign one as for a missing one.
    fn authorize(&self, seen: Seen) -> Result<Authorized, Refused> {
        self.policies.authorize(seen).map_err(|denied| match denied.explanation {
            Some(_) => denied.into(),
            None => match self.inventory.charge_stranger(&denied.seen) {
                Ok(()) => denied.into(),
                Err(error) => Box::new(Unseen { call: denied.seen.into_call(), error }).into(),
            },
        })
    }
}

/// What Zenlayer does not tell of an instance blocks nothing: Zenlayer itself refuses what cannot be done.
fn ready(authorized: Authorized) -> Result<Authorized, Refused> {
    let blocker = match authorized.seen().attributes() {
        None => return Err(Refused::NotFound(Box::new(authorized))),
        Some(told) if !matches!(&*told.status, "RUNNING" | "UNKNOWN") => Some(Blocker::NotRunning),
        Some(told) if told.agent == Agent::Absent => Some(Blocker::NoAgent),
        Some(_) => None,
    };
    match blocker {
        Some(blocker) => Err(Refused::NotReady(Box::new(authorized), blocker)),
        None => Ok(authorized),
    }
}

impl Refused {
    /// All that was known, for the record.
    fn facts(&self) -> Facts<'_> {
        match self {
            Self::Unseen(unseen) => Facts::of_call(&unseen.call).refused(match unseen.error {
                Blind::Spent { .. } => Why::LookupLimit,
                Blind::Failed(_) => Why::Inventory,
            }),
            Self::Denied(denied) => Facts::of_denied(denied).refused(Why::Policy),
            Self::NotFound(authorized) => Facts::of_authorized(authorized).refused(Why::NotFound),
            Self::NotReady(authorized, _) => Facts::of_authorized(authorized).refused(Why::NotReady),
            Self::Limited(limited) => {
                Facts::of_authorized(&limited.authorized).refused(match limited.error {
                    ratelimit::Error::Overflow(_) => Why::Limiter,
                    ratelimit::Error::Spent(spent) => match spent.limit {
                        // Neither reaches a reset: both are asked before.
                        Limit::Caller | Limit::FailedAuthentications => Why::CallerLimit,
                        Limit::Team => Why::TeamQuota,
                        Limit::Cooldown => Why::Cooldown,
                    },
                })
            }
            Self::Unopened(unopened) => {
                Facts::of_authorized(unopened.permit.authorized()).refused(Why::Trail)
            }
        }
    }
}
