use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::*;
use crate::audit::tests::{EFFORT, Fixture, accepted, kinds};
use crate::audit::{Checkpoint, Filter, Locked, Order, Reader, Reset, Trail};
use crate::domain::{Batch, ResetId, Status};
use crate::http::Target;

fn settings(fixture: &Fixture) -> config::Audit {
    config::Audit::sqlite(&fixture.path())
}

fn reader(fixture: &Fixture) -> Reader {
    Reader::open(&settings(fixture)).expect("readable")
}

/// A time that all before it is older than and nothing after it is.
fn now() -> Timestamp {
    std::thread::sleep(Duration::from_millis(3));
    let now = Timestamp::now();
    std::thread::sleep(Duration::from_millis(3));
    now
}

async fn reset(fixture: &Fixture, trail: &Trail, instance: &str) -> ResetId {
    let intent = trail.open(fixture.permit(instance), &Target::for_test()).await.expect("opened");
    let id = intent.reset_id();
    trail.close(intent, accepted(), EFFORT).await;
    id
}

/// A batch of one that its writer leaves queued.
async fn left_queued(fixture: &Fixture, trail: &Trail, instance: &str) {
    let batch = Batch { id: ResetId::generate(), size: 1 };
    let permits = vec![fixture.batch_permit(instance, batch)];
    std::mem::forget(trail.queue(permits, None).await.expect("queued"));
}

/// A reset that its writer leaves open.
async fn left_open(fixture: &Fixture, trail: &Trail, instance: &str) -> ResetId {
    let intent = trail.open(fixture.permit(instance), &Target::for_test()).await.expect("opened");
    let id = intent.reset_id();
    std::mem::forget(intent);
    id
}

fn resets(fixture: &Fixture) -> Vec<Reset> {
    reader(fixture).source().resets_after(None, 100).expect("readable")
}

/// How much of each chain goes, and why the rest stays.
fn planned(fixture: &Fixture, before: Timestamp) -> Vec<(u64, Option<Held>)> {
    planned_by(fixture, &settings(fixture), before)
}

fn planned_by(fixture: &Fixture, settings: &config::Audit, before: Timestamp) -> Vec<(u64, Option<Held>)> {
    let prunings = reader(fixture).prunable(settings, before, &|| {}).expect("readable");
    prunings.iter().map(|pruning| (pruning.removed(), pruning.held)).collect()
}

fn prune(fixture: &Fixture, before: Timestamp) -> Vec<Value> {
    let mut maintenance = Maintenance::open(&settings(fixture)).unwrap_or_else(|e| panic!("{e}"));
    maintenance.prune(before, &|| {}).expect("pruned");
    let checkpoint: Checkpoint = maintenance.finish().expect("finished").parse().expect("a checkpoint");
    let keys = SigningKey::load(&settings(fixture).signing_key_file, false).expect("a key").public();
    assert!(keys.signed(&checkpoint));
    fixture.records()
}

#[tokio::test]
async fn what_is_pruned_is_named_and_what_stays_follows_it() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    let gone = reset(&fixture, &trail, "ins-1").await;
    let first = now();
    let stays = reset(&fixture, &trail, "ins-2").await;
    trail.stop();
    assert_eq!(planned(&fixture, first), [(3, Some(Held::Recent))]);
    let writer = fixture.records()[0]["writer"].clone();
    let ends = fixture.records()[2].clone();

    let records = prune(&fixture, first);
    assert!(fixture.good(), "what stays is verifiable");
    let of = |wanted: &Value| -> Vec<Value> {
        records.iter().filter(|record| record["writer"] == *wanted).cloned().collect()
    };
    let left = of(&writer);
    assert_eq!(kinds(&left), ["intent", "outcome", "stop", "checkpoint"]);
    let own = of(&records[records.len() - 1]["writer"]);
    assert_eq!(kinds(&own), ["start", "pruned", "checkpoint", "stop", "checkpoint"]);
    assert_eq!(
        own[1]["pruned"],
        json!([{"writer": writer, "sequence": ends["sequence"], "hash": left[0]["previous"]}])
    );
    assert_eq!(own[1]["before"], json!(rfc3339(first)));
    let ids: Vec<_> = resets(&fixture).iter().map(|reset| reset.id).collect();
    assert_eq!(ids, [stays], "the reset that {gone} was is gone");

    // Now all of it goes, and the pruning of before.
    let records = prune(&fixture, now());
    let pruned = &records[1]["pruned"];
    assert_eq!(kinds(&records), ["start", "pruned", "checkpoint", "stop", "checkpoint"]);
    let named = |n: usize| (pruned[n]["writer"].clone(), pruned[n]["sequence"].clone());
    assert_eq!(named(0), (writer, json!(7)));
    assert_eq!(named(1), (own[0]["writer"].clone(), json!(5)));

    let trail = fixture.trail();
    reset(&fixture, &trail, "ins-3").await;
    trail.stop();
    assert!(fixture.good());
    let records = prune(&fixture, first);
    assert_eq!(
        records.iter().filter(|record| record["kind"] == "pruned").count(),
        1,
        "without anything to take out nothing is"
    );
}

