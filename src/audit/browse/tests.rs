use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::*;
use crate::audit::Kind;
use crate::config;
use crate::domain::rfc3339;

/// A trail of these records, of two writers by turns, a second apart but for every third, which shares its time with
/// the one before.
fn trail(records: impl Iterator<Item = Value>) -> (tempfile::TempDir, Reader) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trail.db");
    let settings = config::Audit::sqlite(&path);
    crate::audit::sqlite::Writing::open(&path).expect("made");
    let mut connection = Connection::open(&path).expect("opened");
    let transaction = connection.transaction().expect("begun");
    for (n, mut record) in records.enumerate() {
        let (writer, sequence) = (["w-a", "w-b"][n % 2], n / 2 + 1);
        let time = jiff::Timestamp::from_second(n as i64 - i64::from(n % 3 == 2)).expect("a time");
        record["time"] = json!(rfc3339(time));
        let text = if record["kind"].is_null() { "no record".to_owned() } else { record.to_string() };
        let insert = "INSERT INTO records (writer, sequence, hash, record) VALUES (?1, ?2, 'h', ?3)";
        transaction.execute(insert, params![writer, sequence as i64, text]).expect("inserted");
    }
    transaction.commit().expect("committed");
    (folder, Reader::open(&settings).expect("readable"))
}

/// Follows the pages to their end.
fn walk(reader: &Reader, filter: &Filter, limit: usize, mut may: impl FnMut(&Owner) -> bool) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.next.clone());
        pages.push(reader.browse(filter, after, limit, &mut may).expect("readable"));
        if pages.last().is_some_and(|page| page.next.is_none()) {
            return pages;
        }
    }
}

#[test]
fn pages_give_what_a_look_at_every_record_gives() {
    let ids: Vec<String> = (0..3).map(|_| crate::domain::ResetId::generate().to_string()).collect();
    let record = |n: usize| {
        let mut record = json!({});
        let kinds = ["intent", "outcome", "refused", "read", "key"];
        // Which is what makes a record one here: two in ninety are none.
        if n % 47 != 11 {
            record["kind"] = json!(kinds[n % 5]);
        }
        for (field, every, values) in [
            ("team", 2, ["a", "b", "c"]),
            ("instanceId", 3, ["i-1", "i-2", "i-3"]),
            ("issuer", 1, ["corp", "corp", "portal"]),
            ("subject", 1, ["al\"ice", "bob", "bob"]),
            ("resetId", 2, [&ids[0], &ids[1], &ids[2]]),
            ("requestId", 4, ["r1", "r2", "r3"]),
        ] {
            if !n.is_multiple_of(every + 1) {
                record[field] = json!(values[(n * 7 / every) % 3]);
            }
        }
        record
    };
    let (_folder, reader) = trail((0..90).map(record));
    let mut all = Vec::new();
    let none = Filter::default();
    reader
        .each(&none, Order::NewestFirst, |stored| {
            all.push(stored);
            true
        })
        .expect("readable");
    assert_eq!(all.len(), 90);
    let name = |text: &str| Some(text.parse().expect("a name"));
    let second = |n| Some(jiff::Timestamp::from_second(n).expect("a time"));
    let teams_of_c = Filter { team: name("c"), ..Filter::default() };
    for (row, filter) in [
        ("all", none),
        ("a common kind", Filter { kind: Some(Kind::Intent), ..Filter::default() }),
        ("a rare kind", Filter { kind: Some(Kind::Key), ..Filter::default() }),
        ("a team", teams_of_c.clone()),
        ("an instance", Filter { instance: Some("i-2".parse().expect("an id")), ..Filter::default() }),
        ("a user", Filter { user: Some("corp|al\"ice".to_owned()), ..Filter::default() }),
        ("a reset", Filter { reset: Some(ids[1].parse().expect("an id")), ..Filter::default() }),
        ("a request", Filter { request: Some("r3".parse().expect("an id")), ..Filter::default() }),
        ("a writer", Filter { writer: Some("w-b".to_owned()), ..Filter::default() }),
        ("a time", Filter { since: second(20), until: second(40), ..Filter::default() }),
        ("a team's common kind", Filter { kind: Some(Kind::Outcome), ..teams_of_c.clone() }),
        ("a team's rare kind", Filter { kind: Some(Kind::Read), ..teams_of_c.clone() }),
        (
            "a writer's, a user's and an instance's from then on",
            Filter {
                writer: Some("w-a".to_owned()),
                user: Some("portal|bob".to_owned()),
                instance: Some("i-1".parse().expect("an id")),
                since: second(10),
                ..Filter::default()
            },
        ),
    ] {
        for (whose, may) in [("anybody's", None), ("b's", Some("b")), ("the gateway's", Some("@gateway"))] {
            let may = |owner: &Owner| may.is_none_or(|may| owner.as_str() == may);
            let expected: Vec<&Stored> = all.iter().filter(|stored| fits(&filter, stored, may)).collect();
            for limit in [1, 7, 200] {
                let pages = walk(&reader, &filter, limit, may);
                let got: Vec<&Stored> = pages.iter().flat_map(|page| &page.records).collect();
                assert_eq!(got, expected, "{row}, {whose}, by {limit}");
                let (last, full) = pages.split_last().expect("at least one");
                assert!(full.iter().all(|page| page.records.len() == limit), "{row}, {whose}, by {limit}");
                assert!(!last.records.is_empty() || expected.is_empty(), "{row}, {whose}, by {limit}");
            }
        }
    }
}

