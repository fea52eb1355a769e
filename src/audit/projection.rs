//! Records of a reset -> the reset: what the projection beside the trail must say.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::Deserialize;

use super::read::{BATCH, each};
use super::record::Kind;
use super::store::{Filter, Order, Place, Source, StoreError, Stored};
use super::writer::WRITER_GONE;
use super::{Position, Reset};
use crate::domain::{ResetId, Status};

/// Why no reset can be told from its records.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untold {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This one does not say what a record of its kind says.
    #[error("writer {}, sequence {}: it does not say what it should of a reset", .0.writer, .0.sequence)]
    Record(Position),
}

/// What a record says of its reset.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    kind: String,
    time: String,
    batch_id: Option<String>,
    queued_at: Option<String>,
    request_id: Option<String>,
    team: Option<String>,
    instance_id: Option<String>,
    #[serde(default)]
    policies: Vec<String>,
    reason: Option<String>,
    ticket: Option<String>,
    sealed_password: Option<String>,
    outcome: Option<String>,
    cause: Option<String>,
    upstream_code: Option<String>,
    upstream_request_id: Option<String>,
}

/// A reset by its records.
pub(super) struct Told {
    pub(super) reset: Reset,
    /// Where it was queued, if it was and that is left.
    pub(super) queued: Option<Position>,
}

struct Closed {
    status: Status,
    cause: Option<String>,
    upstream_code: Option<String>,
    upstream_request_id: Option<String>,
    at: Timestamp,
}

/// Which of a reset's outcomes counts, as [`super::store::Projection::Close`] has it: the greatest. One that is known
/// before `unknown`, what its own process said before what others found when that was gone, the later before the
/// earlier: only one process says it itself, and its writers' names are in order.
type Rank = (bool, bool, String, u64);

/// The reset as its records tell it; None where nothing is left that begins one.
pub(super) fn told(source: &dyn Source, id: ResetId) -> Result<Option<Told>, Untold> {
    let mut begun: Option<Told> = None;
    let mut newest: Option<(Rank, Closed)> = None;
    let mut unread = None;
    let of_reset = Filter { reset: Some(id), ..Filter::default() };
    each(source, &of_reset, Order::OldestFirst, |Stored { position, record }| {
        let said = serde_json::from_str::<Said>(&record).ok();
        let read = said.and_then(|said| match said.kind.as_str() {
            "queued" if begun.is_some() => Some(()),
            "queued" => {
                let reset = opened(id, Status::Queued, said, position.clone())?;
                begun = Some(Told { reset, queued: Some(position.clone()) });
                Some(())
            }
            "intent" if begun.as_ref().is_some_and(|told| told.reset.status == Status::Sent) => Some(()),
            "intent" => {
                let queued = begun.take().and_then(|told| told.queued);
                let reset = opened(id, Status::Sent, said, position.clone())?;
                begun = Some(Told { reset, queued });
                Some(())
            }
            "outcome" => {
                let own = said.cause.as_deref() != Some(WRITER_GONE);
                let closed = closed(said)?;
                let known = closed.status != Status::Unknown;
                let rank = (known, own, position.writer.clone(), position.sequence);
                if newest.as_ref().is_none_or(|(newest, _)| *newest < rank) {
                    newest = Some((rank, closed));
                }
                Some(())
            }
            // A kind of a later version.
            _ => Some(()),
        });
        unread = read.is_none().then_some(position);
        unread.is_none()
    })?;
    if let Some(position) = unread {
        return Err(Untold::Record(position));
    }
    let Some(mut told) = begun else { return Ok(None) };
    if let Some((_, closed)) = newest {
        let reset = &mut told.reset;
        reset.status = closed.status;
        reset.cause = closed.cause;
        reset.upstream_code = closed.upstream_code;
        reset.upstream_request_id = closed.upstream_request_id;
        reset.finished_at = Some(closed.at);
    }
    Ok(Some(told))
}

fn opened(id: ResetId, status: Status, said: Said, receipt: Position) -> Option<Reset> {
    let batch = match said.batch_id {
        Some(id) => Some(id.parse().ok()?),
        None => None,
    };
    Some(Reset {
        id,
        batch,
        instance: said.instance_id?.parse().ok()?,
        team: said.team?.parse().ok()?,
        status,
        request_id: said.request_id?.parse().ok()?,
        upstream_request_id: None,
        upstream_code: None,
        cause: None,
        reason: said.reason,
        ticket: said.ticket,
        policies: said.policies,
        created_at: said.queued_at.unwrap_or(said.time).parse().ok()?,
        finished_at: None,
        sealed_password: said.sealed_password,
        receipt,
    })
}

fn closed(said: Said) -> Option<Closed> {
    let status = Status::from_name(&said.outcome?)?;
    Some(Closed {
        status,
        cause: said.cause.filter(|_| status == Status::NotSent),
        upstream_code: said.upstream_code,
        upstream_request_id: said.upstream_request_id,
        at: said.time.parse().ok()?,
    })
}

/// The reset that an intent begins, or that is queued.
pub(super) fn reset_of(record: &str) -> Option<ResetId> {
    named(&BEGINNINGS, record)
}

/// The reset that an outcome ends.
pub(super) fn ended_by(record: &str) -> Option<ResetId> {
    named(&[Kind::Outcome], record)
}

fn named(kinds: &[Kind], record: &str) -> Option<ResetId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        kind: String,
        reset_id: String,
    }
    let named: Named = serde_json::from_str(record).ok()?;
    kinds.iter().any(|kind| kind.as_str() == named.kind).then(|| named.reset_id.parse().ok())?
}