#[tokio::test]
async fn a_reset_that_is_not_closed_stays_and_all_that_follow_it() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    reset(&fixture, &trail, "ins-1").await;
    left_open(&fixture, &trail, "ins-2").await;
    reset(&fixture, &trail, "ins-3").await;
    trail.stop();
    let stopped = now();
    assert_eq!(planned(&fixture, stopped), [(3, Some(Held::Open))]);
    fixture.trail().stop();
    assert_eq!(planned(&fixture, stopped), [(3, Some(Held::Open)), (0, Some(Held::Recent))], "closed since");
    assert_eq!(planned(&fixture, now()), [(8, None), (4, None)]);

    let insert = "INSERT INTO records (writer, sequence, hash, record) VALUES ('0', ?1, '', ?2)";
    let connection = Connection::open(fixture.path()).expect("opened");
    for (sequence, record) in [
        (1, r#"{"kind":"stop","time":"2020-01-01T00:00:00.000Z"}"#),
        (2, r#"{"kind":"stop","time":"yesterday"}"#),
    ] {
        connection.execute(insert, (sequence, record)).expect("inserted");
    }
    assert_eq!(planned(&fixture, stopped)[0], (1, Some(Held::Timeless)));
}

#[tokio::test]
async fn what_the_sink_does_not_have_stays_for_as_long_as_there_is_a_sink() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    reset(&fixture, &trail, "ins-1").await;
    reset(&fixture, &trail, "ins-2").await;
    trail.stop();
    let file = fixture.path().with_file_name("sink.jsonl");
    let sunk = config::Audit { sink: Some(config::AuditSink::File(file)), ..settings(&fixture) };
    assert_eq!(planned_by(&fixture, &sunk, now()), [(0, Some(Held::Unsunk))]);
    let connection = Connection::open(fixture.path()).expect("opened");
    let exported = "INSERT INTO exported SELECT writer, 3 FROM records LIMIT 1";
    connection.execute_batch(exported).expect("said");
    assert_eq!(planned_by(&fixture, &sunk, now()), [(3, Some(Held::Unsunk))]);
    assert_eq!(planned(&fixture, now()), [(7, None)], "without a sink nobody waits for it");

    let mut maintenance = Maintenance::open(&sunk).unwrap_or_else(|e| panic!("{e}"));
    let pruned = maintenance.prune(now(), &|| {}).expect("pruned");
    assert_eq!((pruned[0].removed(), pruned[0].held), (3, Some(Held::Unsunk)));
    maintenance.finish().expect("finished");
    assert!(fixture.good());
    // The sink starts, and tells what it has with the next commit.
    let trail = fixture.trail_by(&sunk);
    let until = std::time::Instant::now() + Duration::from_secs(10);
    let told = || reader(&fixture).source().exported().expect("readable").values().sum::<u64>();
    while told() < 7 + 5 + 1 {
        assert!(std::time::Instant::now() < until, "the sink has all: {}", told());
        std::thread::sleep(Duration::from_millis(20));
    }
    trail.stop();
    let planned = planned_by(&fixture, &sunk, now());
    assert_eq!(planned[..2], [(4, None), (5, None)], "{planned:?}");
}

