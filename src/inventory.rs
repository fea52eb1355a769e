//! What Zenlayer says of an instance, before policy looks at it: [`Call`] -> [`Seen`].
//!
//! A mirror of all instances is refreshed in the background ([`Mirror::keep`]) and read without waiting. What it does
//! not know, or knows for too long, is looked up, within a budget.

mod attributes;
mod describe;
mod lookup;
mod mirror;
mod retold;

use std::sync::Arc;

use crate::authn::{Call, Identity};
use crate::domain::InstanceId;
use crate::http::{CallError, Client, Unsendable};
use crate::metrics::Metrics;

pub use attributes::{Agent, Attributes, Tag};
pub use describe::{SavedFault, saved};
pub use lookup::Blind;
pub use mirror::{Known, Mirror, Snapshot};
pub use retold::retold;

/// A call, and what its instance looks like now. Only [`Inventory::look`] makes one.
#[derive(Debug)]
pub struct Seen {
    call: Call,
    attributes: Option<Arc<Attributes>>,
    /// The caller's budget for unknown ids was charged.
    charged: bool,
}

impl Seen {
    /// The call that asked.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// None: Zenlayer has no such instance.
    pub fn attributes(&self) -> Option<&Arc<Attributes>> {
        self.attributes.as_ref()
    }

    /// Whether the caller's budget for unknown ids was charged.
    pub fn charged(&self) -> bool {
        self.charged
    }

    /// Policy and the record are done with the rest.
    pub fn into_call(self) -> Call {
        self.call
    }

    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn for_test(call: Call, attributes: Option<Attributes>) -> Self {
        Self { call, attributes: attributes.map(Arc::new), charged: false }
    }
}

/// Nothing trustworthy is known of the instance, so nothing can be decided; the call is handed back.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unseen {
    pub call: Call,
    #[source]
    pub error: Blind,
}

/// Why Zenlayer did not tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("DescribeInstances got no answer: {0}")]
    Call(#[from] CallError),
    #[error("DescribeInstances cannot be tried: {0}")]
    Unsendable(#[from] Unsendable),
    #[error("DescribeInstances was refused with status {status}, code {}", code.as_deref().unwrap_or("none"))]
    Refused { status: u16, code: Option<String> },
    #[error("DescribeInstances answered what is not its format")]
    Unreadable,
    #[error("the account has more than {} instances", mirror::MOST)]
    TooMany,
    #[error("the budget for lookups is spent (inventory.lookups)")]
    Budget,
}

/// What one worker knows of the inventory, with its own connections to look further.
#[derive(Clone)]
pub struct Inventory {
    client: Client,
    mirror: Arc<Mirror>,
}

impl Inventory {
    /// Looks into `mirror`, and asks over `client` for what is not there.
    pub fn new(client: Client, mirror: Arc<Mirror>) -> Self {
        Self { client, mirror }
    }

    /// What all workers share.
    pub fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }

    /// The call's instance as Zenlayer described it no longer than `inventory.max_age_seconds` ago.
    pub async fn look(&self, call: Call) -> Result<Seen, Box<Unseen>> {
        match self.find(call.principal.identity(), &call.request.instance).await {
            Ok((known, charged)) => {
                Ok(Seen { call, attributes: known.map(|known| known.attributes), charged })
            }
            Err(error) => Err(Box::new(Unseen { call, error })),
        }
    }

    /// The same of any instance; also whether the caller's budget was charged, as it is for an unknown id.
    pub async fn find(&self, caller: &Identity, id: &InstanceId) -> Result<(Option<Known>, bool), Blind> {
        let snapshot = self.mirror.snapshot();
        let known = snapshot.as_ref().and_then(|snapshot| snapshot.get(id));
        if let Some(known) = known.filter(|known| self.mirror.is_fresh(known)) {
            return Ok((Some(known.clone()), false));
        }
        // Before the first refresh nothing is known, which is no caller's fault.
        let unknown = snapshot.is_some() && known.is_none();
        if unknown {
            self.mirror.lookups().charge(caller)?;
        }
        match self.mirror.lookups().one(&self.client, id).await {
            Ok(told) => Ok((told, unknown)),
            Err(error) => Err(Blind::Failed { error, charged: unknown }),
        }
    }

    /// What was known of the instance, however long ago; all unknown of one that was not there. None: nothing is known
    /// of any.
    pub fn last_known(&self, id: &InstanceId) -> Option<Arc<Attributes>> {
        let snapshot = self.mirror.snapshot()?;
        let unknown = || Arc::new(Attributes::unknown(id.clone()));
        Some(snapshot.get(id).map_or_else(unknown, |known| known.attributes.clone()))
    }

    /// Charges who was refused an instance that it may not view, as an unknown id would have been: else the budget
    /// would tell a missing instance from a foreign one.
    pub fn charge_stranger(&self, caller: &Identity, charged: bool) -> Result<(), Blind> {
        if charged { Ok(()) } else { self.mirror.lookups().charge(caller) }
    }
}

/// All instances of the account, one page after the other.
pub async fn all(client: &Client) -> Result<Vec<Attributes>, Error> {
    let mut told = Vec::new();
    mirror::pages(client, &Metrics::new(), |_, page| told.extend(page)).await?;
    Ok(told)
}
