use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{self, HeaderName, HeaderValue};
use bytes::Bytes;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::account::{Account, Share, Turn};
use super::circuit::{Pass, Suspended};
use super::signature::Signer;
use super::{
    ACTION, Action, Answer, CONTENT_TYPE, CallError, Deadlines, Digest, Endpoint, SIGNATURE_METHOD, Target,
    Unsendable, VERSION,
};
use crate::domain::Effort;
use crate::metrics::Metrics;

/// Leave to make one call: a turn in the account's budget, and the circuit's pass. Only [`Client::reserve`] makes one.
pub struct Slot {
    action: Action,
    share: Share,
    pass: Pass,
    turn: Turn,
}

/// What came of a call, and of the one with the key before when there was one.
pub struct Called {
    pub answer: Result<Answer, CallError>,
    /// Of one that was given up: what may still come of it.
    pub late: Option<Late>,
    pub effort: Effort,
}

/// What a call came to that was given up, if its answer comes after all.
pub type Late = Pin<Box<dyn Future<Output = Result<Answer, CallError>>>>;

/// One worker's connections to Zenlayer. awc's client is not `Send`.
#[derive(Clone)]
pub struct Client {
    /// Replaced as a whole, with its pool, after an answer that may not be all of one.
    awc: Rc<RefCell<awc::Client>>,
    endpoint: Arc<Endpoint>,
}

impl Client {
    /// A pool of connections of its own.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { awc: Rc::new(RefCell::new(pool(&endpoint))), endpoint }
    }

    /// Waits for leave to make one call: asks the circuit, then the account's budget.
    pub async fn reserve(&self, action: Action, share: Share) -> Result<Slot, Unsendable> {
        let refused = |why: &Suspended| {
            self.endpoint.metrics.account_refused("circuit-open");
            tracing::debug!(action = action.label(), "a call is not made: {why}");
        };
        let pass = self.endpoint.circuit(action).ask(&share).inspect_err(refused)?;
        let turn = self.endpoint.account.turn(share.clone()).await?;
        Ok(Slot { action, share, pass, turn })
    }

    /// Where resets go.
    pub fn target(&self) -> &Target {
        &self.endpoint.target
    }

    /// Signs `body` and sends those very bytes. Of no reset: those are decided, and sent.
    pub async fn call(&self, body: Zeroizing<Vec<u8>>, slot: Slot) -> Result<Answer, CallError> {
        self.call_or_send(body, slot, None).await.answer
    }

    /// The same of the reset that was decided, and of nothing else; all that came of it.
    pub async fn send(&self, body: Zeroizing<Vec<u8>>, slot: Slot, decided: &Digest) -> Called {
        self.call_or_send(body, slot, Some(decided)).await
    }

    async fn call_or_send(&self, body: Zeroizing<Vec<u8>>, slot: Slot, decided: Option<&Digest>) -> Called {
        let (action, share) = (slot.action, slot.share.clone());
        let body = Bytes::from_owner(body);
        let pair = self.endpoint.credentials.pair();
        let started = Instant::now();
        let called = self.attempt(body.clone(), slot, &pair.current, decided).await;
        let refused = called.answer.as_ref().is_ok_and(Answer::refuses_key);
        if !refused && called.answer.as_ref().is_ok_and(Answer::is_zenlayers) {
            pair.prove();
        }
        let Some(previous) = pair.previous().filter(|_| refused) else { return called };
        match self.reserve(action, share).await {
            Ok(slot) => {
                self.endpoint.metrics.previous_key_tried();
                self.endpoint.metrics.called(action.label(), "key_refused", started.elapsed());
                tracing::warn!(
                    "Zenlayer refuses the access key, so the call is tried with the one before it"
                );
                let again = self.attempt(body, slot, &previous, decided).await;
                Called { effort: called.effort.and(again.effort), ..again }
            }
            Err(_) => called,
        }
    }

    /// One call. Nothing varies between calls but the action, the body and the time.
    async fn attempt(&self, body: Bytes, slot: Slot, signer: &Signer, decided: Option<&Digest>) -> Called {
        let Endpoint { url, host, version, reset_action, deadlines, metrics, account, .. } = &*self.endpoint;
        let timestamp = Timestamp::now().as_second();
        let action_header = match slot.action {
            Action::ResetPassword => reset_action.clone(),
            Action::DescribeInstances => HeaderValue::from_static("DescribeInstances"),
        };
        let authorization = self.endpoint.authorization(signer, timestamp, &action_header, &body);
        let request = self
            .awc
            .borrow()
            .post(url)
            .no_decompress()
            .insert_header((header::HOST, host.as_str()))
            .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
            .insert_header((header::AUTHORIZATION, authorization))
            .insert_header((ACTION, action_header))
            .insert_header((VERSION, version.clone()))
            .insert_header((TIMESTAMP, timestamp))
            .insert_header((METHOD, SIGNATURE_METHOD));
        let fits = match (decided, slot.action) {
            (Some(decided), _) => Digest::of_request(&request, &body).as_ref() == Some(decided),
            (None, Action::DescribeInstances) => true,
            (None, Action::ResetPassword) => false,
        };
        if !fits {
            metrics.digest_mismatched();
            return Called { answer: Err(CallError::Mismatched), late: None, effort: Effort::default() };
        }
        let limit = slot.action.longest_answer();
        let begun = Rc::new(Cell::new(false));
        let began = begun.clone();
        let (client, endpoint) = (self.awc.clone(), self.endpoint.clone());
        let call: Late = Box::pin(async move {
            let mut response = request.send_body(body).await.map_err(unanswered)?;
            began.set(true);
            if !is_framed(response.headers()) {
                // awc takes a head without a length (an interim 103, say) for a whole answer, and the connection back
                // into its pool, where the real answer would be the next caller's. Nothing has run since: no other
                // call can have taken that connection yet.
                client.replace(pool(&endpoint));
                return Err(CallError::Unanswered("an answer whose end cannot be told".to_owned()));
            }
            let body = response.body().limit(limit).await;
            let body = body.map_err(|e| CallError::Unanswered(format!("the answer's body: {e}")))?;
            // awc takes the end of the connection for the end of the body.
            let announced = response.headers().get(header::CONTENT_LENGTH);
            let announced: Option<usize> = announced.and_then(|value| value.to_str().ok()?.parse().ok());
            if announced.is_some_and(|length| length != body.len()) {
                return Err(CallError::Unanswered("the answer's body: it ended before its end".to_owned()));
            }
            Ok(Answer::new(response.status().as_u16(), response.headers(), body))
        });
        let started = Instant::now();
        let (answer, late) = within(call, &begun, deadlines).await;
        let sent = !matches!(answer, Err(CallError::NotSent(_)));
        let effort = Effort::once(sent.then(|| started.elapsed()));
        let healthy = answer.as_ref().is_ok_and(Answer::is_zenlayers);
        slot.pass.tell(healthy);
        if let Ok(answer) = &answer {
            learn(answer, metrics, account);
        }
        drop(slot.turn);
        Called { answer, late, effort }
    }
}

