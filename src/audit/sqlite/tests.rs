use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, params};

use super::schema::STEPS;
use crate::audit::store::{self, Filter, Order, Projection, Row, StoreError};
use crate::audit::{Kind, OpenError, Position};
use crate::config;
use crate::domain::Status;

/// What the program of schema 1 writes: a reset that begins, as `records` and `resets` have it.
fn write_as_version_1(path: &Path, writer: &str) {
    let connection = Connection::open(path).expect("opened");
    let id = if writer == "old-1" {
        "01a20b74-a492-7299-a003-000000000001"
    } else {
        "01a20b74-a492-7299-a003-000000000002"
    };
    let record = format!(
        r#"{{"v":1,"writer":"{writer}","sequence":1,"kind":"intent","time":"2026-11-24T12:00:00.000Z","resetId":"{id}","issuer":"corp","subject":"alice","team":"a","instanceId":"ins-1","requestId":"call"}}"#
    );
    let insert = "INSERT INTO records (writer, sequence, hash, record) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(insert, params![writer, 1, "h", record]).expect("inserted");
    let insert = "INSERT INTO resets (id, instance, team, status, request_id, upstream_request_id, upstream_code,
            reason, ticket, policies, created_at, finished_at, writer, sequence, hash)
        VALUES (?1, 'ins-1', 'a', 'sent', 'call', NULL, NULL, NULL, NULL, '[]', '2026-11-24T12:00:00Z', NULL, ?2, 1, 'h')";
    connection.execute(insert, params![id, writer]).expect("inserted");
}

#[test]
fn the_version_before_writes_beside_this_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trail.db");
    Connection::open(&path).expect("opened").execute_batch(STEPS[0]).expect("made");
    write_as_version_1(&path, "old-1");
    let settings = config::Audit::sqlite(&path);
    let early = store::open_source(&settings).err().expect("only a writer migrates").to_string();
    assert!(early.contains("`zengate serve` brings it up to date"), "{early}");
    for writer in ["new-1", "new-2"] {
        let mut store = store::open(&settings).unwrap_or_else(|error| panic!("{error}"));
        let position = Position { writer: writer.to_owned(), sequence: 1, hash: "h".to_owned() };
        let record = r#"{"v":1,"kind":"start","time":"2026-11-24T12:00:01.000Z","heads":[]}"#.to_owned();
        store
            .append(&[Row { position, record, projection: &Projection::None, claim: None }], &BTreeMap::new())
            .expect("kept");
        drop(store);
        // A rolled back gateway goes on in the same file.
        if writer == "new-1" {
            write_as_version_1(&path, "old-2");
        }
    }
    let source = store::open_source(&settings).unwrap_or_else(|error| panic!("{error}"));
    let writers = |filter: &Filter| -> Vec<_> {
        let page = source.page(filter, Order::OldestFirst, None, 10).expect("readable");
        page.into_iter().map(|stored| stored.position.writer).collect()
    };
    let none = Filter::default();
    assert_eq!(writers(&none), ["old-1", "old-2", "new-1", "new-2"]);
    for (name, filter, expected) in [
        ("kind", Filter { kind: Some(Kind::Intent), ..none.clone() }, &["old-1", "old-2"][..]),
        ("start", Filter { kind: Some(Kind::Start), ..none.clone() }, &["new-1", "new-2"]),
        ("team", Filter { team: Some("a".parse().expect("good")), ..none.clone() }, &["old-1", "old-2"]),
        (
            "instance",
            Filter { instance: Some("ins-1".parse().expect("good")), ..none.clone() },
            &["old-1", "old-2"],
        ),
        ("user", Filter { user: Some("corp|alice".to_owned()), ..none.clone() }, &["old-1", "old-2"]),
        (
            "request",
            Filter { request: Some("call".parse().expect("good")), ..none.clone() },
            &["old-1", "old-2"],
        ),
        (
            "reset",
            Filter { reset: Some("01a20b74-a492-7299-a003-000000000002".parse().expect("good")), ..none },
            &["old-2"],
        ),
    ] {
        assert_eq!(writers(&filter), expected, "{name}");
    }
    assert_eq!(source.chains().expect("readable").len(), 4);
    let orphans =
        store::open(&settings).unwrap_or_else(|error| panic!("{error}")).orphans("new-3").expect("readable");
    assert!(orphans.len() == 2 && orphans.iter().all(|reset| reset.status == Status::Sent), "{orphans:?}");
}

#[test]
fn a_file_that_is_no_database_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trail.db");
    std::fs::write(&path, "not a database, but long enough to be taken for one".repeat(100))
        .expect("written");
    let settings = config::Audit::sqlite(&path);
    for told in [store::open(&settings).err(), store::open_source(&settings).err()] {
        let told = told.expect("refused");
        assert!(matches!(told, OpenError::Store { source: StoreError::Damaged(_), .. }), "{told}");
    }
}
