//! A request by an idempotency key is served once. Who asks again is answered from the trail.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Done, Gateway, Refused};
use crate::audit::{ReadError, Refused as Why, Reset, Trail, Unopened, WriteError};
use crate::authn::Identity;
use crate::authz::Authorized;
use crate::domain::{Keyed, ResetId, Status};
use crate::idempotency::{InFlight, Met, Place};
use crate::ratelimit::{self, Limited};

/// What became of the request when it was served.
#[derive(Debug)]
pub struct Replay {
    pub id: ResetId,
    pub known: Known,
}

/// What is on record of it.
#[derive(Debug)]
pub enum Known {
    /// As it is now, accepted or unknown.
    Reset(Box<Reset>),
    /// The resets of a batch, as they are now.
    Batch(Vec<Reset>),
    /// It was pruned.
    Nothing,
}

/// A request that is not served for its idempotency key.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unclaimed {
    pub authorized: Authorized,
    #[source]
    pub error: KeyError,
}

/// Why a key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// As this reset, if it has begun.
    #[error("the same request is worked on")]
    InFlight(Option<ResetId>),
    #[error("the key stands for another request")]
    Reused,
    #[error("too many keys are looked up at a time (idempotency.max_in_flight)")]
    Full,
    /// The trail was put back from a backup.
    #[error("which keys are new cannot be told until {0}")]
    Forgotten(Timestamp),
    #[error(transparent)]
    Unread(#[from] ReadError),
}

/// Whose turn it is.
pub(super) enum Turn {
    /// This one's, and by its key nobody else's while it has the place.
    First(Option<Place>),
    /// It was served before.
    Again(Replay),
}

pub(super) enum Found {
    New(Place),
    Before(Replay),
}

impl Gateway {
    /// After policy, before all that would be charged.
    pub(super) async fn turn(&self, authorized: Authorized) -> Result<(Authorized, Turn), Refused> {
        let call = authorized.seen().call();
        let Some(keyed) = &call.key else { return Ok((authorized, Turn::First(None))) };
        match find(&self.in_flight, &self.trail, call.principal.identity(), keyed).await {
            Ok(Found::New(place)) => Ok((authorized, Turn::First(Some(place)))),
            Ok(Found::Before(replay)) => Ok((authorized, Turn::Again(replay))),
            Err(error) => Err(Box::new(Unclaimed { authorized, error }).into()),
        }
    }
}

/// The place before the look: whoever has given it up by then is on record.
pub(super) async fn find(
    in_flight: &Arc<InFlight>,
    trail: &Trail,
    caller: &Identity,
    keyed: &Keyed,
) -> Result<Found, KeyError> {
    let place = in_flight.take(caller, keyed)?;
    if let Some(replay) = before(trail, caller, keyed).await? {
        return Ok(Found::Before(replay));
    }
    match trail.forgetful_until().await? {
        Some(until) => Err(KeyError::Forgotten(until)),
        None => Ok(Found::New(place)),
    }
}

/// What the trail knows of the key.
async fn before(trail: &Trail, caller: &Identity, keyed: &Keyed) -> Result<Option<Replay>, KeyError> {
    let Some(claimed) = trail.claimed(caller, keyed).await? else { return Ok(None) };
    if !claimed.is_of(&keyed.fingerprint) {
        return Err(KeyError::Reused);
    }
    let id = claimed.target;
    let Some(reset) = claimed.reset else {
        let resets = trail.batch(id).await?;
        let known = if resets.is_empty() { Known::Nothing } else { Known::Batch(resets) };
        return Ok(Some(Replay { id, known }));
    };
    match reset.status {
        Status::Accepted | Status::Unknown => Ok(Some(Replay { id, known: Known::Reset(Box::new(reset)) })),
        // What changed nothing gives its key back, so it is on its way to do so.
        Status::Queued | Status::Sent | Status::Rejected | Status::NotSent => {
            Err(KeyError::InFlight(Some(id)))
        }
    }
}

/// A quota may be spent, or an instance rest, for what another replica did by the same key just now.
pub(super) async fn limited(trail: &Trail, limited: Box<Limited>) -> Result<Done, Refused> {
    let call = limited.authorized.seen().call();
    let (ratelimit::Error::Spent(_), Some(keyed)) = (&limited.error, &call.key) else {
        return Err(limited.into());
    };
    match spent_by_another(trail, call.principal.identity(), keyed).await {
        Ok(Some(replay)) => Ok(Done::Again(replay)),
        Ok(None) => Err(limited.into()),
        Err(error) => Err(Box::new(Unclaimed { authorized: limited.authorized, error }).into()),
    }
}

/// What another replica did by the key where a quota has no room; None: nothing that is known.
pub(super) async fn spent_by_another(
    trail: &Trail,
    caller: &Identity,
    keyed: &Keyed,
) -> Result<Option<Replay>, KeyError> {
    match before(trail, caller, keyed).await {
        Err(KeyError::Unread(_)) => Ok(None),
        known => known,
    }
}

/// What another replica did that has put the key on record first.
pub(super) async fn claimed_by_another(
    trail: &Trail,
    caller: &Identity,
    keyed: &Keyed,
) -> Result<Replay, KeyError> {
    // Where it was released in the meantime, the next try has it.
    before(trail, caller, keyed).await?.ok_or(KeyError::InFlight(None))
}

