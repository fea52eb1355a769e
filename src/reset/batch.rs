//! Several resets of one call: decided and charged together, then each in its turn.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::keyed::{Found, claimed_by_another, find, spent_by_another};
use super::{Blocker, Gateway, KeyError, Refused, Replay, Unclaimed, ready};
use crate::audit::{Facts, Left, Queued, Refused as Why, Reset, Unqueued, WriteError};
use crate::authn::Call;
use crate::authz::Authorized;
use crate::domain::Keyed;
use crate::http::{Slot, Unsendable};
use crate::inventory::Blind;
use crate::ratelimit::{self, Limit, LimitedAll, Permit};
use crate::zenlayer::Sent;

/// Instances of a batch that are looked up at a time.
const LOOKS: usize = 8;
/// Pause before Zenlayer's account is asked for another turn.
const PAUSE: Duration = Duration::from_millis(500);

/// A batch that was refused before anything was sent.
#[derive(Debug, thiserror::Error)]
pub enum RefusedBatch {
    /// These, by their place in the batch. At least one.
    #[error("{} of its resets are refused", .0.len())]
    Items(Vec<(usize, Refused)>),
    /// The team's quota never has room for so many at once.
    #[error("the team resets at most {burst} instances at once")]
    TooLarge { first: Box<Authorized>, burst: u32 },
    /// Its idempotency key is taken, or nobody can tell.
    #[error(transparent)]
    Unclaimed(Box<Unclaimed>),
    #[error("as many batches run as may (batch.max_running)")]
    Full(Box<Authorized>),
    #[error(transparent)]
    Limited(Box<LimitedAll>),
    #[error(transparent)]
    Unqueued(#[from] Unqueued),
}

/// What becomes of a call for a batch.
pub enum Queue {
    /// With its place among those that run.
    New(Vec<Queued>, OwnedSemaphorePermit),
    /// It was served before, by the same idempotency key: nothing is queued, and nothing charged.
    Again(Replay),
}

/// What bounds the run of a batch.
pub struct Orders<'o> {
    /// Resets under way at a time.
    pub concurrency: usize,
    /// Nothing is begun after this.
    pub until: Instant,
    /// The gateway stops.
    pub stopping: &'o dyn Fn() -> bool,
}

/// What came of one reset of a batch.
#[derive(Debug)]
pub struct Settled {
    pub reset: Reset,
    /// False: that is not on the disk yet, and is being tried again.
    pub recorded: bool,
}

impl Gateway {
    /// Decides on all, charges all, puts all on record: or none. Refusals are given to the trail as those of one
    /// reset are.
    pub async fn queue(
        &self,
        calls: Vec<Call>,
        key: Option<&Keyed>,
        places: &Arc<Semaphore>,
    ) -> Result<Queue, RefusedBatch> {
        let queued = self.queue_all(calls, key, places).await;
        let met = match &queued {
            Ok(Queue::Again(_)) => Some("replayed"),
            Err(RefusedBatch::Unclaimed(unclaimed)) => unclaimed.error.met(),
            _ => None,
        };
        met.into_iter().for_each(|met| self.metrics.key_met(met));
        queued.inspect_err(|refused| {
            // Each leaves a record, so each costs as much as a call of its own.
            if let RefusedBatch::Items(items) = refused
                && let Some((_, first)) = items.first()
            {
                let principal = &first.call().principal;
                self.limiter.charge_calls(principal.identity(), principal.team(), items.len() - 1);
            }
            refused.each_fact(|call, facts| {
                self.refuse(call.principal.identity(), &facts);
            })
        })
    }

    async fn queue_all(
        &self,
        calls: Vec<Call>,
        key: Option<&Keyed>,
        places: &Arc<Semaphore>,
    ) -> Result<Queue, RefusedBatch> {
        let all = self.authorize_all(calls).await?;
        // Held until the batch is on record, or refused.
        let mut place = None;
        if let (Some(keyed), Some(first)) = (key, all.first()) {
            let caller = first.seen().call().principal.identity();
            match find(&self.in_flight, &self.trail, caller, keyed).await {
                Ok(Found::New(new)) => place = Some(new),
                Ok(Found::Before(replay)) => return Ok(Queue::Again(replay)),
                Err(error) => return Err(unclaimed(all, error)),
            }
        }
        if let Some(first) = all.first() {
            let burst = first.revision().limits(first.seen().call().principal.team()).team.burst.get();
            if all.len() > burst as usize {
                let first = Box::new(all.into_iter().next().expect("there is a first"));
                return Err(RefusedBatch::TooLarge { first, burst });
            }
        }
        let Ok(room) = places.clone().try_acquire_owned() else {
            let first = all.into_iter().next().expect("a batch has resets");
            return Err(RefusedBatch::Full(Box::new(first)));
        };
        let permits = match self.limiter.admit_all(all).await {
            Ok(permits) => permits,
            Err(limited) => return self.limited(limited, key).await,
        };
        let queued = self.trail.queue(permits, key).await;
        drop(place);
        match (queued, key) {
            (Ok(queued), _) => Ok(Queue::New(queued, room)),
            (Err(Unqueued { permits, error: WriteError::Claimed }), Some(keyed)) => {
                self.claimed(permits, keyed).await
            }
            (Err(unqueued), _) => Err(unqueued.into()),
        }
    }

