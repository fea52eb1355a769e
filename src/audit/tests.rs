use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::authz::tests::{authorized, authorized_by, authorized_in_batch, authorized_to_set, revision_with};
use crate::domain::{Fingerprint, NewPassword, Password};
use crate::ratelimit::{Limited, Limiter};

pub(crate) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) metrics: Arc<Metrics>,
    limiter: Limiter,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let metrics = Arc::<Metrics>::default();
        let failures = crate::config::Quota::new(1, 1, 1);
        let settings =
            crate::config::Limits { max_keys: 10_000, failed_authentications: failures, redis: None };
        let limiter = Limiter::new(&revision_with("x", ""), &settings, None, metrics.clone());
        Self { folder: tempfile::tempdir().expect("a folder"), metrics, limiter }
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("trail.db")
    }

    pub(crate) fn settings(&self) -> config::Audit {
        config::Audit::sqlite(&self.path())
    }

    pub(crate) fn trail(&self) -> Trail {
        self.trail_by(&self.settings())
    }

    pub(super) fn trail_by(&self, settings: &config::Audit) -> Trail {
        Trail::start(settings, self.metrics.clone()).unwrap_or_else(|e| panic!("{e}"))
    }

    pub(super) fn permit(&self, instance: &str) -> Permit {
        self.limiter.admit_now(authorized("a", instance, "")).expect("within all quotas")
    }

    /// Of a reset whose password was made up, and sealed as `jwe`.
    fn sealed_permit(&self, instance: &str, jwe: &str) -> Permit {
        let password = Password::parse("Abcd~1234".to_owned()).expect("a password").into();
        let password = NewPassword::Sealed(password, jwe.to_owned());
        self.limiter.admit_now(authorized_to_set("a", instance, "", password)).expect("within all quotas")
    }

    /// Of an item of a batch.
    pub(super) fn batch_permit(&self, instance: &str, batch: crate::domain::Batch) -> Permit {
        let authorized = authorized_in_batch("a", instance, batch);
        self.limiter.admit_now(authorized).expect("within all quotas")
    }

    pub(crate) fn keyed_permit(&self, instance: &str, key: &str, byte: u8) -> Permit {
        self.keyed(instance, key, byte).expect("within all quotas")
    }

    /// Of a request by this key, which the byte tells from others.
    pub(crate) fn keyed(&self, instance: &str, key: &str, byte: u8) -> Result<Permit, Box<Limited>> {
        self.limiter.admit_now(authorized_by("a", instance, "", |call| call.key = Some(keyed(key, byte))))
    }

    pub(super) fn records(&self) -> Vec<Value> {
        let mut records = Vec::new();
        let reader = Reader::open(&config::Audit::sqlite(&self.path())).expect("readable");
        let each = |stored: Stored| {
            records.push(serde_json::from_str(&stored.record).expect("JSON"));
            true
        };
        reader.each(&Filter::default(), Order::OldestFirst, each).expect("readable");
        records
    }

    /// What `verify` finds without anything from outside; and every outcome says itself what it is of.
    pub(super) fn good(&self) -> bool {
        let records = self.records();
        for outcome in records.iter().filter(|record| record["kind"] == "outcome") {
            let of = |intent: &&Value| intent["kind"] == "intent" && intent["resetId"] == outcome["resetId"];
            assert!(records.iter().find(of).is_none_or(|intent| reads_alone(intent, outcome)), "{outcome}");
        }
        let settings = config::Audit::sqlite(&self.path());
        let keys = PublicKeys::of_signing_key(&settings.signing_key_file).expect("a key");
        let reader = Reader::open(&settings).expect("readable");
        reader.verify(&keys, &[], &mut |_| {}, &|_, _, _| {}).expect("readable").findings == 0
    }
}

pub(crate) fn keyed(key: &str, byte: u8) -> Keyed {
    Keyed { key: key.parse().expect("a key"), fingerprint: Fingerprint::new([byte; 32], None) }
}

/// Who has the key, of the callers that tests have.
pub(super) async fn claimed(trail: &Trail, key: &str) -> Option<Claimed> {
    let caller = Identity::for_test("alice", &[]);
    trail.claimed(&caller, &keyed(key, 0)).await.expect("readable")
}

pub(crate) const EFFORT: Effort = Effort { attempts: 2, upstream: Some(Duration::from_micros(34_999)) };