/// Whether the head says where its body ends.
fn is_framed(headers: &header::HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

fn pool(endpoint: &Endpoint) -> awc::Client {
    let Deadlines { connect, whole, late, .. } = endpoint.deadlines;
    bare_client(endpoint.tls.as_ref(), connect, whole + late)
}

/// The answer within its deadlines; past one, the call itself, in case an answer comes after all.
async fn within(
    mut call: Late,
    begun: &Cell<bool>,
    deadlines: &Deadlines,
) -> (Result<Answer, CallError>, Option<Late>) {
    let first_byte = tokio::time::sleep(deadlines.first_byte);
    let whole = tokio::time::sleep(deadlines.whole);
    tokio::pin!(first_byte, whole);
    let late = |seconds: Duration, what: &str| {
        CallError::Unanswered(format!("no {what} within {} s", seconds.as_secs()))
    };
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return (answer, None),
            () = &mut whole => return (Err(late(deadlines.whole, "whole answer")), Some(call)),
            () = &mut first_byte, if !begun.get() => {
                // It may have begun since the branch was entered.
                if !begun.get() {
                    return (Err(late(deadlines.first_byte, "answer")), Some(call));
                }
            }
        }
    }
}

/// What an answer says of the account and of the clocks.
fn learn(answer: &Answer, metrics: &Metrics, account: &Account) {
    if answer.is_too_much() {
        account.too_much(answer.retry_after);
    }
    let Some(offset) = answer.clock_offset else { return };
    metrics.clock_offset(offset);
    if answer.code.as_deref() == Some("AUTHFAILURE_SIGNATURE_EXPIRED") {
        tracing::error!(
            clock.offset_seconds = offset,
            "Zenlayer refuses the time of a request: this host's clock is {} s {} Zenlayer's",
            offset.abs(),
            if offset < 0 { "behind" } else { "ahead of" },
        );
    }
}

/// An awc client that follows no redirect and sends nothing of its own but its name.
///
/// `longest` is until an answer begins: callers have shorter deadlines, and give the call up themselves.
pub(super) fn bare_client(
    tls: Option<&Arc<rustls::ClientConfig>>,
    connect: Duration,
    longest: Duration,
) -> awc::Client {
    let connector = awc::Connector::new();
    let connector = match tls {
        Some(tls) => connector.rustls_0_23(tls.clone()),
        None => connector,
    };
    // Connecting and shaking hands end well before the call does: a timeout of the call cannot say whether
    // anything was sent, theirs can. More connections than the account's budget allows calls never wait for one.
    let connector = connector
        .limit(2048)
        .timeout(connect)
        .handshake_timeout(connect)
        .conn_keep_alive(Duration::from_secs(5));
    awc::Client::builder()
        .connector(connector)
        .timeout(longest)
        .disable_redirects()
        .no_default_headers()
        .add_default_header((header::USER_AGENT, concat!("zengate/", env!("CARGO_PKG_VERSION"))))
        .finish()
}

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
