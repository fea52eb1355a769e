//! The one place that knows awc: TLS, deadlines, signed calls, and what was surely not sent.

mod fetch;
pub mod plain;
mod signature;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{self, HeaderName, HeaderValue};
use bytes::Bytes;
use jiff::Timestamp;
use zeroize::Zeroizing;

pub use fetch::{FetchFault, Fetcher};
pub use signature::Signer;
pub use tls::TlsFault;

use crate::config::Upstream;

const PATH: &str = "/api/v2/zec";
const CONTENT_TYPE: &str = "application/json";

/// Where Zenlayer is and how to sign for it; shared by every [`Client`].
pub struct Endpoint {
    url: String,
    host: String,
    version: HeaderValue,
    reset_action: HeaderValue,
    signer: Signer,
    timeout: Duration,
    /// None: plain HTTP, which the configuration allows on loopback alone.
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// The actions this gateway ever asks for. Their names are not signed, so no text of a caller's becomes one.
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

/// Zenlayer's whole answer to one call.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The web firewall in front of the API answered: `cf-mitigated`, or status 451.
    pub firewall: bool,
    /// `Retry-After` in whole seconds, when it is that.
    pub retry_after: Option<u64>,
    pub body: Bytes,
}

/// A call that got no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No byte of it reached Zenlayer.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have reached Zenlayer.
    #[error("no trustworthy answer: {0}")]
    Unanswered(String),
}

impl Endpoint {
    /// Fails when `ca_file` holds no certificate, or the system has no usable ones.
    pub fn new(settings: &Upstream) -> Result<Self, TlsFault> {
        let header =
            |text: &str| HeaderValue::from_str(text).expect("the configuration allows printable ASCII only");
        let url = settings.url.as_str().trim_end_matches('/');
        let (_, host) = url.split_once("://").expect("the configuration holds a whole URL");
        let tls = match settings.url.scheme() {
            "http" => None,
            _ => Some(Arc::new(tls::client(settings.ca.as_deref())?)),
        };
        Ok(Self {
            host: host.to_owned(),
            url: format!("{url}{PATH}"),
            version: header(&settings.version),
            reset_action: header(&settings.action),
            signer: Signer::new(&settings.access_key_id, settings.access_key_password.expose()),
            timeout: settings.timeout,
            tls,
        })
    }
}

/// One worker's connections to Zenlayer. awc's client is not `Send`.
#[derive(Clone)]
pub struct Client {
    awc: awc::Client,
    endpoint: Arc<Endpoint>,
}

impl Client {
    /// A pool of connections of its own.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        let awc = bare_client(endpoint.tls.as_ref(), endpoint.timeout);
        Self { awc, endpoint }
    }

    /// Signs `body` and sends those very bytes. Nothing else varies between calls but the action and the time.
    pub async fn call(&self, action: Action, body: Zeroizing<Vec<u8>>) -> Result<Answer, CallError> {
        let Endpoint { url, host, version, reset_action, signer, timeout, .. } = &*self.endpoint;
        let timestamp = Timestamp::now().as_second();
        let authorization = signer.authorization(timestamp, host, CONTENT_TYPE, &body);
        let action_header = match action {
            Action::ResetPassword => reset_action.clone(),
            Action::DescribeInstances => HeaderValue::from_static("DescribeInstances"),
        };
        let request = self
            .awc
            .post(url)
            .no_decompress()
            .insert_header((header::HOST, host.as_str()))
            .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
            .insert_header((header::AUTHORIZATION, authorization))
            .insert_header((ACTION, action_header))
            .insert_header((VERSION, version.clone()))
            .insert_header((TIMESTAMP, timestamp))
            .insert_header((METHOD, "ZC2-HMAC-SHA256"));
        // The deadline covers the body of the answer too; awc's own ends with the answer's head.
        let call = async {
            let mut response = request.send_body(Bytes::from_owner(body)).await.map_err(unanswered)?;
            let limit = action.longest_answer();
            let body = response.body().limit(limit).await;
            let body = body.map_err(|e| CallError::Unanswered(format!("the answer's body: {e}")))?;
            let headers = response.headers();
            let retry_after =
                headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
            let status = response.status().as_u16();
            let firewall = status == 451 || headers.contains_key("cf-mitigated");
            Ok(Answer { status, firewall, retry_after, body })
        };
        let late = |_| CallError::Unanswered(format!("no answer within {} s", timeout.as_secs()));
        tokio::time::timeout(*timeout, call).await.map_err(late)?
    }
}

/// An awc client that follows no redirect and sends nothing of its own but its name.
fn bare_client(tls: Option<&Arc<rustls::ClientConfig>>, timeout: Duration) -> awc::Client {
    let connector = awc::Connector::new();
    let connector = match tls {
        Some(tls) => connector.rustls_0_23(tls.clone()),
        None => connector,
    };
    // Connecting and shaking hands end well before the call does: a timeout of the call cannot say whether
    // anything was sent, theirs can.
    let third = timeout / 3;
    let connector =
        connector.limit(1024).timeout(third).handshake_timeout(third).conn_keep_alive(Duration::from_secs(5));
    awc::Client::builder()
        .connector(connector)
        .timeout(timeout)
        .disable_redirects()
        .no_default_headers()
        .add_default_header((header::USER_AGENT, concat!("zengate/", env!("CARGO_PKG_VERSION"))))
        .finish()
}

const ACTION: HeaderName = HeaderName::from_static("x-zc-action");
const VERSION: HeaderName = HeaderName::from_static("x-zc-version");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-zc-timestamp");
const METHOD: HeaderName = HeaderName::from_static("x-zc-signature-method");

/// awc makes `Disconnected` only after a connection was had, and every other `Connect` from resolving,
/// connecting, the TLS handshake or the pool: only those prove that nothing was sent.
fn unanswered(error: SendRequestError) -> CallError {
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) => {
            CallError::Unanswered("the connection was closed".to_owned())
        }
        SendRequestError::Connect(e) => CallError::NotSent(e.to_string()),
        other => CallError::Unanswered(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_an_error_from_before_the_connection_proves_that_nothing_was_sent() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        for (row, error, not_sent) in [
            ("refused", SendRequestError::Connect(ConnectError::Io(refused())), true),
            ("not resolved", SendRequestError::Connect(ConnectError::NoRecords), true),
            ("connecting took too long", SendRequestError::Connect(ConnectError::Timeout), true),
            ("closed after it was had", SendRequestError::Connect(ConnectError::Disconnected), false),
            ("while sending", SendRequestError::Send(refused()), false),
            ("no answer in time", SendRequestError::Timeout, false),
        ] {
            assert_eq!(matches!(unanswered(error), CallError::NotSent(_)), not_sent, "{row}");
        }
    }
}
