use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, RateLimiter};
use moka::Expiry;
use moka::future::Cache;

use super::describe;
use super::mirror::{Known, asked};
use super::{Attributes, Error};
use crate::authn::Identity;
use crate::config;
use crate::domain::{InstanceId, IssuerName};
use crate::http::Client;
use crate::metrics::Metrics;

/// Most answers remembered.
const MOST: u64 = 10_000;
/// Longest time for which an instance counts as missing without being asked for again.
const MISSING: Duration = Duration::from_secs(10);

/// Why nothing is known of an instance.
#[derive(Debug, thiserror::Error)]
pub enum Blind {
    /// The caller asked for too many instances that it may not view, or that are not there.
    #[error("the caller's budget for unknown instances is spent (inventory.caller_lookups)")]
    Spent { retry_after: Duration },
    #[error("{error}")]
    Failed {
        #[source]
        error: Arc<Error>,
        /// The caller's budget for unknown ids was charged.
        charged: bool,
    },
}

/// Looks single instances up: once for all who wait for one, and within budgets.
pub struct Lookups {
    /// None: Zenlayer does not have it.
    told: Cache<InstanceId, Told>,
    account: DefaultDirectRateLimiter,
    callers: DefaultKeyedRateLimiter<(IssuerName, Arc<str>)>,
    max_age: Duration,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct Told {
    asked: Instant,
    attributes: Option<Arc<Attributes>>,
}

/// What is not there is forgotten sooner: it may just be on its way.
struct Lifetime(Duration);

impl Expiry<InstanceId, Told> for Lifetime {
    fn expire_after_create(&self, _: &InstanceId, told: &Told, _: Instant) -> Option<Duration> {
        Some(if told.attributes.is_some() { self.0 } else { MISSING.min(self.0) })
    }
}

impl Lookups {
    pub(super) fn new(settings: &config::Inventory, metrics: Arc<Metrics>) -> Self {
        let max_age = settings.max_age;
        Self {
            told: Cache::builder().max_capacity(MOST).expire_after(Lifetime(max_age)).build(),
            account: RateLimiter::direct(settings.lookups.cells()),
            callers: RateLimiter::keyed(settings.caller_lookups.cells()),
            max_age,
            metrics,
        }
    }

    /// Charges the caller for asking about an instance that is not its own to see.
    pub(super) fn charge(&self, caller: &Identity) -> Result<(), Blind> {
        let user = (caller.issuer().clone(), caller.shared_subject());
        self.callers.check_key(&user).map_err(|until| {
            self.metrics.limited("lookups");
            Blind::Spent { retry_after: until.wait_time_from(DefaultClock::default().now()) }
        })
    }

    /// Forgets who has everything left. Takes milliseconds: not for the request path.
    pub(super) fn sweep(&self) {
        self.callers.retain_recent();
    }

    /// The instance as it was told at most `max_age` ago. Those who ask for the same one share one call.
    pub(super) async fn one(&self, client: &Client, id: &InstanceId) -> Result<Option<Known>, Arc<Error>> {
        let told = match self.told.get(id).await {
            Some(told) if told.asked.elapsed() <= self.max_age => told,
            stale => {
                if stale.is_some() {
                    self.told.invalidate(id).await;
                }
                self.told.try_get_with_by_ref(id, self.ask(client, id)).await?
            }
        };
        Ok(told.attributes.map(|attributes| Known { attributes, asked: told.asked }))
    }

    async fn ask(&self, client: &Client, id: &InstanceId) -> Result<Told, Error> {
        if self.account.check().is_err() {
            self.metrics.looked_up("over_budget");
            return Err(Error::Budget);
        }
        let (time, found) = asked(&self.metrics, describe::some(client, std::slice::from_ref(id))).await;
        let found = found.inspect_err(|_| self.metrics.looked_up("failed"))?;
        let attributes = found.into_iter().next().map(Arc::new);
        self.metrics.looked_up(if attributes.is_some() { "found" } else { "missing" });
        Ok(Told { asked: time, attributes })
    }
}
