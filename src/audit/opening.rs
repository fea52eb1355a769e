//! How a writer's chain begins, whoever writes it.

use super::anchors;
use super::commit::Committer;
use super::event::Event;
use super::store::{Source, StoreError};
use super::writer::{Draft, WRITER_GONE};
use super::{About, now};
use crate::domain::{Outcome, Status, Unsent};

/// Its first record: it names the ends of other chains.
pub(super) fn start(committer: &Committer, source: &dyn Source) -> Result<Draft, StoreError> {
    let heads = anchors::not_yet_anchored(source)?;
    let (version, signing_key) = (env!("CARGO_PKG_VERSION"), committer.key().id());
    Ok(Draft::event(&Event::Start { version, signing_key, heads: &heads }))
}

/// An outcome for each reset that dead writers left open: what was queued was not sent, of the rest nobody knows.
pub(super) fn closed_orphans(committer: &mut Committer) -> Result<Vec<Draft>, StoreError> {
    let orphans = committer.orphans()?;
    if !orphans.is_empty() {
        tracing::warn!(
            resets = orphans.len(),
            "resets were in flight when their writer of the trail ended: they are recorded as unknown, or as not sent where they still waited for their turn"
        );
    }
    let closed = orphans.iter().map(|reset| {
        let outcome = match reset.status {
            // Nothing is sent before its intent is on record.
            Status::Queued => Outcome::NotSent(Unsent::Unreachable),
            _ => Outcome::Unknown { upstream_code: None, upstream_request_id: None },
        };
        Draft::outcome(&About::of(reset, None), &outcome, None, now(), Some(WRITER_GONE))
    });
    Ok(closed.collect())
}
