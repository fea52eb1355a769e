mod declared;
mod outside;
mod tampering;
mod world;

use serde_json::json;

use super::*;
use crate::audit::record;
use world::{World, reset};

#[tokio::test]
async fn a_good_trail_is_good_and_its_tail_is_told() {
    let mut world = World::two_chains().await;
    let (verified, told) = world.told(&world.keys(), &[]);
    let expected = Verified { records: 14, chains: 2, resets: 3, covered: 14, findings: 0 };
    let key = world.checkpoint('A', 4).0.split(' ').nth(5).expect("a key").to_owned();
    assert_eq!((verified, told), (expected, vec![format!("key {key}: signed 4 checkpoints")]));

    let trail = world.trail();
    reset(&world.fixture, &trail, "ins-4").await;
    reset(&world.fixture, &trail, "ins-5").await;
    let (verified, told) = world.told(&world.keys(), &[]);
    assert_eq!((verified.findings, verified.records, verified.covered), (0, 20, 18));
    assert_eq!(told[0], "writer C: 2 records stand behind its last checkpoint");
    trail.stop();
}

#[tokio::test]
async fn the_chain_of_a_killed_writer_is_vouched_for_by_the_next() {
    let mut world = World::new();
    world.writer(&["ins-1"]).await;
    world.file().sql("DELETE FROM records WHERE sequence > 3");
    world.writer(&["ins-2"]).await;
    let (verified, told) = world.told(&world.keys(), &[]);
    assert_eq!((verified.findings, verified.records, verified.covered), (0, 9, 9), "{told:?}");
}

#[tokio::test]
async fn beside_a_running_writer_nothing_is_found() {
    let mut world = World::two_chains().await;
    let trail = std::sync::Arc::new(world.trail());
    let permits: Vec<_> = (0..60).map(|n| world.fixture.permit(&format!("run-{n}"))).collect();
    let writer = trail.clone();
    let writing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("built");
        runtime.block_on(async {
            for permit in permits {
                let intent = writer.open(permit, &crate::http::Target::for_test()).await.expect("opened");
                writer.close(intent, crate::audit::tests::accepted(), crate::audit::tests::EFFORT).await;
            }
        });
    });
    let mut rounds = 0;
    while !writing.is_finished() || rounds == 0 {
        assert_eq!(world.found(&[]), [""; 0], "round {rounds}");
        rounds += 1;
    }
    writing.join().expect("written");
    trail.stop();
    assert_eq!(world.told(&world.keys(), &[]).0.resets, 63);
}

#[tokio::test]
async fn a_new_key_is_believed_beside_the_old_one() {
    let mut world = World::new();
    world.writer(&["ins-1"]).await;
    let old = world.keys();
    world.settings.signing_key_file = world.fixture.folder.path().join("next.key");
    world.writer(&["ins-2"]).await;
    let both = old.clone().and(world.keys());
    let (verified, told) = world.told(&both, &[]);
    assert_eq!((verified.findings, verified.covered), (0, 12), "{told:?}");
    assert_eq!(told.len(), 2, "a line a key: {told:?}");
    let id = world.checkpoint('A', 4).0.split(' ').nth(5).expect("a key").to_owned();
    let unknown = format!("writer A, sequence 4: its checkpoint is signed by {id}, a key that is not known");
    assert_eq!(world.found(&[]), [unknown], "once a chain");
    let log = world.checkpoints(&world.checkpoint('A', 6).0);
    let found = world.found(&[log]);
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("writer A, sequence 5: its checkpoint is signed by"), "{found:?}");
}

#[tokio::test]
async fn records_of_the_first_version_and_of_later_ones_are_good_side_by_side() {
    let mut world = World::new();
    world.writer(&[]).await;
    let old = "01900000-0000-7000-8000-000000000001";
    world.writers = vec![old.to_owned(), world.writers.remove(0)];
    let head = world.position('B', 3);
    let rest = [
        json!({"kind": "start", "time": "2024-06-09T00:00:00.000Z", "version": "0.1.0", "heads": [head]}),
        json!({"kind": "refused", "time": "2024-06-09T00:00:00.000Z", "refused": "policy"}),
        json!({"kind": "yet-unknown", "time": "2024-06-09T00:00:00.000Z", "heads": 7, "checkpoint": {}}),
        json!({"kind": "stop", "time": "2024-06-09T00:00:00.000Z"}),
    ];
    let mut previous = "0".repeat(64);
    for (sequence, rest) in (1..).zip(rest) {
        let rest = rest.to_string();
        let text = format!(
            r#"{{"v":1,"writer":"{old}","sequence":{sequence},"previous":"{previous}",{}"#,
            &rest[1..]
        );
        previous = record::hash(&text);
        world.file().put('A', sequence, &previous, &text);
    }
    let (verified, told) = world.told(&world.keys(), &[]);
    assert_eq!((verified.findings, verified.covered), (0, 3), "{told:?}");
    world.writer(&["ins-1"]).await;
    let (verified, told) = world.told(&world.keys(), &[]);
    assert_eq!((verified.findings, verified.records, verified.covered), (0, 13, 13), "{told:?}");
    assert_eq!(world.file().writer('C'), world.writers[2]);
}