/// Another replica may have put the same key on record first.
pub(super) async fn unopened(trail: &Trail, unopened: Box<Unopened>) -> Result<Done, Refused> {
    let call = unopened.permit.authorized().seen().call();
    let (WriteError::Claimed, Some(keyed)) = (&unopened.error, &call.key) else {
        return Err(unopened.into());
    };
    let error = match claimed_by_another(trail, call.principal.identity(), keyed).await {
        Ok(replay) => return Ok(Done::Again(replay)),
        Err(error) => error,
    };
    let (authorized, charged) = unopened.permit.into_parts();
    charged.give_back();
    Err(Box::new(Unclaimed { authorized, error }).into())
}

impl From<Met> for KeyError {
    fn from(met: Met) -> Self {
        match met {
            Met::Same => Self::InFlight(None),
            Met::Other => Self::Reused,
            Met::Full => Self::Full,
        }
    }
}

impl KeyError {
    /// As the metric names it; None of what says nothing of the key.
    pub(super) fn met(&self) -> Option<&'static str> {
        match self {
            Self::InFlight(_) => Some("in-flight"),
            Self::Reused => Some("reused"),
            Self::Full | Self::Forgotten(_) | Self::Unread(_) => None,
        }
    }

    /// For the record.
    pub(super) fn why(&self) -> Why {
        match self {
            Self::InFlight(_) => Why::IdempotencyInFlight,
            Self::Reused => Why::IdempotencyKeyReused,
            Self::Full | Self::Forgotten(_) | Self::Unread(_) => Why::IdempotencyUnavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Maintenance;
    use crate::audit::tests::{EFFORT, Fixture, accepted, keyed};
    use crate::http::Target;

    fn shown(done: Result<Done, Refused>) -> String {
        match done {
            Ok(Done::Now(_)) => "now".to_owned(),
            Ok(Done::Again(Replay { known: Known::Reset(reset), .. })) => reset.status.as_str().to_owned(),
            Ok(Done::Again(_)) => "pruned".to_owned(),
            Err(Refused::Unclaimed(unclaimed)) => unclaimed.error.to_string(),
            Err(refused) => refused.to_string(),
        }
    }

    #[tokio::test]
    async fn what_a_quota_or_the_trail_refuses_is_answered_from_what_another_replica_did_by_the_key() {
        let fixture = Fixture::new();
        let trail = fixture.trail();
        // On this replica the instance rests, for whatever reason.
        drop(
            trail.open(fixture.keyed_permit("ins-1", "first", 1), &Target::for_test()).await.expect("opened"),
        );
        let limited = async |byte| {
            let limited = fixture.keyed("ins-1", "k", byte).expect_err("it rests");
            shown(super::limited(&trail, limited).await)
        };
        let unopened = async |byte| {
            let permit = fixture.keyed_permit(&format!("ins-{}", ResetId::generate()), "k", byte);
            let error = WriteError::Claimed;
            shown(super::unopened(&trail, Box::new(Unopened { permit, error })).await)
        };
        assert_eq!(limited(1).await, "a limit is spent");
        assert_eq!(unopened(1).await, "the same request is worked on", "it was released meanwhile");
        let open =
            trail.open(fixture.keyed_permit("ins-2", "k", 1), &Target::for_test()).await.expect("opened");
        for answer in [limited(1).await, unopened(1).await] {
            assert_eq!(answer, "the same request is worked on");
        }
        for answer in [limited(2).await, unopened(2).await] {
            assert_eq!(answer, "the key stands for another request");
        }
        trail.close(open, accepted(), EFFORT).await;
        for answer in [limited(1).await, unopened(1).await] {
            assert_eq!(answer, "accepted");
        }
        trail.stop();
    }

    #[tokio::test]
    async fn a_key_that_another_replica_has_costs_no_quota() {
        let fixture = Fixture::new();
        let trail = fixture.trail();
        drop(trail.open(fixture.keyed_permit("ins-1", "k", 1), &Target::for_test()).await.expect("opened"));
        let opened = trail.open(fixture.keyed_permit("ins-2", "k", 2), &Target::for_test()).await;
        assert!(super::unopened(&trail, opened.expect_err("claimed")).await.is_err());
        drop(fixture.keyed_permit("ins-2", "k", 2));
        trail.stop();
    }

    #[tokio::test]
    async fn after_a_restore_no_key_is_new_for_a_life() {
        let fixture = Fixture::new();
        let trail = fixture.trail();
        let open =
            trail.open(fixture.keyed_permit("ins-1", "old", 1), &Target::for_test()).await.expect("opened");
        trail.close(open, accepted(), EFFORT).await;
        trail.stop();
        let restore = || {
            let mut maintenance = Maintenance::open(&fixture.settings()).expect("opened");
            maintenance.restored(&"a test".parse().expect("a reason")).expect("on record");
            maintenance.finish().expect("finished");
        };
        restore();
        let (caller, in_flight) = (Identity::for_test("alice", &[]), Arc::new(InFlight::new(10)));
        let find =
            async |trail: &Trail, key: &str| match find(&in_flight, trail, &caller, &keyed(key, 1)).await {
                Ok(Found::New(_)) => "new".to_owned(),
                Ok(Found::Before(_)) => "before".to_owned(),
                Err(error) => error.to_string(),
            };
        let trail = fixture.trail();
        assert!(find(&trail, "k").await.starts_with("which keys are new cannot be told until 20"));
        assert_eq!(find(&trail, "old").await, "before", "what the backup has is known");
        trail.stop();
        let trail = fixture.trail().with_key_life(std::time::Duration::from_millis(1));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert_eq!(find(&trail, "k").await, "new", "a life later");
        assert_eq!(find(&trail, "k").await, "new", "its place was given up");
        trail.stop();
    }
}