/// Told from the record's JSON, with nothing of what browses.
fn fits(filter: &Filter, stored: &Stored, may: impl Fn(&Owner) -> bool) -> bool {
    let Ok(record) = serde_json::from_str::<Value>(&stored.record) else { return false };
    let text = |field: &str| record[field].as_str().map(str::to_owned);
    let user = text("issuer").zip(text("subject")).map(|(issuer, subject)| format!("{issuer}|{subject}"));
    let time = text("time").expect("a time");
    let wants = [
        (filter.kind.map(|kind| kind.as_str().to_owned()), text("kind")),
        (filter.team.as_ref().map(ToString::to_string), text("team")),
        (filter.instance.as_ref().map(ToString::to_string), text("instanceId")),
        (filter.user.clone(), user),
        (filter.reset.map(|id| id.to_string()), text("resetId")),
        (filter.request.as_ref().map(ToString::to_string), text("requestId")),
        (filter.writer.clone(), Some(stored.position.writer.clone())),
    ];
    wants.iter().all(|(wanted, told)| wanted.is_none() || wanted == told)
        && filter.since.is_none_or(|since| time >= rfc3339(since))
        && filter.until.is_none_or(|until| time < rfc3339(until))
        && may(&text("team").unwrap_or_else(|| "@gateway".to_owned()).parse().expect("an owner"))
}

#[test]
fn a_page_looks_at_no_more_than_so_many_records() {
    let record = |n: usize| json!({ "kind": "intent", "team": if n == 0 { "a" } else { "b" } });
    let (_folder, reader) = trail((0..2 * MOST_LOOKED_AT + 1).map(record));
    for filter in [
        Filter::default(),
        Filter { kind: Some(Kind::Intent), ..Filter::default() },
        Filter { writer: Some("w-a".to_owned()), ..Filter::default() },
    ] {
        let mut asked = 0;
        let pages = walk(&reader, &filter, 50, |owner| {
            asked += 1;
            owner.as_str() == "a"
        });
        let sizes: Vec<usize> = pages.iter().map(|page| page.records.len()).collect();
        assert_eq!(sizes, [0, 0, 1], "{filter:?}");
        assert!(asked <= 2 * MOST_LOOKED_AT + 1, "none twice");
    }
    let of_a = Filter { team: Some("a".parse().expect("a name")), ..Filter::default() };
    assert_eq!(walk(&reader, &of_a, 50, |_| true).len(), 1, "what has an index is found at once");
}