    /// A quota may be spent, or an instance rest, for what another replica did by the same key just now.
    async fn limited(&self, limited: LimitedAll, key: Option<&Keyed>) -> Result<Queue, RefusedBatch> {
        let spent = matches!(limited.error, ratelimit::Error::Spent(_));
        let (Some(keyed), Some(first), true) = (key, limited.all.first(), spent) else {
            return Err(RefusedBatch::Limited(Box::new(limited)));
        };
        match spent_by_another(&self.trail, first.seen().call().principal.identity(), keyed).await {
            Ok(Some(replay)) => Ok(Queue::Again(replay)),
            Ok(None) => Err(RefusedBatch::Limited(Box::new(limited))),
            Err(error) => Err(unclaimed(limited.all, error)),
        }
    }

    /// Another replica has put the same key on record first.
    async fn claimed(&self, permits: Vec<Permit>, keyed: &Keyed) -> Result<Queue, RefusedBatch> {
        let all = permits.into_iter().map(|permit| {
            let (authorized, charged) = permit.into_parts();
            charged.give_back();
            authorized
        });
        let all: Vec<Authorized> = all.collect();
        let error = match all.first().map(|first| first.seen().call().principal.identity()) {
            None => KeyError::InFlight(None),
            Some(caller) => match claimed_by_another(&self.trail, caller, keyed).await {
                Ok(replay) => return Ok(Queue::Again(replay)),
                Err(error) => error,
            },
        };
        Err(unclaimed(all, error))
    }

    async fn authorize_all(&self, calls: Vec<Call>) -> Result<Vec<Authorized>, RefusedBatch> {
        let mut decisions = stream::iter(calls).map(|call| self.decide(call)).buffered(LOOKS).enumerate();
        let (mut all, mut refused) = (Vec::new(), Vec::new());
        while let Some((place, decision)) = decisions.next().await {
            match decision {
                Ok(authorized) => all.push(authorized),
                Err(why) => refused.push((place, why)),
            }
        }
        if refused.is_empty() { Ok(all) } else { Err(RefusedBatch::Items(refused)) }
    }

    /// Policy's word on an instance that is there.
    async fn decide(&self, call: Call) -> Result<Authorized, Refused> {
        let authorized = self.authorize(self.see(call).await?)?;
        match authorized.seen().attributes() {
            Some(_) => Ok(authorized),
            None => Err(Refused::NotFound(Box::new(authorized))),
        }
    }

