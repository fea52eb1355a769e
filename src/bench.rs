//! What `benches/` may reach and nobody else (cargo feature `bench`).

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use crate::authn::{Call, Identity, Origin};
use crate::authz::{Authorized, Policies, PolicyRevision};
use crate::config;
use crate::domain::{NewPassword, Password, RequestId, ResetRequest};
use crate::inventory::{Attributes, Seen, Tag};
use crate::ratelimit::Limiter;
use crate::redis::Link;

/// A decision on one reset of the team payments, by the policies in `folder`: call it to decide once.
pub fn decision(folder: &Path) -> impl Fn() -> bool {
    let decide = authorization(folder);
    move || decide().is_some()
}

/// So many resets of the team payments, charged at a time by these settings and the limits in `folder`: call it to
/// charge each once. In this process it is also given back.
pub fn admission(folder: &Path, settings: &config::Limits, at_a_time: usize) -> impl AsyncFn() {
    let revision = PolicyRevision::load(folder).unwrap_or_else(|e| panic!("{e}"));
    let redis = settings
        .redis
        .as_ref()
        .map(|settings| Arc::new(Link::start(settings, Arc::default()).unwrap_or_else(|e| panic!("{e}"))));
    let limiter = Limiter::new(&revision, settings, redis, Arc::default());
    let in_process = settings.redis.is_none();
    let authorize = authorization(folder);
    let all: Vec<_> = (0..at_a_time).map(|_| Cell::new(authorize())).collect();
    async move || {
        let each = all.iter().map(async |place| {
            let authorized = place.take().expect("it was put back");
            let permit = limiter.admit(authorized).await.expect("within all quotas");
            let (authorized, charged) = permit.into_parts();
            // No quota has as much as a process can charge.
            if in_process {
                charged.give_back();
            } else {
                charged.keep();
            }
            place.set(Some(authorized));
        });
        futures_util::future::join_all(each).await;
    }
}

fn authorization(folder: &Path) -> impl Fn() -> Option<Authorized> {
    let revision = PolicyRevision::load(folder).unwrap_or_else(|e| panic!("{e}"));
    let policies = Policies::new(revision, jiff::tz::TimeZone::UTC, Arc::default());
    let mut attributes = Attributes::unknown("ins-1".parse().expect("an id"));
    let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
    attributes.tags = [tag("team", "payments"), tag("env", "dev")].into();
    let origin = Origin {
        request_id: RequestId::generate(),
        trace: None,
        address: "192.0.2.7".parse().expect("an address"),
        user_agent: None,
        at: jiff::Timestamp::now(),
        arrived: std::time::Instant::now(),
    };
    let password = Arc::new(Password::parse("Example~2026".to_owned()).expect("a password"));
    move || {
        let call = Call {
            principal: Identity::for_test("alice", &["payments"]).acting_for(None).expect("one team"),
            request: ResetRequest {
                instance: "ins-1".parse().expect("an id"),
                password: NewPassword::Typed(password.clone()),
                reason: None,
                ticket: None,
                batch: None,
            },
            key: None,
            origin: origin.clone(),
        };
        policies.authorize(Seen::for_test(call, Some(attributes.clone()))).ok()
    }
}