pub(crate) fn accepted() -> Outcome {
    Outcome::Accepted { upstream_request_id: "T1".to_owned() }
}

pub(super) fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["kind"].as_str().expect("a kind")).collect()
}

/// Whether an outcome says of its own what its intent says that it is of.
fn reads_alone(intent: &Value, outcome: &Value) -> bool {
    ["resetId", "requestId", "team", "instanceId"]
        .iter()
        .all(|name| intent[name].is_string() && intent[name] == outcome[name])
}

#[tokio::test]
async fn an_intent_is_on_disk_before_it_is_had_and_its_outcome_after() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let intent = trail.open(fixture.permit("ins-1"), &Target::for_test()).await.expect("opened");
    let id = intent.reset_id();
    assert_eq!(kinds(&fixture.records()), ["start", "intent"]);
    let sent = trail.reset(id).await.expect("readable").expect("there");
    assert_eq!((sent.status, sent.finished_at), (Status::Sent, None));
    let receipt = trail.close(intent, accepted(), EFFORT).await;
    assert!(receipt.recorded());
    assert_eq!(
        trail.reset(id).await.expect("readable").as_ref(),
        Some(receipt.reset()),
        "the answer is the record"
    );
    trail.stop();
    let records = fixture.records();
    assert_eq!(kinds(&records), ["start", "intent", "outcome", "stop", "checkpoint"]);
    assert_eq!(records[1]["sequence"], receipt.reset().receipt.sequence);
    assert_eq!((&records[2]["attempts"], &records[2]["upstreamMs"]), (&json!(2), &json!(34)));
    assert!(records[2]["totalMs"].is_u64(), "{records:#?}");
    assert!(reads_alone(&records[1], &records[2]), "{records:#?}");
    assert!(fixture.good());
}

#[tokio::test]
async fn an_intent_that_is_dropped_is_closed_as_unknown_and_keeps_its_charge() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let intent = trail.open(fixture.permit("ins-1"), &Target::for_test()).await.expect("opened");
    let id = intent.reset_id();
    drop(intent);
    trail.stop();
    let records = fixture.records();
    assert_eq!((&records[2]["outcome"], &records[2]["cause"]), (&json!("unknown"), &json!("abandoned")));
    assert!(reads_alone(&records[1], &records[2]), "{records:#?}");
    assert!(records[2]["totalMs"].is_u64(), "{records:#?}");
    assert_eq!((records[2].get("attempts"), records[2].get("upstreamMs")), (None, None), "nobody can tell");
    assert_eq!(trail.reset(id).await.expect("readable").map(|r| r.status), Some(Status::Unknown));
    assert!(fixture.limiter.admit_now(authorized("a", "ins-1", "")).is_err(), "the cool-down holds");
    let text = String::from_utf8(fixture.metrics.encode()).expect("text");
    assert!(text.contains(r#"zengate_resets_total{outcome="unknown"} 1"#), "{text}");
}

#[tokio::test]
async fn a_batch_is_queued_whole_and_each_of_it_sent_left_or_dropped() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let batch = crate::domain::Batch { id: ResetId::generate(), size: 3 };
    let permits = ["ins-1", "ins-2", "ins-3"].map(|id| fixture.batch_permit(id, batch)).into();
    let mut queued = trail.queue(permits, None).await.expect("queued");
    let read = trail.batch(batch.id).await.expect("readable");
    assert_eq!(read, queued.iter().map(|item| item.reset().clone()).collect::<Vec<_>>());
    assert!(read.iter().all(|reset| reset.status == Status::Queued && reset.receipt.sequence > 0));
    let (permit, place) = queued.remove(0).turn();
    let intent = trail.open_queued(place, permit, &Target::for_test()).await.expect("opened");
    assert_eq!(trail.batch(batch.id).await.expect("readable")[0].status, Status::Sent);
    let receipt = trail.close(intent, accepted(), EFFORT).await;
    let (permit, place) = queued.remove(0).turn();
    drop(permit);
    let left = trail.leave(place, "busy").await;
    assert!(left.recorded);
    drop(queued);
    trail.stop();
    let reader = fixture.trail();
    let read = reader.batch(batch.id).await.expect("readable");
    assert_eq!((&read[0], &read[1]), (receipt.reset(), &left.reset), "the answer is the record");
    let ends: Vec<_> = read.iter().map(|reset| (reset.status, reset.cause.as_deref())).collect();
    let unsent = |cause| (Status::NotSent, Some(cause));
    assert_eq!(ends, [(Status::Accepted, None), unsent("busy"), unsent("abandoned")]);
    assert!(fixture.limiter.admit_now(authorized("a", "ins-1", "")).is_err(), "its rest is kept");
    for given_back in ["ins-2", "ins-3"] {
        assert!(fixture.limiter.admit_now(authorized("a", given_back, "")).is_ok(), "{given_back}");
    }
    assert!(fixture.good(), "and the table of resets is what the records say");
}

