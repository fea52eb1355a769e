//! What Zenlayer says of an instance, before policy looks at it: [`Call`] -> [`Seen`].

mod attributes;
mod describe;

use std::sync::Arc;
use std::time::Instant;

use crate::authn::Call;
use crate::domain::InstanceId;
use crate::http::{CallError, Client};
use crate::metrics::Metrics;

pub use attributes::{Agent, Attributes, Tag};

/// A call, and what its instance looks like now. Only [`Inventory::look`] makes one.
#[derive(Debug)]
pub struct Seen {
    call: Call,
    attributes: Option<Arc<Attributes>>,
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

    /// Policy and the record are done with the rest.
    pub fn into_call(self) -> Call {
        self.call
    }

    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn for_test(call: Call, attributes: Option<Attributes>) -> Self {
        Self { call, attributes: attributes.map(Arc::new) }
    }
}

/// Zenlayer did not tell, so nothing can be decided; the call is handed back.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unseen {
    pub call: Call,
    #[source]
    pub error: Error,
}

/// Why Zenlayer did not tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("DescribeInstances got no answer: {0}")]
    Call(#[from] CallError),
    #[error("DescribeInstances was refused with status {status}, code {}", code.as_deref().unwrap_or("none"))]
    Refused { status: u16, code: Option<String> },
    #[error("DescribeInstances answered what is not its format")]
    Unreadable,
}

/// Looks instances up.
#[derive(Clone)]
pub struct Inventory {
    client: Client,
    metrics: Arc<Metrics>,
}

impl Inventory {
    /// Asks over `client`.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }

    /// The call's instance as Zenlayer describes it now.
    pub async fn look(&self, call: Call) -> Result<Seen, Box<Unseen>> {
        match self.lookup(&call.request.instance).await {
            Ok(attributes) => Ok(Seen { call, attributes: attributes.map(Arc::new) }),
            Err(error) => Err(Box::new(Unseen { call, error })),
        }
    }

    async fn lookup(&self, id: &InstanceId) -> Result<Option<Attributes>, Error> {
        let started = Instant::now();
        let found = describe::one(&self.client, id).await;
        let outcome = match &found {
            Ok(_) => "ok",
            Err(Error::Call(CallError::NotSent(_))) => "not_sent",
            Err(Error::Call(CallError::Unanswered(_))) => "unanswered",
            Err(Error::Refused { .. }) => "refused",
            Err(Error::Unreadable) => "unreadable",
        };
        self.metrics.called(crate::http::Action::DescribeInstances.label(), outcome, started.elapsed());
        found
    }
}
