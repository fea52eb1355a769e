//! What is found without anything from outside, and where.

use super::world::{File, World};
use crate::audit::{Position, Reader, SigningKey, record};

/// What is done, how, and the findings.
type Row = (&'static str, fn(&File), &'static [&'static str]);

const NAMED: &str = "(named by the start record of writer B, sequence 1)";

const ROWS: &[Row] = &[
    ("nothing", |_| {}, &[]),
    (
        "an edit",
        |file| {
            file.sql("UPDATE records SET record = replace(record, 'alice', 'mallo') WHERE writer = 'A' AND sequence = 2")
        },
        &["writer A, sequence 2: its bytes do not have the hash beside them: it was changed"],
    ),
    (
        "an edit of a hash",
        |file| file.sql("UPDATE records SET hash = upper(hash) WHERE writer = 'A' AND sequence = 3"),
        &[
            "writer A, sequence 3: its bytes do not have the hash beside them: it was changed",
            "writer A, sequence 4: it does not follow the record before it",
        ],
    ),
    (
        "an edit with its hash",
        |file| file.edit('A', 2, "alice", "mallo"),
        &[
            "writer A, sequence 2: the table resets says otherwise of its reset: hash",
            "writer A, sequence 3: it does not follow the record before it",
        ],
    ),
    (
        "an edit with its hash and row",
        |file| {
            file.edit('A', 2, "alice", "mallo");
            file.rehash_rows();
        },
        &["writer A, sequence 3: it does not follow the record before it"],
    ),
    (
        "an edit with all hashes and rows behind it",
        |file| {
            file.edit('A', 2, "alice", "mallo");
            file.relink('A', 3);
            file.rehash_rows();
        },
        &[
            "writer A, sequence 4: its checkpoint is not of the record before it",
            "writer A, sequence 8: its checkpoint is not of the record before it",
            "writer A, sequence 8: it is not the record that was there {NAMED}",
        ],
    ),
    (
        "an edit of a checkpoint's signature",
        |file| {
            let text = file.record('A', 8);
            let signature = text.trim_end_matches("\"}").rsplit(' ').next().expect("a signature").to_owned();
            let first = if signature.starts_with('A') { "B" } else { "A" };
            file.edit('A', 8, &signature, &format!("{first}{}", &signature[1..]));
        },
        &[
            "writer A, sequence 8: the signature of its checkpoint is wrong",
            "writer A, sequence 8: it is not the record that was there {NAMED}",
        ],
    ),
    (
        "a removal of an outcome",
        |file| file.sql("DELETE FROM records WHERE writer = 'A' AND sequence = 3"),
        &[
            "writer A, sequence 2: the table resets says otherwise of its reset: status, upstream_request_id, finished_at",
            "writer A, sequence 4: records before it are missing",
        ],
    ),
    (
        "a removal of an intent",
        |file| file.sql("DELETE FROM records WHERE writer = 'A' AND sequence = 2"),
        &[
            "writer A, sequence 3: records before it are missing",
            "writer A, sequence 3: its reset has no intent",
            "writer A, sequence 2: the table resets has the reset ID, which does not begin here",
        ],
    ),
    (
        "a removal of an intent and its row",
        |file| {
            file.sql("DELETE FROM records WHERE writer = 'A' AND sequence = 2; DELETE FROM resets WHERE writer = 'A' AND sequence = 2")
        },
        &[
            "writer A, sequence 3: records before it are missing",
            "writer A, sequence 3: its reset has no intent",
        ],
    ),
    (
        "an outcome of nothing, in a chain that is not signed yet",
        |file| {
            file.sql("DELETE FROM records WHERE writer = 'B' AND sequence > 3; DELETE FROM resets WHERE writer = 'B'");
            file.edit('B', 2, "\"kind\":\"intent\"", "\"kind\":\"refused\"");
            file.relink('B', 3);
        },
        &["writer B, sequence 3: its reset has no intent"],
    ),
    (
        "an outcome without its fields",
        |file| {
            file.sql("DELETE FROM records WHERE writer = 'B' AND sequence > 3");
            file.edit('B', 3, "\"outcome\":\"accepted\"", "\"outcome\":\"fine\"");
        },
        &["writer B, sequence 3: it does not say what it should of a reset"],
    ),
    (
        "a removal of a chain's beginning",
        |file| file.sql("DELETE FROM records WHERE writer = 'B' AND sequence = 1"),
        &["writer B, sequence 2: records before it are missing"],
    ),
    (
        "a removal with all places and hashes behind it",
        |file| {
            file.sql("DELETE FROM records WHERE writer = 'B' AND sequence = 3; UPDATE records SET sequence = sequence - 1 WHERE writer = 'B' AND sequence > 3");
            file.relink('B', 3);
        },
        &[
            "writer B, sequence 2: the table resets says otherwise of its reset: status, upstream_request_id, finished_at",
            "writer B, sequence 3: its checkpoint is not of the record before it",
            "writer B, sequence 5: its checkpoint is not of the record before it",
        ],
    ),
    (
        "an insertion",
        |file| {
            shift(file);
            let record = file.record('B', 3).replace("\"sequence\":2,", "\"sequence\":3,");
            file.put('B', 3, &record::hash(&record), &record);
        },
        &[
            "writer B, sequence 3: it does not follow the record before it",
            "writer B, sequence 3: its reset began already: writer B, sequence 2",
            "writer B, sequence 4: its bytes name another place: it was moved",
            "writer B, sequence 5: its bytes name another place: it was moved",
            "writer B, sequence 6: its bytes name another place: it was moved",
            "writer B, sequence 7: its bytes name another place: it was moved",
        ],
    ),
    (
        "an insertion with all places and hashes behind it",
        |file| {
            shift(file);
            file.edit('B', 3, "\"kind\":\"intent\"", "\"kind\":\"refused\"");
            file.relink('B', 3);
        },
        &[
            "writer B, sequence 5: its checkpoint is not of the record before it",
            "writer B, sequence 7: its checkpoint is not of the record before it",
        ],
    ),
    (
        "two that change places",
        |file| {
            file.sql("UPDATE records SET sequence = 100 WHERE writer = 'A' AND sequence = 3; UPDATE records SET sequence = 3 WHERE writer = 'A' AND sequence = 6; UPDATE records SET sequence = 6 WHERE writer = 'A' AND sequence = 100")
        },
        &[
            "writer A, sequence 3: its bytes name another place: it was moved",
            "writer A, sequence 4: it does not follow the record before it",
            "writer A, sequence 6: its bytes name another place: it was moved",
            "writer A, sequence 7: it does not follow the record before it",
        ],
    ),
    (
        "a tail of a chain that a later one names",
        |file| {
            file.sql("DELETE FROM records WHERE writer = 'A' AND sequence > 4; DELETE FROM resets WHERE writer = 'A' AND sequence > 4")
        },
        &["writer A, sequence 8: it was cut off: its chain ends with sequence 4 {NAMED}"],
    ),
    (
        "a whole chain that a later one names",
        |file| file.sql("DELETE FROM records WHERE writer = 'A'; DELETE FROM resets WHERE writer = 'A'"),
        &["writer A, sequence 8: its whole chain is gone {NAMED}"],
    ),
    (
        "the last checkpoint",
        |file| file.sql("DELETE FROM records WHERE writer = 'B' AND sequence = 6"),
        &["writer B, sequence 5: no checkpoint follows it: the end of its chain is missing"],
    ),
    (
        "a checkpoint of another place",
        |file| {
            let (other, own) = (checkpoint(file, 'B', 4), checkpoint(file, 'B', 6));
            file.edit('B', 6, &own, &other);
        },
        &["writer B, sequence 6: its checkpoint is not of the record before it"],
    ),
    (
        "a checkpoint that is none",
        |file| file.edit('B', 6, "zengate-checkpoint-v1 ", "zengate-checkpoint-v1"),
        &["writer B, sequence 6: it holds no checkpoint"],
    ),
    (
        "a checkpoint with another time",
        |file| {
            let own = checkpoint(file, 'B', 6);
            let time = own.split(' ').nth(4).expect("a time");
            file.edit('B', 6, &own, &own.replace(time, "2020-01-01T00:00:00.000Z"));
        },
        &["writer B, sequence 6: the signature of its checkpoint is wrong"],
    ),
    (
        "a record behind the end",
        |file| {
            let end = file.position('B', 6);
            let record = format!(
                r#"{{"v":2,"writer":"{}","sequence":7,"previous":"{}","kind":"refused","time":"2026-01-01T00:00:00.000Z"}}"#,
                end.writer, end.hash
            );
            file.put('B', 7, &record::hash(&record), &record);
        },
        &["writer B, sequence 7: it stands behind the end of its chain"],
    ),
    (
        "a record again in another chain",
        |file| file.put('B', 7, &file.position('A', 2).hash, &file.record('A', 2)),
        &["writer B, sequence 7: its bytes name another place: it was moved"],
    ),
    (
        "a record again in another chain, made to fit",
        |file| {
            let (Position { writer, hash, .. }, end) = (file.position('A', 1), file.position('B', 6));
            let record = file.record('A', 2).replace(&writer, &end.writer).replace(&hash, &end.hash);
            let record = record.replace("\"sequence\":2,", "\"sequence\":7,");
            file.put('B', 7, &record::hash(&record), &record);
        },
        &[
            "writer B, sequence 7: it stands behind the end of its chain",
            "writer B, sequence 7: its reset began already: writer A, sequence 2",
        ],
    ),
    (
        "what is no record, before the first place",
        |file| {
            file.sql("INSERT INTO records (writer, sequence, hash, record) VALUES ('B', 0, '', 'x'); UPDATE records SET record = 'x' WHERE writer = 'B' AND sequence = 6")
        },
        &[
            "writer B, sequence 0: it has no place in a chain",
            "writer B, sequence 6: its bytes do not have the hash beside them: it was changed",
            "writer B, sequence 6: its bytes are not a record",
        ],
    ),
    (
        "an edit of a row",
        |file| file.sql("UPDATE resets SET status = 'rejected', team = 'b' WHERE writer = 'B'"),
        &["writer B, sequence 2: the table resets says otherwise of its reset: team, status"],
    ),
    (
        "a removal of a row",
        |file| file.sql("DELETE FROM resets WHERE writer = 'B'"),
        &["writer B, sequence 2: the table resets lacks its reset"],
    ),
    (
        "a row that is added",
        |file| {
            file.sql("INSERT INTO resets SELECT '01900000-0000-7000-8000-000000000000', instance, team, status, request_id, upstream_request_id, upstream_code, reason, ticket, policies, created_at, finished_at, writer, sequence, hash, NULL, NULL, NULL FROM resets WHERE writer = 'B'")
        },
        &[
            "writer B, sequence 2: the table resets has the reset 01900000-0000-7000-8000-000000000000, which does not begin here",
        ],
    ),
];

fn checkpoint(file: &File, letter: char, sequence: u64) -> String {
    let record: serde_json::Value = serde_json::from_str(&file.record(letter, sequence)).expect("JSON");
    record["checkpoint"].as_str().expect("a checkpoint").to_owned()
}

/// Makes room for another record 3 in chain B: the intent again.
fn shift(file: &File) {
    for sequence in (3..=6).rev() {
        file.sql(&format!(
            "UPDATE records SET sequence = {} WHERE writer = 'B' AND sequence = {sequence}",
            sequence + 1
        ));
    }
    let intent = file.position('B', 2);
    file.put('B', 3, &intent.hash, &file.record('B', 2));
}

#[tokio::test]
async fn tampering_is_found_and_located() {
    let world = World::two_chains().await;
    let whole = world.copy();
    for (row, tamper, expected) in ROWS {
        world.put_back(&whole);
        let intent: serde_json::Value = serde_json::from_str(&world.file().record('A', 2)).expect("JSON");
        let id = intent["resetId"].as_str().expect("an id").to_owned();
        tamper(&world.file());
        let expected = expected.iter().map(|text| text.replace("{NAMED}", NAMED).replace("ID", &id));
        assert_eq!(world.found(&[]), expected.collect::<Vec<_>>(), "{row}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_located_before_the_table_is_given_up() {
    let world = World::two_chains().await;
    world.file().sql("UPDATE resets SET policies = 'none' WHERE writer = 'B'");
    let mut told = Vec::new();
    let reader = Reader::open(&world.settings).expect("readable");
    let verified = reader.verify(&world.keys(), &[], &mut |line| told.push(line.to_string()), &|_, _, _| {});
    let verified = verified.expect("the rest is looked at");
    assert_eq!((verified.findings, verified.records), (2, 14), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("the store itself: the table resets cannot be read")));
    let place =
        format!("writer {}, sequence 2: the table resets cannot be read of its reset: ", world.writers[1]);
    assert!(told[0].starts_with(&place), "{told:?}");
}

#[tokio::test]
async fn a_chain_signed_by_another_key_is_found() {
    let world = World::two_chains().await;
    let file = world.file();
    let forger = SigningKey::load(&world.fixture.folder.path().join("forged.key"), true).expect("made");
    file.edit('B', 2, "alice", "mallo");
    for sequence in [4, 6] {
        file.relink('B', 3);
        let forged = forger.sign(file.position('B', sequence - 1), jiff::Timestamp::now()).to_string();
        file.edit('B', sequence, &checkpoint(&file, 'B', sequence), &forged);
    }
    file.relink('B', 3);
    file.rehash_rows();
    drop(file);
    let unknown =
        format!("writer B, sequence 4: its checkpoint is signed by {}, a key that is not known", forger.id());
    assert_eq!(world.found(&[]), [unknown]);
}

/// What verifies by a false index sees all, what lists by it does not: it is the index that must be found.
#[tokio::test]
async fn a_schema_that_is_not_zengates_is_found_and_no_gateway_starts_on_it() {
    for (row, plant, found) in [
        (
            "an index that leaves records out",
            r#"DROP INDEX records_by_time;
               CREATE INDEX records_by_time ON records (time, writer, sequence) WHERE record NOT LIKE '%ins-2%'"#,
            "its schema has another index records_by_time than zengate makes",
        ),
        (
            "the same under the text of the true one",
            r#"DROP INDEX records_by_time;
               CREATE INDEX records_by_time ON records (time, writer, sequence) WHERE record NOT LIKE '%ins-2%';
               PRAGMA writable_schema = ON;
               UPDATE sqlite_schema SET sql = 'CREATE INDEX records_by_time ON records (time, writer, sequence)'
                   WHERE name = 'records_by_time'"#,
            "missing from index records_by_time",
        ),
        (
            "a trigger that drops records",
            "CREATE TRIGGER z BEFORE INSERT ON records BEGIN SELECT raise(IGNORE); END",
            "its schema has the trigger z, which zengate did not make",
        ),
        ("an index that is gone", "DROP INDEX resets_by_team", "its schema lacks the index resets_by_team"),
    ] {
        let world = World::two_chains().await;
        world.file().sql(plant);
        let told = world.found(&[]);
        assert!(told.iter().any(|line| line.contains(found)), "{row}: {told:?}");
        let started = crate::audit::Trail::start(&world.settings, world.fixture.metrics.clone());
        let refused = started.err().unwrap_or_else(|| panic!("{row}: it starts")).to_string();
        assert!(refused.contains("it is damaged"), "{row}: {refused}");
    }
}

/// The next start would name it, and its checkpoint vouch for it.
#[tokio::test]
async fn what_is_put_behind_the_end_of_a_chain_is_found_once_a_later_one_has_begun() {
    let mut world = World::new();
    let trail = world.trail();
    // As a kill leaves it: without a stop.
    trail.stop();
    {
        let file = world.file();
        file.sql("DELETE FROM records WHERE writer = 'A' AND sequence > 1");
    }
    world.writer(&["ins-1"]).await;
    {
        let file = world.file();
        let before = file.position('A', 1);
        let forged = format!(
            r#"{{"v":2,"writer":"{}","sequence":2,"previous":"{}","kind":"refused","time":"2026-11-24T12:00:00.000Z","refused":"policy","team":"a"}}"#,
            before.writer, before.hash
        );
        file.put('A', 2, &record::hash(&forged), &forged);
    }
    world.see();
    let expected = ["writer A, sequence 2: it stands behind the end of its chain"];
    assert_eq!(world.found(&[]), expected);
    world.writer(&["ins-2"]).await;
    assert_eq!(world.found(&[]), expected, "a later start that names it excuses nothing");
}