#[tokio::test]
async fn what_a_dead_writer_had_queued_was_not_sent() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let batch = crate::domain::Batch { id: ResetId::generate(), size: 2 };
    let permits = ["ins-1", "ins-2"].map(|id| fixture.batch_permit(id, batch)).into();
    let mut queued = trail.queue(permits, None).await.expect("queued");
    let (permit, place) = queued.remove(0).turn();
    let intent = trail.open_queued(place, permit, &Target::for_test()).await.expect("opened");
    trail.stop();
    // As a kill leaves them: nobody closes them.
    std::mem::forget((intent, queued));
    let trail = fixture.trail();
    let read = trail.batch(batch.id).await.expect("readable");
    let ends: Vec<_> = read.iter().map(|reset| (reset.status, reset.cause.as_deref())).collect();
    assert_eq!(ends, [(Status::Unknown, None), (Status::NotSent, Some("writer gone"))]);
    trail.stop();
    assert!(fixture.good());
}

#[tokio::test]
async fn a_trail_that_cannot_be_written_refuses_intents_and_catches_up_on_outcomes() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let intent = trail.open(fixture.permit("ins-1"), &Target::for_test()).await.expect("opened");
    let id = intent.reset_id();
    let other = Connection::open(fixture.path()).expect("opened");
    other.execute_batch("ALTER TABLE resets RENAME TO hidden").expect("renamed");
    let refused = trail.open(fixture.permit("ins-2"), &Target::for_test()).await.expect_err("refused");
    assert!(matches!(refused.error, WriteError::Commit(_)), "{refused:?}");
    drop(refused);
    assert!(!trail.healthy());
    let receipt = trail.close(intent, accepted(), EFFORT).await;
    assert!(!receipt.recorded(), "and the receipt says so");
    other.execute_batch("ALTER TABLE hidden RENAME TO resets").expect("renamed");
    let until = Instant::now() + Duration::from_secs(10);
    while trail.reset(id).await.expect("readable").map(|r| r.status) != Some(Status::Accepted) {
        assert!(Instant::now() < until, "the outcome lands by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(trail.healthy());
    assert!(
        trail.open(fixture.permit("ins-2"), &Target::for_test()).await.is_ok(),
        "the refused one gave its charge back"
    );
    trail.stop();
    assert!(fixture.good(), "the chain has no gap");
}

#[tokio::test]
async fn a_sealed_password_is_kept_whole_with_its_reset() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let jwe = "x".repeat(1000);
    let permit = fixture.sealed_permit("ins-1", &jwe);
    let intent = trail.open(permit, &Target::for_test()).await.expect("opened");
    let id = intent.reset_id();
    drop(intent);
    let other = trail.open(fixture.permit("ins-2"), &Target::for_test()).await.expect("opened");
    let other = trail.close(other, accepted(), EFFORT).await.reset().id;
    trail.stop();
    let records = fixture.records();
    assert_eq!((&records[1]["sealedPassword"], &records[1]["generated"]), (&json!(jwe), &json!(true)));
    assert!(records[2..].iter().all(|record| record.get("sealedPassword").is_none()), "{records:#?}");
    let kept = trail.reset(id).await.expect("readable").expect("there");
    assert_eq!((kept.status, kept.sealed_password), (Status::Unknown, Some(jwe)));
    assert_eq!(trail.reset(other).await.expect("readable").and_then(|reset| reset.sealed_password), None);
    assert!(!format!("{records:?}").contains("Abcd"));
}

