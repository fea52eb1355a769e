//! What was pruned, and what a backup did not have, is no finding, as far as the trail itself says so.

use super::world::{File, World};
use crate::audit::{Event, Held, Maintenance, Position};

/// Two chains; chain A has lost its first four records, and chain C says so.
async fn pruned(claim: impl FnOnce(Position) -> Position) -> World {
    let mut world = World::two_chains().await;
    let position = claim(world.position('A', 4));
    let trail = world.trail();
    trail.note(&Event::Pruned { before: "2026-01-01T00:00:00.000Z", pruned: &[position] });
    trail.stop();
    world
}

fn cut_beginning(file: &File, up_to: u64) {
    file.sql(&format!(
        "DELETE FROM records WHERE writer = 'A' AND sequence <= {up_to};
         DELETE FROM resets WHERE writer = 'A' AND sequence <= {up_to}"
    ));
}

#[tokio::test]
async fn what_was_pruned_is_good_and_so_is_what_names_it() {
    let world = pruned(|position| position).await;
    let named = [world.position('A', 2), world.position('A', 4)];
    let (checkpoint, _) = world.checkpoint('A', 4);
    cut_beginning(&world.file(), 4);
    assert_eq!(world.found(&[]), [""; 0]);
    assert_eq!(world.found(&[world.checkpoints(&checkpoint)]), [""; 0]);
    for position in named {
        assert_eq!(world.found(&[world.receipt(&position)]), [""; 0], "{position:?}");
    }
    let (verified, told) = world.told(&world.keys(), &[]);
    assert_eq!((verified.records, verified.covered), (14, 14), "{told:?}");
}

#[tokio::test]
async fn a_whole_chain_may_be_pruned() {
    let mut world = World::two_chains().await;
    let end = world.position('A', 8);
    let trail = world.trail();
    trail.note(&Event::Pruned { before: "2026-01-01T00:00:00.000Z", pruned: std::slice::from_ref(&end) });
    trail.stop();
    cut_beginning(&world.file(), 8);
    assert_eq!(world.found(&[world.receipt(&end)]), [""; 0]);
    let beyond = Position { sequence: 9, ..end };
    let expected =
        "writer A, sequence 9: it was cut off: its chain ends with sequence 8 (named by a receipt)";
    assert_eq!(world.found(&[world.receipt(&beyond)]), [expected]);
}

#[tokio::test]
async fn a_prune_excuses_exactly_what_it_names() {
    let other = |position| Position { hash: "0".repeat(64), ..position };
    for (row, world, cut, expected) in [
        (
            "too much",
            pruned(|p| p).await,
            5,
            "writer A, sequence 6: records before it are missing; writer A, sequence 6: its reset has no intent",
        ),
        ("too little", pruned(|p| p).await, 3, "writer A, sequence 4: it was pruned, and is here"),
        ("nothing", pruned(|p| p).await, 0, "writer A, sequence 1: it was pruned, and is here"),
        (
            "another record",
            pruned(other).await,
            4,
            "writer A, sequence 5: it does not follow the record that was pruned before it",
        ),
    ] {
        cut_beginning(&world.file(), cut);
        assert_eq!(world.found(&[]).join("; "), expected, "{row}");
    }
}

#[tokio::test]
async fn an_outcome_that_came_after_its_intent_was_pruned_is_good() {
    let mut world = World::two_chains().await;
    let position = world.position('A', 5);
    let before = crate::domain::rfc3339(jiff::Timestamp::now());
    let trail = world.trail();
    trail.note(&Event::Pruned { before: &before, pruned: &[position] });
    trail.stop();
    cut_beginning(&world.file(), 5);
    assert_eq!(world.found(&[]), [""; 0]);
}

#[tokio::test]
async fn a_prune_that_nobody_signed_is_found() {
    let world = pruned(|position| position).await;
    cut_beginning(&world.file(), 4);
    // Start, prune, stop, checkpoint.
    world.file().sql("DELETE FROM records WHERE writer = 'C' AND sequence > 2");
    assert_eq!(world.found(&[]), ["writer C, sequence 2: no checkpoint vouches for it"]);
}

