//! What only a checkpoint or a receipt from outside the store finds.

use super::world::{File, World};
use crate::audit::verify::Witness;

/// What is done, how, and what a checkpoint (B 3, in record 4) and a receipt (B 2) find.
type Row = (&'static str, fn(&File), &'static str, &'static str);

const ROWS: &[Row] = &[
    ("nothing", |_| {}, "", ""),
    (
        "the newest chain's tail",
        |file| {
            file.sql("DELETE FROM records WHERE writer = 'B' AND sequence > 1; DELETE FROM resets WHERE writer = 'B'")
        },
        "writer B, sequence 3: it was cut off: its chain ends with sequence 1",
        "writer B, sequence 2: it was cut off: its chain ends with sequence 1",
    ),
    (
        "the newest chain",
        |file| file.sql("DELETE FROM records WHERE writer = 'B'; DELETE FROM resets WHERE writer = 'B'"),
        "writer B, sequence 3: its whole chain is gone",
        "writer B, sequence 2: its whole chain is gone",
    ),
    (
        "a chain written anew, without what must be signed",
        |file| {
            file.sql("DELETE FROM records WHERE writer = 'B' AND sequence > 3");
            file.edit('B', 2, "alice", "mallo");
            file.relink('B', 3);
            file.rehash_rows();
        },
        "writer B, sequence 3: it is not the record that was there",
        "writer B, sequence 2: it is not the record that was there",
    ),
];

#[tokio::test]
async fn a_cut_off_tail_and_a_chain_written_anew_are_found_from_outside_and_not_without() {
    let world = World::two_chains().await;
    let whole = world.copy();
    let (checkpoint, time) = world.checkpoint('B', 4);
    let log = world.checkpoints(&format!("{{\"audit.checkpoint\":\"{checkpoint}\"}}\n"));
    let receipt = world.receipt(&world.position('B', 2));
    for (row, tamper, by_checkpoint, by_receipt) in ROWS {
        world.put_back(&whole);
        tamper(&world.file());
        assert_eq!(world.found(&[]), [""; 0], "{row}: nothing without help");
        let expected = |text: &str, named: String| match text {
            "" => vec![],
            text => vec![format!("{text} (named by {named})")],
        };
        let found = world.found(std::slice::from_ref(&log));
        assert_eq!(found, expected(by_checkpoint, format!("the checkpoint of {time}")), "{row}");
        let found = world.found(std::slice::from_ref(&receipt));
        assert_eq!(found, expected(by_receipt, "a receipt".to_owned()), "{row}");
    }
}

#[tokio::test]
async fn an_old_file_that_was_put_back_is_found_from_outside_and_not_without() {
    let mut world = World::new();
    world.writer(&["ins-1", "ins-2"]).await;
    let old = world.copy();
    world.writer(&["ins-3"]).await;
    let (checkpoint, time) = world.checkpoint('B', 6);
    let log = world.checkpoints(&format!("{} {checkpoint}", world.checkpoint('B', 4).0));
    let receipt = world.receipt(&world.position('B', 2));
    assert_eq!(world.found(&[log.clone(), receipt.clone()]), [""; 0]);
    world.put_back(&old);
    // The gateway starts on it as if nothing were.
    world.writer(&["ins-4"]).await;
    assert_eq!(world.found(&[]), [""; 0]);
    let gone = |sequence: u64, named: &str| {
        format!("writer B, sequence {sequence}: its whole chain is gone (named by {named})")
    };
    let expected = [gone(5, &format!("the checkpoint of {time} and 1 more")), gone(2, "a receipt")];
    assert_eq!(world.found(&[log, receipt]), expected);
}

#[tokio::test]
async fn a_checkpoint_from_outside_counts_only_with_its_signature() {
    let world = World::two_chains().await;
    let (text, _) = world.checkpoint('B', 4);
    let forged = text.replace(" 3 ", " 33 ");
    let renamed = text.replace(text.split(' ').nth(5).expect("a key"), "0123456789abcdef");
    let witness = world.checkpoints(&format!("{forged}\n{renamed}\n{renamed}\n"));
    let expected = [
        "writer B, sequence 33: the signature of its checkpoint is wrong",
        "writer B, sequence 3: its checkpoint is signed by 0123456789abcdef, a key that is not known",
    ];
    assert_eq!(world.found(&[witness]), expected);
}

#[tokio::test]
async fn a_receipt_of_what_was_never_there_is_found() {
    let world = World::two_chains().await;
    let receipt = |change: fn(&mut crate::audit::Position)| {
        let mut position = world.position('B', 2);
        change(&mut position);
        world.found(&[world.receipt(&position)])
    };
    assert_eq!(receipt(|_| {}), [""; 0]);
    let found = receipt(|position| position.sequence = 0);
    assert_eq!(found, ["writer B, sequence 0: it was removed (named by a receipt)"]);
    let found = receipt(|position| position.sequence = u64::MAX);
    assert!(found[0].contains("cut off") || found[0].contains("removed"), "{found:?}");
    let found = receipt(|position| position.writer = "x\n\u{1b}[2J".to_owned());
    assert_eq!(
        found,
        ["writer x\u{fffd}\u{fffd}[2J, sequence 2: its whole chain is gone (named by a receipt)"]
    );
    let missing = Witness::Receipts(world.fixture.folder.path().join("nowhere"));
    let reader = crate::audit::Reader::open(&world.settings).expect("readable");
    let refused = reader.verify(&world.keys(), &[missing], &mut |_| {}, &|_, _, _| {}).expect_err("refused");
    assert!(refused.to_string().contains("nowhere cannot be read"), "{refused}");
}