    /// Sends what is queued, each once it was decided on anew. Whoever is no longer permitted one of them, gets none of
    /// those that are not sent yet.
    pub async fn run(&self, items: Vec<Queued>, orders: &Orders<'_>) -> Vec<Settled> {
        let ended = Cell::new(None);
        let items = stream::iter(items.into_iter().enumerate());
        let done = items.map(|(place, item)| {
            let ended = &ended;
            async move { (place, self.item(item, orders, ended).await) }
        });
        let mut done: Vec<(usize, Settled)> = done.buffer_unordered(orders.concurrency).collect().await;
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, done)| done).collect()
    }

    async fn item(&self, item: Queued, orders: &Orders<'_>, ended: &Cell<Option<&'static str>>) -> Settled {
        let (permit, place) = item.turn();
        let (permit, slot) = match self.wait_for_turn(permit, orders, ended).await {
            Ok(turn) => turn,
            Err(cause) => return self.trail.leave(place, cause).await.into(),
        };
        let intent = match self.trail.open_queued(place, permit, self.zenlayer.target()).await {
            Ok(intent) => intent,
            Err((place, error)) => {
                tracing::error!("a reset of a batch could not be put on record, so it was not sent: {error}");
                return self.trail.leave(place, "trail").await.into();
            }
        };
        let Sent { outcome, effort, late } = self.zenlayer.send(&intent, slot).await;
        let receipt = self.trail.close(intent, outcome, effort).await;
        if let Some(late) = late {
            self.await_late(receipt.about(), late);
        }
        Settled { reset: receipt.reset().clone(), recorded: receipt.recorded() }
    }

    /// Decides once more, now, and waits for Zenlayer's account to have room; or says why nothing is to be sent.
    async fn wait_for_turn(
        &self,
        permit: Permit,
        orders: &Orders<'_>,
        ended: &Cell<Option<&'static str>>,
    ) -> Result<(Permit, Slot), &'static str> {
        let (mut call, share) = permit.reopen();
        let mut waits_for = "deadline";
        loop {
            if let Some(cause) = ended.get() {
                return Err(cause);
            }
            if (orders.stopping)() {
                return Err("stopping");
            }
            if Instant::now() >= orders.until {
                return Err(waits_for);
            }
            call.origin.at = Timestamp::now();
            if self.policies.current().blocks(call.principal.identity(), Some(call.principal.team())) {
                ended.set(Some("blocked"));
                continue;
            }
            let authorized = match self.decide(call).await.and_then(ready) {
                Ok(authorized) => authorized,
                Err(refused) => {
                    if matches!(refused, Refused::Denied(_)) {
                        ended.set(Some("policy"));
                    }
                    return Err(refused.blocker());
                }
            };
            match self.zenlayer.reserve(share.team()).await {
                Ok(slot) => return Ok((share.permit(authorized), slot)),
                Err(why) => {
                    waits_for = match why {
                        Unsendable::Spent(_) => "account-budget",
                        Unsendable::Suspended(_) => "circuit",
                    };
                    call = authorized.into_call();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn unclaimed(all: Vec<Authorized>, error: KeyError) -> RefusedBatch {
    let authorized = all.into_iter().next().expect("a batch has resets");
    RefusedBatch::Unclaimed(Box::new(Unclaimed { authorized, error }))
}

impl From<Left> for Settled {
    fn from(Left { reset, recorded }: Left) -> Self {
        Self { reset, recorded }
    }
}

impl Refused {
    /// What keeps a queued reset from being sent, as records and answers name it.
    fn blocker(&self) -> &'static str {
        match self {
            Self::Unseen(unseen) | Self::Hidden(unseen) => match unseen.error {
                Blind::Spent { .. } => "lookup-limit",
                Blind::Failed { .. } => "inventory",
            },
            Self::Denied(_) => "policy",
            Self::NotFound(_) => "not-found",
            Self::Unclaimed(_) => "idempotency",
            Self::NotReady(_, unready) => Blocker::Unready(*unready).as_str(),
            Self::Limited(_) => "quota",
            Self::Unsendable(..) => "account-budget",
            Self::Unopened(_) => "trail",
        }
    }
}

impl RefusedBatch {
    /// Each refusal as the trail has it: one an instance where the instance matters, else one for all.
    fn each_fact(&self, mut each: impl FnMut(&Call, Facts<'_>)) {
        match self {
            Self::Items(items) => items.iter().for_each(|(_, refused)| each(refused.call(), refused.facts())),
            Self::TooLarge { first, .. } => {
                each(first.seen().call(), Facts::of_authorized(first).whole_batch().refused(Why::TeamQuota));
            }
            Self::Full(first) => {
                let facts = Facts::of_authorized(first).whole_batch().refused(Why::Batches);
                each(first.seen().call(), facts);
            }
            Self::Unclaimed(unclaimed) => {
                let facts = Facts::of_authorized(&unclaimed.authorized).whole_batch();
                each(unclaimed.authorized.seen().call(), facts.refused(unclaimed.error.why()));
            }
            Self::Limited(limited) => {
                let Some(first) = limited.all.first() else { return };
                let why = match limited.error {
                    ratelimit::Error::Overflow(_) | ratelimit::Error::Away(_) => Why::Limiter,
                    ratelimit::Error::Spent(spent) if spent.limit == Limit::Cooldown => Why::Cooldown,
                    ratelimit::Error::Spent(_) => Why::TeamQuota,
                };
                each(first.seen().call(), Facts::of_limited_batch(limited, first).refused(why));
            }
            Self::Unqueued(unqueued) => {
                let Some(first) = unqueued.permits.first() else { return };
                let facts = Facts::of_authorized(first.authorized()).whole_batch().refused(Why::Trail);
                each(first.authorized().seen().call(), facts);
            }
        }
    }
}
