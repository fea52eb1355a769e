//! [`Intent`] -> [`Outcome`]: the one call that changes a password, and what its answer means.

mod answer;

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::audit::Intent;
use crate::domain::Outcome;
use crate::http::{Action, CallError, Client};
use crate::metrics::Metrics;

/// Sends resets to Zenlayer.
#[derive(Clone)]
pub struct Zenlayer {
    client: Client,
    metrics: Arc<Metrics>,
}

/// The whole body, built from the typed request and never from the caller's bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'r> {
    instance_id: &'r str,
    password: &'r str,
}

impl Zenlayer {
    /// Calls over `client`.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }

    /// Sends the reset that is on record, once.
    pub async fn send(&self, intent: &Intent) -> Outcome {
        let request = &intent.authorized().seen().call().request;
        let started = Instant::now();
        let body = Body { instance_id: request.instance.as_str(), password: request.password.expose() };
        let answer = self.client.call(Action::ResetPassword, bytes(&body)).await;
        let outcome = match answer {
            Ok(answer) => answer::read(&answer),
            Err(CallError::NotSent(why)) => {
                tracing::warn!(audit.id = %intent.reset_id(), "Zenlayer cannot be reached, nothing was sent: {why}");
                Outcome::NotSent
            }
            Err(CallError::Unanswered(why)) => {
                tracing::warn!(audit.id = %intent.reset_id(), "Zenlayer gave no answer to be trusted, the password may have changed: {why}");
                Outcome::Unknown { upstream_code: None, upstream_request_id: None }
            }
        };
        self.metrics.called(Action::ResetPassword.label(), outcome.status().as_str(), started.elapsed());
        outcome
    }
}

/// Serialized into room enough from the start: a buffer that grows leaves copies behind.
fn bytes(body: &Body<'_>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    serde_json::to_writer(&mut *bytes, body).expect("two texts serialize into memory");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_two_fields_and_fits_its_room() {
        let (instance, password) = ("i".repeat(64), "\"".repeat(16));
        let body = bytes(&Body { instance_id: &instance, password: &password });
        assert_eq!(body.capacity(), 256);
        assert_eq!(
            bytes(&Body { instance_id: "ins-a", password: "Zz9~!@$^*-_=+aB0" }).as_slice(),
            br#"{"instanceId":"ins-a","password":"Zz9~!@$^*-_=+aB0"}"#
        );
    }
}
