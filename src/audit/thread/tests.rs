use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::audit::store::{Resets, Row, Store};
use crate::audit::tests::{EFFORT, Fixture, claimed, kinds};
use crate::audit::writer::Writer;
use crate::audit::{PublicKeys, Reset, SigningKey, WriteError, sqlite};
use crate::domain::Status;
use crate::http::Target;

/// A store that can be told to fail, in the ways that a store across a network fails.
struct Flaky {
    inner: sqlite::Writing,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    /// What each commit to come does; then all is well.
    appends: Vec<Append>,
    /// The head cannot be read.
    blind: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Append {
    Fails,
    /// It happens, and its answer is lost.
    LosesItsAnswer,
    /// It takes so long.
    Takes(Duration),
    Fenced,
    Damaged,
}

fn away() -> StoreError {
    StoreError::Unavailable("away".to_owned())
}

impl Store for Flaky {
    fn append(&mut self, rows: &[Row<'_>], exported: &BTreeMap<String, u64>) -> Result<(), StoreError> {
        let next = {
            let appends = &mut self.told.lock().expect("whole").appends;
            if appends.is_empty() { None } else { Some(appends.remove(0)) }
        };
        match next {
            None => self.inner.append(rows, exported),
            Some(Append::Fails) => Err(away()),
            Some(Append::LosesItsAnswer) => self.inner.append(rows, exported).and(Err(away())),
            Some(Append::Takes(time)) => {
                std::thread::sleep(time);
                self.inner.append(rows, exported)
            }
            Some(Append::Fenced) => Err(StoreError::Fenced),
            Some(Append::Damaged) => Err(StoreError::Damaged("page 7".to_owned())),
        }
    }

    fn head(&mut self, writer: &str) -> Result<Option<Position>, StoreError> {
        if self.told.lock().expect("whole").blind { Err(away()) } else { self.inner.head(writer) }
    }

    fn renew(&mut self, writer: &str) -> Result<(), StoreError> {
        self.inner.renew(writer)
    }

    fn lease(&self) -> Option<Duration> {
        None
    }

    fn orphans(&mut self, writer: &str) -> Result<Vec<Reset>, StoreError> {
        self.inner.orphans(writer)
    }

    fn remove(&mut self, up_to: &[Position], rows: &[Row<'_>]) -> Result<u64, StoreError> {
        self.inner.remove(up_to, rows)
    }

    fn replace_projection(&mut self, resets: &mut Resets<'_>) -> Result<(), StoreError> {
        self.inner.replace_projection(resets)
    }

    fn expire_keys(&mut self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        self.inner.expire_keys(before, most)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }
}

/// A trail over a [`Flaky`] store.
fn flaky(fixture: &Fixture, timeout: Duration) -> (Arc<crate::audit::Trail>, Arc<Mutex<Told>>) {
    let settings = config::Audit { timeout, ..fixture.settings() };
    let told = Arc::<Mutex<Told>>::default();
    let inner = sqlite::Writing::open(&fixture.path()).expect("opened");
    let store = Box::new(Flaky { inner, told: told.clone() });
    let key = SigningKey::load(&settings.signing_key_file, true).expect("a key");
    let reader = crate::audit::Reader::open(&settings).expect("opened");
    let writer = Writer::over(
        Opened { store, source: reader.shared_source() },
        &settings,
        key,
        |_| {},
        fixture.metrics.clone(),
    );
    let (writer, metrics) = (writer.expect("started"), fixture.metrics.clone());
    (Arc::new(crate::audit::Trail { writer, reader, sink: None, key_life: LONG * 12, metrics }), told)
}

async fn settled(trail: &crate::audit::Trail, status: Status) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let resets = trail.reader().source().resets_after(None, 10).expect("readable");
        if resets.iter().all(|reset| reset.status == status) && trail.healthy() {
            return;
        }
        assert!(Instant::now() < until, "{resets:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const LONG: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_commit_whose_answer_is_lost_has_happened() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, LONG);
    told.lock().expect("whole").appends = vec![Append::LosesItsAnswer];
    let intent = trail
        .open(fixture.permit("ins-1"), &Target::for_test())
        .await
        .expect("it is on the disk, and the store says so");
    trail.close(intent, Outcome::NotSent(Unsent::Unreachable), EFFORT).await;
    trail.stop();
    assert_eq!(kinds(&fixture.records()), ["start", "intent", "outcome", "stop", "checkpoint"]);
    assert!(fixture.good());
}

#[tokio::test]
async fn an_intent_whose_commit_is_in_doubt_is_refused_and_closed_once_it_turns_out_to_have_happened() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, LONG);
    let open = trail.open(fixture.permit("ins-0"), &Target::for_test()).await.expect("opened");
    *told.lock().expect("whole") = Told { appends: vec![Append::LosesItsAnswer], blind: true };
    let refused = trail.open(fixture.permit("ins-1"), &Target::for_test()).await.expect_err("refused");
    assert!(matches!(refused.error, WriteError::Commit(_)), "{refused}");
    drop(refused);
    // An outcome in a group that fails for sure, and one more: both land, once.
    told.lock().expect("whole").appends = vec![Append::Fails];
    assert!(!trail.close(open, Outcome::NotSent(Unsent::Unreachable), EFFORT).await.recorded());
    told.lock().expect("whole").blind = false;
    settled(&trail, Status::NotSent).await;
    trail.stop();
    let records = fixture.records();
    let causes: Vec<_> = records.iter().filter_map(|record| record["cause"].as_str()).collect();
    assert_eq!(causes.iter().filter(|cause| **cause == "commit in doubt").count(), 1, "{causes:?}");
    let outcomes = kinds(&records).iter().filter(|kind| **kind == "outcome").count();
    assert_eq!(outcomes, 2, "{records:?}");
    assert!(kinds(&records).contains(&"degraded"), "the time without a trail is on record: {records:?}");
    assert!(fixture.good());
}

#[tokio::test]
async fn a_key_that_was_claimed_in_doubt_is_released_once_that_turns_out_to_have_happened() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, LONG);
    *told.lock().expect("whole") = Told { appends: vec![Append::LosesItsAnswer], blind: true };
    let permit = fixture.keyed_permit("ins-1", "k", 1);
    trail.open(permit, &Target::for_test()).await.expect_err("nobody knows");
    assert!(claimed(&trail, "k").await.is_some(), "it has landed");
    told.lock().expect("whole").blind = false;
    settled(&trail, Status::NotSent).await;
    assert_eq!(claimed(&trail, "k").await, None);
    let permit = fixture.keyed_permit("ins-1", "k", 1);
    trail.open(permit, &Target::for_test()).await.map(drop).expect("nothing was sent, so it may be");
    trail.stop();
    assert!(fixture.good());
}