/// Chain A and a backup, chain B that the backup lacks; the backup put back, and chain C that says so or not.
async fn restored(declared: bool) -> (World, Vec<crate::audit::Witness>, String) {
    let mut world = World::new();
    world.writer(&["ins-1", "ins-2"]).await;
    let backup = world.copy();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    world.writer(&["ins-3"]).await;
    let (checkpoint, time) = world.checkpoint('B', 6);
    let witnesses = vec![world.checkpoints(&checkpoint), world.receipt(&world.position('B', 2))];
    world.put_back(&backup);
    let heads = [world.position('A', 8)];
    let trail = world.trail();
    if declared {
        trail.note(&Event::Restored { reason: "the disk died", heads: &heads });
    }
    trail.stop();
    (world, witnesses, time)
}

#[tokio::test]
async fn what_a_backup_lacked_is_told_as_declared() {
    let (world, witnesses, time) = restored(true).await;
    let (verified, told) = world.told(&world.keys(), &witnesses);
    let at = told[0].split(": restored at ").nth(1).and_then(|rest| rest.split(": ").next()).expect("a time");
    assert_eq!(verified.findings, 0, "{told:?}");
    assert_eq!(
        told[..3],
        [
            format!("writer C, sequence 2: restored at {at}: the disk died"),
            format!(
                "writer B, sequence 5: declared: restored at {at}: the disk died (named by the checkpoint of {time})"
            ),
            format!("writer B, sequence 2: declared: restored at {at}: the disk died (named by a receipt)"),
        ]
    );
    let (world, witnesses, _) = restored(false).await;
    assert_eq!(world.found(&witnesses).len(), 2, "without a word it is a finding");
}

#[tokio::test]
async fn what_a_backup_lacked_stays_declared_when_all_that_may_go_is_pruned() {
    let (mut world, witnesses, _) = restored(true).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let mut maintenance = Maintenance::open(&world.settings).unwrap_or_else(|e| panic!("{e}"));
    let prunings = maintenance.prune(jiff::Timestamp::now(), &|| {}).expect("pruned");
    maintenance.finish().expect("finished");
    world.see();
    // Chain A went whole; of chain C only what is before its restored record.
    let told: Vec<_> = prunings.iter().map(|pruning| (pruning.removed(), pruning.held)).collect();
    assert_eq!(told, [(8, None), (1, Some(Held::Restore))]);
    let (verified, told) = world.told(&world.keys(), &witnesses);
    assert_eq!(verified.findings, 0, "{told:?}");
    assert_eq!(told.iter().filter(|line| line.contains(": declared: ")).count(), 2, "{told:?}");
    let earlier = Position {
        writer: "01900000-0000-7000-8000-000000000001".to_owned(),
        sequence: 1,
        hash: "0".repeat(64),
    };
    assert_eq!(world.found(&[world.receipt(&earlier)]).len(), 1, "a chain of before the backup");
}

#[tokio::test]
async fn a_restore_declares_only_what_came_between_the_backup_and_itself() {
    let (world, _, _) = restored(true).await;
    let receipt = |writer: &str, sequence: u64| {
        let position = Position { writer: writer.to_owned(), sequence, hash: "0".repeat(64) };
        world.found(&[world.receipt(&position)])
    };
    assert_eq!(receipt(&world.writers[0], 9), [""; 0], "beyond the backup's end of its chain");
    let found = receipt(&world.writers[0], 8);
    assert_eq!(found, ["writer A, sequence 8: it is not the record that was there (named by a receipt)"]);
    let later = uuid::Uuid::now_v7().to_string();
    assert_eq!(
        receipt(&later, 1),
        [format!("writer {later}, sequence 1: its whole chain is gone (named by a receipt)")]
    );
    let earlier = "01900000-0000-7000-8000-000000000001";
    assert_eq!(receipt(earlier, 1).len(), 1, "a chain of before the backup");
    // What the backup had must still be there.
    world.file().sql("DELETE FROM records WHERE writer = 'A' AND sequence = 8");
    let found = world.found(&[]);
    assert!(found.iter().any(|line| line.starts_with("writer A, sequence 8: it was cut off")), "{found:?}");
    assert_eq!(receipt(&world.writers[0], 9).len(), found.len() + 1, "nor does the restore excuse more then");
}
