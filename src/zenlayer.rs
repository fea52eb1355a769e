//! [`Intent`] -> [`Outcome`]: the one call that changes a password, and what its answer means.

mod answer;
mod codes;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use serde::Serialize;
use tower::retry::budget::{Budget, TpsBudget};
use zeroize::Zeroizing;

use crate::audit::Intent;
use crate::config::Upstream;
use crate::domain::{Effort, Outcome, Rejection, TeamName, Unsent};
use crate::http::{Action, Answer, CallError, Called, Client, Late, Share, Slot, Target, Unsendable};
use crate::metrics::Metrics;

/// Sends resets to Zenlayer.
#[derive(Clone)]
pub struct Zenlayer {
    client: Client,
    retries: Rc<Retries>,
    late: Duration,
    metrics: Arc<Metrics>,
}

/// When a reset of which surely nothing came is tried again.
struct Retries {
    most: usize,
    window: Duration,
    /// Of one worker: a fifth of its resets, and one a second beside, so that trying again never makes a bad hour
    /// worse.
    budget: TpsBudget,
}

/// What came of a reset, and what may still come of it.
pub struct Sent {
    pub outcome: Outcome,
    pub effort: Effort,
    /// Of one that was given up: what its answer says, if one comes after all.
    pub late: Option<LateOutcome>,
}

/// An outcome that comes after the caller was answered.
pub struct LateOutcome {
    answer: Late,
    longest: Duration,
    /// Until it was given up.
    effort: Effort,
    given_up: Instant,
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
    pub fn new(client: Client, settings: &Upstream, metrics: Arc<Metrics>) -> Self {
        let retries = Retries {
            most: settings.retries,
            window: settings.retry_window,
            budget: TpsBudget::new(Duration::from_secs(10), 1, 0.2),
        };
        Self { client, retries: Rc::new(retries), late: settings.late_answer, metrics }
    }

    /// Where resets go.
    pub fn target(&self) -> &Target {
        self.client.target()
    }

    /// Leave to send one reset: from the circuit and from the account's budget. Asked for before the intent, so that
    /// nothing is on record that could not be tried.
    pub async fn reserve(&self, team: &TeamName) -> Result<Slot, Unsendable> {
        self.client.reserve(Action::ResetPassword, Share::Team(team.clone())).await
    }

    /// Sends the reset that is on record. It is sent again only when surely nothing came of it.
    pub async fn send(&self, intent: &Intent, slot: Slot) -> Sent {
        let started = Instant::now();
        let mut slot = slot;
        let mut waits = backoff(self.retries.most);
        self.retries.budget.deposit();
        let mut effort = Effort::default();
        loop {
            let (outcome, late, took) = match intent.stands() {
                true => self.once(intent, slot).await,
                false => (lapsed(intent), None, Effort::default()),
            };
            effort = effort.and(took);
            let Some(wait) = self.wait(&outcome, waits.next(), started) else {
                let late = late.map(|answer| LateOutcome {
                    answer,
                    longest: self.late,
                    effort,
                    given_up: Instant::now(),
                });
                return Sent { outcome, effort, late };
            };
            tokio::time::sleep(wait).await;
            slot = match self.reserve(intent.authorized().seen().call().principal.team()).await {
                Ok(slot) => slot,
                Err(_) => return Sent { outcome, effort, late: None },
            };
            self.metrics.retried(outcome.status().as_str());
        }
    }

    async fn once(&self, intent: &Intent, slot: Slot) -> (Outcome, Option<Late>, Effort) {
        let request = &intent.authorized().seen().call().request;
        let (started, password) = (Instant::now(), request.password.get());
        let body = Body { instance_id: request.instance.as_str(), password: password.expose() };
        let Called { answer, late, effort } = self.client.send(bytes(&body), slot, intent.digest()).await;
        let outcome = match &answer {
            // An answer that tells the password back is believed, but not kept in its words.
            Ok(answer) => self.read(answer).without(body.password),
            Err(CallError::NotSent(why)) => {
                tracing::warn!(audit.id = %intent.reset_id(), "Zenlayer cannot be reached, nothing was sent: {why}");
                Outcome::NotSent(Unsent::Unreachable)
            }
            Err(CallError::Mismatched) => {
                tracing::error!(audit.id = %intent.reset_id(), digest = intent.digest().as_str(), "a reset was about to be sent that is not what was decided, so nothing was sent: this is a fault of the gateway, report it");
                return (Outcome::NotSent(Unsent::Mismatched), late, effort);
            }
            Err(CallError::Unanswered(why)) => {
                tracing::warn!(audit.id = %intent.reset_id(), "Zenlayer gave no answer to be trusted, the password may have changed: {why}");
                Outcome::Unknown { upstream_code: None, upstream_request_id: None }
            }
        };
        self.metrics.called(Action::ResetPassword.label(), outcome.status().as_str(), started.elapsed());
        (outcome, late, effort)
    }

    fn read(&self, answer: &Answer) -> Outcome {
        self.metrics.upstream_error(Action::ResetPassword.label(), answer::label(answer));
        answer::read(answer)
    }