#[tokio::test]
async fn a_key_that_another_has_refuses_nobody_else_of_the_group() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, LONG);
    let open = trail.open(fixture.permit("ins-0"), &Target::for_test()).await.expect("opened");
    let taken = trail.open(fixture.keyed_permit("ins-1", "k", 1), &Target::for_test()).await.expect("opened");
    // The next wait for this one, and so come in one group.
    told.lock().expect("whole").appends = vec![Append::Takes(Duration::from_millis(300))];
    trail.note(&Event::Policy { revision: "r", teams: 1 });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let target = Target::for_test();
    let (refused, kept, closed) = tokio::join!(
        trail.open(fixture.keyed_permit("ins-2", "k", 1), &target),
        trail.open(fixture.keyed_permit("ins-3", "other", 1), &target),
        trail.close(open, Outcome::NotSent(Unsent::Unreachable), EFFORT),
    );
    assert_eq!(refused.expect_err("another has it").error, WriteError::Claimed);
    assert!(kept.is_ok() && closed.recorded() && trail.healthy());
    assert_eq!(claimed(&trail, "k").await.map(|found| found.target), Some(taken.reset_id()));
    drop((kept, taken));
    trail.stop();
    let records = fixture.records();
    assert!(!kinds(&records).contains(&"degraded"), "nothing was amiss: {records:?}");
    assert!(fixture.good());
}

#[tokio::test]
async fn an_outcome_that_landed_in_doubt_is_not_written_twice() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, LONG);
    let open = trail.open(fixture.permit("ins-0"), &Target::for_test()).await.expect("opened");
    *told.lock().expect("whole") = Told { appends: vec![Append::LosesItsAnswer], blind: true };
    assert!(
        !trail.close(open, Outcome::NotSent(Unsent::Unreachable), EFFORT).await.recorded(),
        "nobody knows"
    );
    told.lock().expect("whole").blind = false;
    settled(&trail, Status::NotSent).await;
    trail.stop();
    let records = fixture.records();
    assert_eq!(kinds(&records).iter().filter(|kind| **kind == "outcome").count(), 1, "{records:?}");
    assert!(fixture.good());
}

