//! Several resets of one call: decided and charged together, then each in its turn.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::{Blocker, Gateway, Refused, ready};
use crate::audit::{Facts, Left, Queued, Refused as Why, Reset, Unqueued};
use crate::authn::Call;
use crate::authz::Authorized;
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
    #[error(transparent)]
    Limited(Box<LimitedAll>),
    #[error(transparent)]
    Unqueued(#[from] Unqueued),
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
pub struct Done {
    pub reset: Reset,
    /// False: that is not on the disk yet, and is being tried again.
    pub recorded: bool,
}

impl Gateway {
    /// Decides on all, charges all, puts all on record: or none. Refusals are given to the trail as those of one
    /// reset are.
    pub async fn queue(&self, calls: Vec<Call>) -> Result<Vec<Queued>, RefusedBatch> {
        let queued = self.queue_all(calls).await;
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

    async fn queue_all(&self, calls: Vec<Call>) -> Result<Vec<Queued>, RefusedBatch> {
        let all = self.authorize_all(calls).await?;
        if let Some(first) = all.first() {
            let burst = first.revision().limits(first.seen().call().principal.team()).team.burst.get();
            if all.len() > burst as usize {
                let first = Box::new(all.into_iter().next().expect("there is a first"));
                return Err(RefusedBatch::TooLarge { first, burst });
            }
        }
        let permits =
            self.limiter.admit_all(all).map_err(|limited| RefusedBatch::Limited(Box::new(limited)))?;
        Ok(self.trail.queue(permits).await?)
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
    pub async fn run(&self, items: Vec<Queued>, orders: &Orders<'_>) -> Vec<Done> {
        let ended = Cell::new(None);
        let items = stream::iter(items.into_iter().enumerate());
        let done = items.map(|(place, item)| {
            let ended = &ended;
            async move { (place, self.item(item, orders, ended).await) }
        });
        let mut done: Vec<(usize, Done)> = done.buffer_unordered(orders.concurrency).collect().await;
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, done)| done).collect()
    }

    async fn item(&self, item: Queued, orders: &Orders<'_>, ended: &Cell<Option<&'static str>>) -> Done {
        let (permit, place) = item.turn();
        let (permit, slot) = match self.turn(permit, orders, ended).await {
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
        Done { reset: receipt.reset().clone(), recorded: receipt.recorded() }
    }

    /// Decides once more, now, and waits for Zenlayer's account to have room; or says why nothing is to be sent.
    async fn turn(
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

impl From<Left> for Done {
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
            Self::Limited(limited) => {
                let Some(first) = limited.all.first() else { return };
                let why = match limited.error {
                    ratelimit::Error::Overflow(_) => Why::Limiter,
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