#[tokio::test]
async fn many_at_once_share_commits_and_stay_in_order() {
    let fixture = Fixture::new();
    let trail = Arc::new(fixture.trail());
    let permits: Vec<_> = (0..50).map(|n| fixture.permit(&format!("ins-{n}"))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for permit in permits {
        let trail = trail.clone();
        tasks.spawn(async move {
            let intent = trail.open(permit, &Target::for_test()).await.expect("opened");
            trail.close(intent, accepted(), EFFORT).await.reset().id
        });
    }
    let ids = tasks.join_all().await;
    trail.stop();
    let records = fixture.records();
    assert_eq!(records.len(), 103, "with start, stop and checkpoint");
    assert!(fixture.good());
    for id in ids {
        let of =
            records.iter().filter(|record| record["resetId"] == id.to_string()).map(|r| r["kind"].clone());
        assert_eq!(of.collect::<Vec<_>>(), ["intent", "outcome"]);
    }
    let text = String::from_utf8(fixture.metrics.encode()).expect("text");
    let commits = text.lines().find_map(|l| l.strip_prefix("zengate_audit_commit_duration_seconds_count "));
    let commits: u32 = commits.and_then(|n| n.parse().ok()).expect("a count");
    assert!(commits <= 102, "{commits} commits of 102 records");
}

#[test]
fn one_writer_at_a_time() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let second = Trail::start(&config::Audit::sqlite(&fixture.path()), fixture.metrics.clone())
        .err()
        .expect("refused");
    assert!(matches!(second, OpenError::Locked(Locked::Held { .. })), "{second}");
    trail.stop();
    assert!(
        Trail::start(&config::Audit::sqlite(&fixture.path()), fixture.metrics.clone()).is_ok(),
        "the lock is given up at a stop"
    );
}

#[test]
fn a_trail_of_another_version_is_left_alone() {
    let fixture = Fixture::new();
    fixture.trail().stop();
    Connection::open(fixture.path()).expect("opened").pragma_update(None, "user_version", 4).expect("set");
    let refused = Trail::start(&config::Audit::sqlite(&fixture.path()), fixture.metrics.clone())
        .err()
        .expect("refused");
    assert!(matches!(refused, OpenError::Version { needs: 4, has: 3, .. }), "{refused}");
}

