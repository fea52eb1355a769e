//! The one place that knows awc: TLS, deadlines, signed calls within the account's budget, and what was surely not
//! sent.

mod account;
mod answer;
mod circuit;
mod client;
mod credentials;
mod fetch;
pub mod plain;
mod signature;
mod target;

use std::sync::Arc;
use std::time::Duration;

use awc::http::header::{HeaderName, HeaderValue};

pub use account::{Share, Spent};
pub use answer::Answer;
pub use circuit::Suspended;
pub use client::{Called, Client, Late, Slot};
pub use credentials::Credentials;
pub use fetch::{FetchFault, Fetcher};
pub use signature::Signer;
pub use target::{Digest, Target};

use account::Account;
use circuit::Circuit;
use client::bare_client;

use crate::config::{SignedHeader, Upstream};
use crate::metrics::Metrics;
use crate::redis::Link;
use crate::tls;

pub use crate::tls::TlsFault;

const PATH: &str = "/api/v2/zec";
const CONTENT_TYPE: &str = "application/json";
/// How long a call may have leave without being under way, while its intent is committed.
const BESIDES: Duration = Duration::from_secs(30);
const SIGNATURE_METHOD: &str = "ZC2-HMAC-SHA256";

const ACTION: HeaderName = HeaderName::from_static("x-zc-action");
const VERSION: HeaderName = HeaderName::from_static("x-zc-version");

/// Where Zenlayer is and how to sign for it, and what all who call it share; behind every [`Client`].
pub struct Endpoint {
    url: String,
    host: String,
    version: HeaderValue,
    reset_action: HeaderValue,
    target: Target,
    signed_headers: Vec<SignedHeader>,
    credentials: Credentials,
    deadlines: Deadlines,
    /// None: plain HTTP, which the configuration allows on loopback alone.
    tls: Option<Arc<rustls::ClientConfig>>,
    account: Arc<Account>,
    resets: Arc<Circuit>,
    lists: Arc<Circuit>,
    metrics: Arc<Metrics>,
}

/// How long what may take.
#[derive(Clone, Copy)]
struct Deadlines {
    connect: Duration,
    first_byte: Duration,
    whole: Duration,
    late: Duration,
}

/// The actions this gateway ever asks for. Their names need not be signed, so no text of a caller's becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    ResetPassword,
    DescribeInstances,
}

impl Action {
    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::ResetPassword => "ResetInstancePassword",
            Self::DescribeInstances => "DescribeInstances",
        }
    }

    /// Longest body of an answer that is read.
    fn longest_answer(self) -> usize {
        match self {
            Self::ResetPassword => 64 << 10,
            // A page of 1,000 instances is 1 to 2 MiB.
            Self::DescribeInstances => 16 << 20,
        }
    }
}

/// A call that got no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No byte of it reached Zenlayer.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It is not the reset that was decided; no byte of it was sent.
    #[error("it is not what was decided")]
    Mismatched,
    /// It may have reached Zenlayer.
    #[error("no trustworthy answer: {0}")]
    Unanswered(String),
}

/// Why a call may not even be tried now; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    #[error(transparent)]
    Spent(#[from] Spent),
    #[error(transparent)]
    Suspended(#[from] Suspended),
}

impl Unsendable {
    /// How long to wait before another try makes sense.
    pub fn retry_after(self) -> Duration {
        match self {
            Self::Spent(spent) => spent.retry_after,
            Self::Suspended(suspended) => suspended.retry_after,
        }
    }
}

impl Endpoint {
    /// Fails when `ca_file` holds no certificate, or the system has no usable ones.
    pub fn new(settings: &Upstream, metrics: Arc<Metrics>) -> Result<Self, TlsFault> {
        let header =
            |text: &str| HeaderValue::from_str(text).expect("the configuration allows printable ASCII only");
        let url = settings.url.as_str().trim_end_matches('/');
        let (_, host) = url.split_once("://").expect("the configuration holds a whole URL");
        let tls = match settings.url.scheme() {
            "http" => None,
            _ => Some(Arc::new(tls::client(settings.ca.as_deref())?)),
        };
        let circuit =
            |action: Action| Arc::new(Circuit::new(action.label(), settings.circuit_open, metrics.clone()));
        Ok(Self {
            host: host.to_owned(),
            url: format!("{url}{PATH}"),
            version: header(&settings.version),
            reset_action: header(&settings.action),
            target: Target::new(host, &settings.action, &settings.version),
            signed_headers: settings.signed_headers.clone(),
            credentials: Credentials::new(settings, metrics.clone()),
            deadlines: Deadlines {
                connect: settings.connect_timeout,
                first_byte: settings.first_byte_timeout,
                whole: settings.timeout,
                late: settings.late_answer,
            },
            tls,
            account: Arc::new(Account::new(settings.budget, metrics.clone())),
            resets: circuit(Action::ResetPassword),
            lists: circuit(Action::DescribeInstances),
            metrics,
        })
    }

    /// The account's budget becomes one with all who share that Redis.
    pub fn sharing(mut self, settings: &Upstream, redis: Arc<Link>) -> Self {
        let lease = settings.timeout + BESIDES;
        self.account = Account::share(settings.budget, redis, lease, self.metrics.clone());
        self
    }

    /// The access key's, to be looked at again.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    fn circuit(&self, action: Action) -> &Arc<Circuit> {
        match action {
            Action::ResetPassword => &self.resets,
            Action::DescribeInstances => &self.lists,
        }
    }

    fn authorization(&self, signer: &Signer, timestamp: i64, action: &HeaderValue, body: &[u8]) -> String {
        let time = timestamp.to_string();
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let value = |header: &SignedHeader| match header {
            SignedHeader::ContentType => CONTENT_TYPE.to_owned(),
            SignedHeader::Host => self.host.clone(),
            SignedHeader::Action => text(action),
            SignedHeader::SignatureMethod => SIGNATURE_METHOD.to_owned(),
            SignedHeader::Timestamp => time.clone(),
            SignedHeader::Version => text(&self.version),
        };
        let values: Vec<_> =
            self.signed_headers.iter().map(|header| (header.name(), value(header))).collect();
        let headers: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        signer.authorization(timestamp, &headers, body)
    }
}