    /// How long to wait before another try; None: this was the last.
    fn wait(&self, outcome: &Outcome, next: Option<Duration>, started: Instant) -> Option<Duration> {
        let asked = match outcome {
            Outcome::NotSent(Unsent::Unreachable) => Duration::ZERO,
            Outcome::Rejected { why: Rejection::Busy { retry_after }, .. } => {
                // No wait outlasts the window, whatever is asked for.
                Duration::from_secs(retry_after.unwrap_or_default().min(3600))
            }
            Outcome::Accepted { .. }
            | Outcome::Rejected { .. }
            | Outcome::Unknown { .. }
            | Outcome::NotSent(Unsent::Mismatched | Unsent::Lapsed) => return None,
        };
        // Full jitter: anything up to the step, so that those who failed together do not try together.
        let wait = next?.mul_f64(fastrand::f64()).max(asked);
        let in_time = started.elapsed() + wait <= self.retries.window;
        (in_time && self.retries.budget.withdraw()).then_some(wait)
    }
}

fn lapsed(intent: &Intent) -> Outcome {
    tracing::error!(audit.id = %intent.reset_id(), "the gateway was held up for so long that others may have taken it for dead, so nothing was sent");
    Outcome::NotSent(Unsent::Lapsed)
}

/// 0.25, 0.5, 1, 2, 4 s.
fn backoff(most: usize) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(250)).with_max_times(most).build()
}

impl LateOutcome {
    /// Waits for it; None: nothing more can be learned.
    pub async fn come(self) -> Option<(Outcome, Effort)> {
        let answer = tokio::time::timeout(self.longest, self.answer).await.ok()?.ok()?;
        let outcome = answer::read(&answer);
        let upstream = self.effort.upstream.map(|sofar| sofar + self.given_up.elapsed());
        let effort = Effort { upstream, ..self.effort };
        (!matches!(outcome, Outcome::Unknown { .. })).then_some((outcome, effort))
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
    use std::net::TcpListener;

    use actix_web::rt::System;
    use serde_json::Value;

    use super::*;
    use crate::audit::{Filter, Order, Stored, Trail};
    use crate::authz::tests::{authorized, revision_with};
    use crate::config::Config;
    use crate::http::Endpoint;
    use crate::ratelimit::Limiter;

    #[test]
    fn what_is_not_what_the_intent_says_is_recorded_as_not_sent_and_never_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        listener.set_nonblocking(true).expect("set");
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let config = format!(
            "[issuers.corp]\nissuer = \"https://corp.test\"\nalgorithms = [\"HS256\"]\nsecret_file = \"secret\"\n\
             may_assert_teams = [\"a\"]\n[upstream]\nurl = \"http://{}\"\naccess_key_id = \"ak\"\n\
             access_key_password_file = \"secret\"\n",
            listener.local_addr().expect("an address")
        );
        std::fs::write(path("secret"), "x".repeat(64)).expect("written");
        std::fs::write(path("zengate.toml"), config).expect("written");
        let env = std::collections::BTreeMap::<String, String>::new();
        let config = Config::load(&path("zengate.toml"), &env).unwrap_or_else(|e| panic!("{e}"));
        let metrics = Arc::<Metrics>::default();
        let limiter = Limiter::new(&revision_with("x", ""), &config.limits, None, metrics.clone());
        let trail = Trail::start(&config.audit, metrics.clone()).unwrap_or_else(|e| panic!("{e}"));
        System::new().block_on(async {
            let endpoint = Endpoint::new(&config.upstream, metrics.clone()).expect("no TLS");
            let zenlayer = Zenlayer::new(Client::new(Arc::new(endpoint)), &config.upstream, metrics.clone());
            let permit = limiter.admit_now(authorized("a", "ins-1", "")).expect("within all quotas");
            // Decided for another host than requests go to.
            let intent = trail.open(permit, &Target::for_test()).await.expect("opened");
            let slot = zenlayer.reserve(&"a".parse().expect("a name")).await.expect("the account is idle");
            let Sent { outcome, effort, late } = zenlayer.send(&intent, slot).await;
            assert_eq!((&outcome, effort), (&Outcome::NotSent(Unsent::Mismatched), Effort::default()));
            assert!(late.is_none());
            trail.close(intent, outcome, effort).await;
        });
        assert!(listener.accept().is_err(), "nobody connected");
        trail.stop();
        let mut records = Vec::<Value>::new();
        let each =
            |stored: Stored| (records.push(serde_json::from_str(&stored.record).expect("JSON")), true).1;
        trail.reader().each(&Filter::default(), Order::OldestFirst, each).expect("readable");
        assert_eq!(records[1]["digest"].as_str().map(str::len), Some(64));
        let outcome = &records[2];
        assert_eq!((&outcome["outcome"], &outcome["cause"]), (&"not_sent".into(), &"digest mismatch".into()));
        assert_eq!((&outcome["attempts"], outcome.get("upstreamMs")), (&0.into(), None));
        let text = String::from_utf8(metrics.encode()).expect("text");
        assert!(text.contains("zengate_upstream_digest_mismatches_total 1"), "{text}");
        assert!(limiter.admit_now(authorized("a", "ins-1", "")).is_ok(), "the charge came back");
    }

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