#[tokio::test]
async fn no_record_holds_a_control_character() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let identity = crate::authn::Identity::for_test("al\"ice\\u0000", &["a"]);
    let origin = Origin { user_agent: Some("a\0\u{1b}[2Jb\n".to_owned()), ..crate::authz::tests::origin() };
    trail.refuse(&caller_facts(&identity, &origin).refused(Refused::Team));
    let intent = trail.open(fixture.permit("ins-1"), &Target::for_test()).await.expect("opened");
    let outcome = Outcome::Accepted { upstream_request_id: "T\0".repeat(1000) };
    trail.close(intent, outcome, EFFORT).await;
    trail.stop();
    let mut texts = Vec::new();
    let reader = Reader::open(&fixture.settings()).expect("readable");
    let each = |stored: Stored| (texts.push(stored.record), true).1;
    reader.each(&Filter::default(), Order::OldestFirst, each).expect("readable");
    // What a caller writes with a backslash of its own is no escape of JSON's.
    assert!(texts[1].contains(r#""subject":"al\"ice\\u0000""#), "{}", texts[1]);
    assert!(!texts.concat().replace(r"\\", "").contains(r"\u"), "{texts:#?}");
    assert!(!texts.concat().chars().any(char::is_control), "{texts:#?}");
    let records = fixture.records();
    assert_eq!((&records[1]["subject"], &records[1]["refused"]), (&json!("al\"ice\\u0000"), &json!("team")));
    assert_eq!(records[1]["userAgent"], "a\u{fffd}\u{fffd}[2Jb\u{fffd}");
    assert_eq!(records[3]["upstreamRequestId"].as_str().map(|id| id.chars().count()), Some(1025));
    // Nothing so long comes from Zenlayer: `http` bounds it, else the table of resets would say more than the record.
}

#[tokio::test]
async fn a_store_that_is_taken_away_or_put_back_takes_no_intent() {
    for (row, files, put_back) in [
        ("the database is gone", &["", "-wal"][..1], false),
        ("its log is gone", &["", "-wal"][1..], false),
        ("all is gone", &["", "-wal", "-shm"], false),
        ("an older copy is put back", &["", "-wal", "-shm"], true),
    ] {
        let fixture = Fixture::new();
        let trail = fixture.trail();
        let name = |end: &str| {
            let mut name = fixture.path().into_os_string();
            name.push(end);
            std::path::PathBuf::from(name)
        };
        for end in files {
            let copy = name(end).with_extension("copy");
            std::fs::copy(name(end), &copy).expect("copied");
            std::fs::remove_file(name(end)).expect("removed");
            if put_back {
                std::fs::rename(copy, name(end)).expect("put back");
            }
        }
        let refused = trail.open(fixture.permit("ins-1"), &Target::for_test()).await;
        let refused = refused.map(drop).expect_err(row).error;
        assert!(
            matches!(&refused, WriteError::Commit(why) if why.contains("while it was open")),
            "{row}: {refused}"
        );
        assert!(!trail.healthy(), "{row}");
    }
}

#[tokio::test]
async fn a_key_is_kept_for_what_may_have_changed_an_instance_and_released_otherwise() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let unknown = || Outcome::Unknown { upstream_code: None, upstream_request_id: None };
    let rejected = || Outcome::Rejected {
        why: crate::domain::Rejection::Password,
        upstream_code: None,
        upstream_request_id: None,
    };
    let unsent = Outcome::NotSent(crate::domain::Unsent::Unreachable);
    for (row, outcome, kept) in [
        ("accepted", accepted(), true),
        ("unknown", unknown(), true),
        ("rejected", rejected(), false),
        ("not-sent", unsent, false),
    ] {
        let permit = fixture.keyed_permit(row, row, 1);
        let intent = trail.open(permit, &Target::for_test()).await.unwrap_or_else(|e| panic!("{row}: {e}"));
        let id = intent.reset_id();
        let sent = claimed(&trail, row).await.expect("claimed");
        assert_eq!((sent.target, sent.reset.map(|reset| reset.status)), (id, Some(Status::Sent)), "{row}");
        trail.close(intent, outcome.clone(), EFFORT).await;
        let found = claimed(&trail, row).await;
        assert_eq!(
            found.and_then(|found| found.reset).map(|reset| reset.status),
            kept.then(|| outcome.status()),
            "{row}"
        );
    }
    let target = Target::for_test();
    let open = |key: &str| trail.open(fixture.keyed_permit(key, key, 1), &target);
    drop(open("dropped").await.expect("opened"));
    let corrected = open("corrected").await.expect("opened");
    let about = trail.close(corrected, unknown(), EFFORT).await.about();
    assert!(claimed(&trail, "corrected").await.is_some());
    trail.correct(&about, &rejected(), EFFORT).await;
    assert_eq!(claimed(&trail, "corrected").await, None, "Zenlayer said no after all");
    let dropped = claimed(&trail, "dropped").await.and_then(|found| found.reset).expect("kept");
    assert_eq!(dropped.status, Status::Unknown, "nobody knows what became of it");
    let taken = trail.open(fixture.keyed_permit("other", "accepted", 1), &Target::for_test()).await;
    assert_eq!(taken.expect_err("refused").error, WriteError::Claimed);
    trail.stop();
    assert!(fixture.good());
}

#[tokio::test]
async fn keys_that_have_expired_are_forgotten_and_free() {
    let fixture = Fixture::new();
    let trail = fixture.trail().with_key_life(Duration::from_millis(300));
    for key in ["a", "b"] {
        let intent =
            trail.open(fixture.keyed_permit(key, key, 1), &Target::for_test()).await.expect("opened");
        trail.close(intent, accepted(), EFFORT).await;
    }
    assert!(claimed(&trail, "a").await.is_some());
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(claimed(&trail, "a").await, None);
    let again = trail.open(fixture.keyed_permit("other", "a", 2), &Target::for_test()).await.expect("opened");
    assert_eq!(claimed(&trail, "a").await.map(|found| found.target), Some(again.reset_id()));
    trail.expire_keys();
    let file = Connection::open(fixture.path()).expect("opened");
    let left = || file.query_row("SELECT count(*) FROM idempotency_keys", [], |row| row.get::<_, i64>(0));
    let until = Instant::now() + Duration::from_secs(10);
    while left().expect("readable") != 1 {
        assert!(Instant::now() < until, "b has gone");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(again);
    trail.stop();
}
