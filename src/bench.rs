//! What `benches/` may reach and nobody else (cargo feature `bench`).

use std::path::Path;
use std::sync::Arc;

use crate::authn::{Call, Identity, Origin};
use crate::authz::{Policies, PolicyRevision};
use crate::domain::{NewPassword, Password, RequestId, ResetRequest};
use crate::inventory::{Attributes, Seen, Tag};

/// A decision on one reset of the team payments, by the policies in `folder`: call it to decide once.
pub fn decision(folder: &Path) -> impl Fn() -> bool {
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
        policies.authorize(Seen::for_test(call, Some(attributes.clone()))).is_ok()
    }
}