#[tokio::test]
async fn an_intent_that_comes_too_late_is_refused_and_closed_as_surely_not_sent() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, Duration::from_millis(100));
    told.lock().expect("whole").appends = vec![Append::Takes(Duration::from_millis(600))];
    let asked = Instant::now();
    let refused = trail.open(fixture.permit("ins-1"), &Target::for_test()).await.expect_err("refused");
    assert!(matches!(refused.error, WriteError::Late(_)), "{refused}");
    assert!(asked.elapsed() < Duration::from_millis(500), "within its time: {:?}", asked.elapsed());
    drop(refused);
    let until = Instant::now() + Duration::from_secs(10);
    while kinds(&fixture.records()) != ["start", "intent", "outcome"] {
        assert!(Instant::now() < until, "{:?}", fixture.records());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    trail.stop();
    let records = fixture.records();
    assert_eq!((&records[2]["outcome"], &records[2]["cause"]), (&json!("not_sent"), &json!("given up")));
    assert!(fixture.good());
}

#[tokio::test]
async fn an_intent_that_nobody_waits_for_any_more_is_not_written() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, Duration::from_millis(100));
    told.lock().expect("whole").appends = vec![Append::Takes(Duration::from_millis(600))];
    let target = Target::for_test();
    let (first, second) = (trail.open(fixture.permit("ins-1"), &target), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        trail.open(fixture.permit("ins-2"), &Target::for_test()).await
    });
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err() && second.is_err());
    trail.stop();
    let intents: Vec<_> = fixture.records().into_iter().filter(|record| record["kind"] == "intent").collect();
    assert_eq!(intents.len(), 1, "{intents:?}");
}

#[tokio::test]
async fn a_writer_that_was_taken_for_dead_begins_a_new_chain_and_loses_no_outcome() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, LONG);
    let open = trail.open(fixture.permit("ins-0"), &Target::for_test()).await.expect("opened");
    told.lock().expect("whole").appends = vec![Append::Fenced];
    assert!(!trail.close(open, Outcome::NotSent(Unsent::Unreachable), EFFORT).await.recorded());
    settled(&trail, Status::NotSent).await;
    trail.open(fixture.permit("ins-1"), &Target::for_test()).await.map(drop).expect("resets go on");
    trail.stop();
    let records = fixture.records();
    let starts: Vec<_> = records.iter().filter(|record| record["kind"] == "start").collect();
    assert_eq!(starts.len(), 2, "{records:?}");
    assert_eq!(starts[1]["heads"][0]["sequence"], 2, "it names the end of its first chain");
    assert!(fixture.good());
}

#[tokio::test]
async fn a_damaged_store_is_not_written_again() {
    let fixture = Fixture::new();
    let (trail, told) = flaky(&fixture, LONG);
    told.lock().expect("whole").appends = vec![Append::Damaged];
    assert!(trail.open(fixture.permit("ins-1"), &Target::for_test()).await.is_err());
    for _ in 0..3 {
        assert!(
            trail.open(fixture.permit("ins-2"), &Target::for_test()).await.is_err(),
            "though the store would take it"
        );
    }
    assert!(!trail.healthy());
    trail.stop();
    assert_eq!(kinds(&fixture.records()), ["start"]);
}

#[tokio::test]
async fn checkpoints_come_by_count_by_time_and_at_the_end() {
    let fixture = Fixture::new();
    let seconds = Duration::from_secs;
    for (row, records, interval, wait, expected) in [
        ("by count", 2, seconds(3600), Duration::ZERO, 3),
        ("by time", 1000, seconds(1), seconds(3), 2),
        ("at the end alone", 1000, seconds(3600), Duration::ZERO, 1),
    ] {
        let path = fixture.path().with_file_name(row);
        let settings = config::Audit {
            checkpoint_records: records,
            checkpoint_interval: interval,
            ..config::Audit::sqlite(&path)
        };
        let trail = fixture.trail_by(&settings);
        for revision in ["a", "b", "c"] {
            trail.note(&crate::audit::Event::Policy { revision, teams: 1 });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(wait).await;
        trail.stop();
        let mut found = 0;
        let each = |stored: crate::audit::Stored| {
            found += usize::from(stored.record.contains(r#""kind":"checkpoint""#));
            true
        };
        trail
            .reader()
            .each(&crate::audit::Filter::default(), crate::audit::Order::OldestFirst, each)
            .expect("read");
        assert_eq!(found, expected, "{row}");
        let keys = PublicKeys::of_signing_key(&settings.signing_key_file).expect("a key");
        let verified = trail.reader().verify(&keys, &[], &mut |_| {}, &|_, _, _| {});
        assert_eq!(verified.expect("readable").findings, 0, "{row}");
    }
}