/// What a reset begins with.
pub(super) const BEGINNINGS: [Kind; 2] = [Kind::Queued, Kind::Intent];

/// Every reset of the trail, as its records tell it: what [`super::store::Store::replace_projection`] writes. Holds
/// few of them at a time.
pub(super) fn rebuilt(source: &dyn Source) -> impl Iterator<Item = Result<Reset, Untold>> {
    BEGINNINGS.into_iter().flat_map(|kind| rebuilt_from(source, kind))
}

/// Those whose receipt is a record of this kind.
fn rebuilt_from(source: &dyn Source, kind: Kind) -> impl Iterator<Item = Result<Reset, Untold>> {
    let mut after: Option<Place> = None;
    let mut page = VecDeque::new();
    let mut ended = false;
    std::iter::from_fn(move || {
        loop {
            let Some(Stored { position, record }) = page.pop_front() else {
                if ended {
                    return None;
                }
                let beginnings = Filter { kind: Some(kind), ..Filter::default() };
                match source.page(&beginnings, Order::OldestFirst, after.as_ref(), BATCH) {
                    Ok(next) => {
                        ended = next.len() < BATCH;
                        after = next.last().map(Stored::place);
                        page = next.into();
                    }
                    Err(error) => {
                        ended = true;
                        return Some(Err(error.into()));
                    }
                }
                continue;
            };
            let Some(id) = reset_of(&record) else { return Some(Err(Untold::Record(position))) };
            match told(source, id) {
                // One that came back has the reset of the first one; one that was queued and sent, of its intent.
                Ok(told) => match told.filter(|told| told.reset.receipt == position) {
                    Some(told) => return Some(Ok(told.reset)),
                    None => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::{EFFORT, Fixture, accepted};
    use crate::audit::writer::Draft;
    use crate::audit::{About, Reader, now};
    use crate::config;
    use crate::domain::Outcome;
    use crate::http::Target;

    #[tokio::test]
    async fn the_projection_equals_its_rebuild_whatever_became_of_a_reset() {
        let fixture = Fixture::new();
        let trail = fixture.trail();
        let unknown = Outcome::Unknown { upstream_code: Some("X".to_owned()), upstream_request_id: None };
        let target = Target::for_test();
        let opened = |instance: &str| trail.open(fixture.permit(instance), &target);
        trail.close(opened("accepted").await.expect("opened"), accepted(), EFFORT).await;
        drop(opened("dropped").await.expect("opened"));
        let late = opened("corrected").await.expect("opened");
        let late = trail.close(late, unknown.clone(), EFFORT).await.about();
        trail.correct(&late, &accepted(), EFFORT).await;
        let left =
            trail.close(opened("left-open").await.expect("opened"), unknown, EFFORT).await.reset().clone();
        trail.stop();
        // As if the process had ended before the last outcome.
        let file = rusqlite::Connection::open(fixture.path()).expect("opened");
        let open = format!(
            "DROP TRIGGER records_are_never_deleted;
             DELETE FROM records WHERE sequence > {};
             UPDATE resets SET status = 'sent', upstream_code = NULL, finished_at = NULL WHERE id = '{}';
             CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records
                BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;",
            left.receipt.sequence, left.id
        );
        file.execute_batch(&open).expect("changed");
        let compare = |row: &str| {
            let reader = Reader::open(&config::Audit::sqlite(&fixture.path())).expect("readable");
            let rows = reader.source().resets_after(None, 100).expect("readable");
            let mut told: Vec<_> =
                rebuilt(reader.source()).collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{e}"));
            told.sort_by_key(|reset| reset.id.to_string());
            assert_eq!(told, rows, "{row}");
            rows.iter().map(|row| row.status.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(compare("killed"), ["accepted", "unknown", "accepted", "sent"]);
        let trail = fixture.trail();
        assert_eq!(compare("writer gone"), ["accepted", "unknown", "accepted", "unknown"]);
        trail.correct(&About::of(&left, None), &accepted(), EFFORT).await;
        assert_eq!(
            compare("a late answer in another chain"),
            ["accepted", "unknown", "accepted", "accepted"]
        );
        let unknown = Outcome::Unknown { upstream_code: None, upstream_request_id: None };
        for cause in ["writer gone", "abandoned", "late answer"] {
            let lost = Draft::outcome(&About::of(&left, None), &unknown, None, now(), Some(cause));
            trail.writer.write(lost).await.expect("kept");
            assert_eq!(compare(cause)[3], "accepted", "{cause}");
        }
        trail.stop();
        assert!(fixture.good());
    }

    #[tokio::test]
    async fn an_intent_that_cannot_be_read_is_located() {
        let fixture = Fixture::new();
        let trail = fixture.trail();
        let closed = trail
            .close(
                trail.open(fixture.permit("ins-1"), &Target::for_test()).await.expect("opened"),
                accepted(),
                EFFORT,
            )
            .await;
        trail.stop();
        let file = rusqlite::Connection::open(fixture.path()).expect("opened");
        let edit = "DROP TRIGGER records_are_never_updated;
                    UPDATE records SET record = replace(record, '\"instanceId\"', '\"other\"') WHERE sequence = 2";
        file.execute_batch(edit).expect("changed");
        let reader = Reader::open(&config::Audit::sqlite(&fixture.path())).expect("readable");
        let untold = rebuilt(reader.source()).next().expect("one").expect_err("cannot be told");
        assert!(matches!(&untold, Untold::Record(at) if *at == closed.reset().receipt), "{untold}");
    }
}