#[tokio::test]
async fn an_outcome_in_another_chain_stays_for_as_long_as_what_it_ends() {
    for sent in [true, false] {
        let fixture = Fixture::new();
        let trail = fixture.trail();
        if sent {
            left_open(&fixture, &trail, "ins-1").await;
        } else {
            left_queued(&fixture, &trail, "ins-1").await;
        }
        trail.stop();
        // It closes the reset, and ends.
        fixture.trail().stop();
        let connection = Connection::open(fixture.path()).expect("opened");
        let exported =
            "INSERT INTO exported SELECT writer, CASE WHEN writer = (SELECT min(writer) FROM records)
                        THEN 1 ELSE max(sequence) END FROM records GROUP BY writer";
        connection.execute_batch(exported).expect("said");
        drop(connection);
        let file = fixture.path().with_file_name("sink.jsonl");
        let sunk = config::Audit { sink: Some(config::AuditSink::File(file)), ..settings(&fixture) };
        let expected = [(1, Some(Held::Unsunk)), (1, Some(Held::Outcome))];
        assert_eq!(planned_by(&fixture, &sunk, now()), expected, "sent: {sent}");
        let mut maintenance = Maintenance::open(&sunk).unwrap_or_else(|e| panic!("{e}"));
        maintenance.prune(now(), &|| {}).expect("pruned");
        maintenance.finish().expect("finished");
        assert!(fixture.good(), "the reset is as its records tell it; sent: {sent}");
        assert_eq!(planned(&fixture, now())[..2], [(3, None), (3, None)], "together they go; sent: {sent}");
    }
}

#[tokio::test]
async fn the_table_of_resets_is_made_anew_from_the_records() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    for instance in ["ins-1", "ins-2"] {
        reset(&fixture, &trail, instance).await;
    }
    let open = left_open(&fixture, &trail, "ins-3").await;
    trail.stop();
    let before = resets(&fixture);
    let spoil = "UPDATE resets SET team = 'z', status = 'sent' WHERE instance = 'ins-1';
                 DELETE FROM resets WHERE instance = 'ins-2';
                 INSERT INTO resets SELECT 'made up', instance, team, 'sent', request_id, NULL, NULL, NULL, NULL,
                     policies, created_at, NULL, writer, sequence, hash, NULL, NULL, NULL FROM resets WHERE instance = 'ins-3'";
    let connection = Connection::open(fixture.path()).expect("opened");
    connection.execute_batch(spoil).expect("spoiled");

    let maintenance = Maintenance::rebuild(&settings(&fixture), &|| {}).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(maintenance.orphans(), 1, "read from what is right again");
    maintenance.finish().expect("finished");
    let after = resets(&fixture);
    assert_eq!((after.len(), &after[..2]), (3, &before[..2]));
    assert_eq!((after[2].id, after[2].status), (open, Status::Unknown));
    assert!(fixture.good());

    let bad = r#"INSERT INTO records (writer, sequence, hash, record)
                 VALUES ('0', 1, '', '{"kind":"intent","time":"2020-01-01T00:00:00.000Z","resetId":"x"}')"#;
    connection.execute_batch(bad).expect("inserted");
    let failed = Maintenance::rebuild(&settings(&fixture), &|| {}).err().expect("refused");
    assert!(matches!(failed, NotMaintained::Store(StoreError::Damaged(_))), "{failed}");
    assert_eq!(resets(&fixture), after, "it stays as it was");
}

#[tokio::test]
async fn a_restore_is_on_record_with_the_ends_of_the_backup() {
    let fixture = Fixture::new();
    let missing = Maintenance::alone(&settings(&fixture)).err().expect("refused");
    assert!(matches!(missing, NotMaintained::Missing { .. }), "{missing}");
    assert!(!fixture.path().exists());
    let trail = fixture.trail();
    reset(&fixture, &trail, "ins-1").await;
    let held = Maintenance::open(&settings(&fixture)).err().expect("refused");
    assert!(matches!(held, NotMaintained::Open(OpenError::Locked(Locked::Held { .. }))), "{held}");
    trail.stop();
    let ends = reader(&fixture).chains().expect("readable");
    let mut maintenance = Maintenance::alone(&settings(&fixture)).unwrap_or_else(|e| panic!("{e}"));
    maintenance.restored(&"the disk broke".parse().expect("a reason")).expect("on record");
    drop(maintenance);
    let records = fixture.records();
    assert_eq!(
        kinds(&records[5..]),
        ["start", "restored", "checkpoint", "stop", "checkpoint"],
        "dropped, it ends well"
    );
    assert_eq!(
        (&records[6]["reason"], &records[6]["heads"]),
        (&json!("the disk broke"), &json!([ends[0].last]))
    );
    assert!(fixture.good());
    let restored = Filter { kind: Some(crate::audit::Kind::Restored), ..Filter::default() };
    let found = reader(&fixture).source().page(&restored, Order::NewestFirst, None, 10).expect("readable");
    assert_eq!(found.len(), 1);
}
