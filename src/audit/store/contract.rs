//! What every store must do, run on each.

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::audit::commit::Committer;
use crate::audit::event::Event;
use crate::audit::postgres::server::Postgres;
use crate::audit::record::Chain;
use crate::audit::writer::Draft;
use crate::audit::{Reader, SigningKey};
use crate::domain::{Rejection, Status};

/// A place for one test's trail.
struct Here {
    folder: TempDir,
    /// The URL of its database, in PostgreSQL.
    database: Option<String>,
}

impl Here {
    fn sqlite() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), database: None }
    }

    fn postgres() -> Self {
        let (here, url) = (Self::sqlite(), Postgres::shared().database());
        std::fs::write(here.folder.path().join("url"), &url).expect("written");
        Self { database: Some(url), ..here }
    }

    fn settings(&self) -> config::Audit {
        match &self.database {
            None => config::Audit::sqlite(&self.folder.path().join("trail.db")),
            Some(_) => config::Audit::postgres(&self.folder.path().join("url")),
        }
    }

    fn open(&self) -> Box<dyn Store> {
        open(&self.settings()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn source(&self) -> Arc<dyn Source> {
        open_source(&self.settings()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A statement of another program's, past this one's code.
    fn sql(&self, sql: &str) -> Result<(), String> {
        match &self.database {
            None => Connection::open(self.folder.path().join("trail.db"))
                .and_then(|connection| connection.execute_batch(sql))
                .map_err(|error| error.to_string()),
            Some(url) => Postgres::shared().ask(url, sql).map(drop),
        }
    }
}

macro_rules! contract {
    ($($test:ident)*) => {
        mod on_sqlite { $(#[test] fn $test() { super::$test(&super::Here::sqlite()); })* }
        mod on_postgres { $(#[test] fn $test() { super::$test(&super::Here::postgres()); })* }
    };
}

contract! {
    what_is_appended_is_there_in_order
    a_group_is_kept_whole_or_not_at_all
    a_place_in_a_chain_is_taken_once
    a_record_that_is_dropped_is_no_record
    pages_hold_what_fits_in_both_orders
    a_stretch_of_resets_holds_what_fits_and_the_newest_first
    chains_are_told_by_their_ends
    the_sinks_place_is_kept
    a_reset_opens_and_closes_within_a_group_and_later
    what_is_queued_is_sent_or_closed_from_there
    what_is_unknown_never_takes_the_place_of_what_is_known
    who_finds_a_writer_gone_never_takes_the_place_of_what_it_said_itself
    what_is_removed_is_gone_and_the_rest_stays
    a_prune_and_what_vouches_for_it_are_one_transaction
    a_prune_that_cannot_be_put_on_record_takes_nothing_out
    the_projection_can_be_written_anew
    a_key_goes_to_one_and_is_known_by_its_caller_alone
    a_claimed_key_refuses_its_group_and_breaks_nothing
    a_key_is_released_by_what_the_outcome_says
    an_expired_key_is_claimed_anew_and_forgotten_in_steps
    keys_outlive_a_rebuild_and_a_pruning
    nobody_changes_a_record
    times_and_texts_are_kept_byte_by_byte
}

use keys::*;

mod keys;

const NONE: Projection = Projection::None;

fn chain(name: &str) -> Chain {
    Chain::new(name.to_owned())
}

fn row<'p>(chain: &mut Chain, rest: &str, projection: &'p Projection) -> Row<'p> {
    let (position, record) = chain.append(rest);
    Row { position, record, projection, claim: None }
}

fn append(store: &mut dyn Store, rows: &[Row<'_>]) -> Result<(), StoreError> {
    store.append(rows, &BTreeMap::new())
}

fn plain(number: u64) -> String {
    format!(r#""kind":"stop","time":"2026-11-24T12:00:00.{number:03}Z"}}"#)
}

fn reset() -> Reset {
    Reset {
        id: ResetId::generate(),
        batch: None,
        instance: "ins-1".parse().expect("good"),
        team: "a".parse().expect("good"),
        status: crate::domain::Status::Sent,
        request_id: "call-1".parse().expect("good"),
        upstream_request_id: None,
        upstream_code: None,
        cause: None,
        reason: Some("it's \"so\" \\ ü".to_owned()),
        ticket: None,
        policies: vec!["a/b".to_owned(), "c".to_owned()],
        created_at: "2026-11-24T12:00:00.001Z".parse().expect("good"),
        finished_at: None,
        sealed_password: None,
        receipt: Position { writer: String::new(), sequence: 0, hash: String::new() },
    }
}

fn open_of(reset: &Reset) -> Projection {
    Projection::Open(Box::new(reset.clone()))
}

fn close_of(reset: &Reset, outcome: Outcome) -> Projection {
    let at = "2026-11-24T12:00:01Z".parse().expect("good");
    Projection::Close { id: reset.id, outcome, at, cause: None, gone: false, releases: None }
}

fn accepted() -> Outcome {
    Outcome::Accepted { upstream_request_id: "T1".to_owned() }
}

fn unknown() -> Outcome {
    Outcome::Unknown { upstream_code: None, upstream_request_id: None }
}

fn all(source: &dyn Source) -> Vec<Stored> {
    source.page(&Filter::default(), Order::OldestFirst, None, 1000).expect("readable")
}

fn what_is_appended_is_there_in_order(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    assert_eq!(store.head("w1").expect("readable"), None);
    let mut w1 = chain("w1");
    let rows: Vec<_> = (1..=5).map(|n| row(&mut w1, &plain(n), &NONE)).collect();
    append(&mut *store, &rows[..2]).expect("kept");
    append(&mut *store, &rows[2..]).expect("kept");
    append(&mut *store, &[]).expect("nothing to do");
    assert_eq!(store.head("w1").expect("readable").as_ref(), Some(w1.head()));
    let expected: Vec<_> = rows
        .iter()
        .map(|row| Stored { position: row.position.clone(), record: row.record.clone() })
        .collect();
    assert_eq!(all(&*source), expected);
    assert_eq!(source.since("w1", 0, 100).expect("readable"), expected);
    assert_eq!(source.since("w1", 2, 2).expect("readable"), expected[2..4]);
    assert_eq!(source.since("w", 0, 2).expect("readable"), []);
}

fn a_group_is_kept_whole_or_not_at_all(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let (first, second) = (reset(), reset());
    let (open, twice) = (open_of(&first), open_of(&second));
    let mut w1 = chain("w1");
    let before = w1.clone();
    let rows = [
        row(&mut w1, &plain(1), &open),
        row(&mut w1, &plain(2), &twice),
        // A reset begins once.
        row(&mut w1, &plain(3), &twice),
    ];
    append(&mut *store, &rows).expect_err("refused");
    assert_eq!((all(&*source), store.head("w1").expect("readable")), (vec![], None));
    assert_eq!(source.reset(first.id).expect("readable"), None);
    let mut w1 = before;
    append(&mut *store, &[row(&mut w1, &plain(1), &open)]).expect("the chain goes on");
    assert!(source.reset(first.id).expect("readable").is_some());
}

fn a_record_that_is_dropped_is_no_record(here: &Here) {
    let mut store = here.open();
    let trigger = match here.database {
        None => "CREATE TRIGGER z BEFORE INSERT ON records WHEN new.sequence = 2 BEGIN SELECT raise(IGNORE); END",
        Some(_) => {
            "CREATE FUNCTION z() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER z BEFORE INSERT ON records FOR EACH ROW WHEN (new.sequence = 2) EXECUTE FUNCTION z()"
        }
    };
    here.sql(trigger).expect("planted");
    let mut w1 = chain("w1");
    append(&mut *store, &[row(&mut w1, &plain(1), &NONE)]).expect("kept");
    let reset = reset();
    let open = open_of(&reset);
    let before = w1.clone();
    append(&mut *store, &[row(&mut w1, &plain(2), &open)]).expect_err("refused");
    assert_eq!(store.head("w1").expect("readable").as_ref(), Some(before.head()));
    assert_eq!(here.source().reset(reset.id).expect("readable"), None);
}

fn a_place_in_a_chain_is_taken_once(here: &Here) {
    let mut store = here.open();
    let mut w1 = chain("w1");
    let mut other = w1.clone();
    append(&mut *store, &[row(&mut w1, &plain(1), &NONE)]).expect("kept");
    let taken = append(&mut *store, &[row(&mut other, &plain(2), &NONE)]);
    // Where one process writes, whoever took it is no gateway.
    assert!(matches!(taken, Err(StoreError::Fenced | StoreError::Damaged(_))), "{taken:?}");
    append(&mut *store, &[row(&mut w1, &plain(3), &NONE)]).expect("the chain goes on");
    assert_eq!(all(&*here.source()).len(), 2);
}

fn pages_hold_what_fits_in_both_orders(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let id = |n: u64| -> ResetId { format!("01a20b74-a492-7299-a003-00000000000{n}").parse().expect("good") };
    let mut chains = ["w-1", "w-2", "w_3"].map(chain);
    let mut records = Vec::new();
    for n in 0..90_u64 {
        let rest = match n % 5 {
            0 => format!(r#""kind":"start","time":"{}","heads":[]}}"#, time(n)),
            1 => format!(
                r#""kind":"intent","time":"{}","resetId":"{}","requestId":"call-{}","issuer":"corp","subject":"al|ice","team":"a","instanceId":"ins-1"}}"#,
                time(n),
                id(n % 3),
                n % 4
            ),
            2 => format!(r#""kind":"outcome","time":"{}","resetId":"{}"}}"#, time(n), id(n % 3)),
            3 => format!(
                r#""kind":"refused","time":"{}","requestId":"call-{}","issuer":"corp","subject":"bob","team":"b","instanceId":"ins-2"}}"#,
                time(n),
                n % 4
            ),
            _ => format!(r#""kind":"checkpoint","time":"{}"}}"#, time(n)),
        };
        let chain = &mut chains[usize::try_from(n % 3).expect("small")];
        let row = row(chain, &rest, &NONE);
        records.push(Stored { position: row.position.clone(), record: row.record.clone() });
        append(&mut *store, &[row]).expect("kept");
    }
    records.sort_by_key(|stored| {
        let Place { time, writer, sequence } = stored.place();
        (time, writer, sequence)
    });
    let none = Filter::default();
    let kind = |kind| Filter { kind: Some(kind), ..none.clone() };
    for (name, filter, fits) in [
        ("all", none.clone(), &[] as &[&str]),
        ("start", kind(Kind::Start), &[r#""kind":"start""#]),
        ("intent", kind(Kind::Intent), &[r#""kind":"intent""#]),
        ("team", Filter { team: Some("a".parse().expect("good")), ..none.clone() }, &[r#""team":"a""#]),
        (
            "instance",
            Filter { instance: Some("ins-2".parse().expect("good")), ..none.clone() },
            &[r#""instanceId":"ins-2""#],
        ),
        ("user", Filter { user: Some("corp|al|ice".to_owned()), ..none.clone() }, &[r#""subject":"al|ice""#]),
        ("reset", Filter { reset: Some(id(1)), ..none.clone() }, &["00000000001\""]),
        (
            "request",
            Filter { request: Some("call-3".parse().expect("good")), ..none.clone() },
            &[r#""requestId":"call-3""#],
        ),
        ("writer", Filter { writer: Some("w_3".to_owned()), ..none.clone() }, &[r#""writer":"w_3""#]),
        (
            "all at once",
            Filter {
                team: Some("b".parse().expect("good")),
                writer: Some("w-2".to_owned()),
                request: Some("call-1".parse().expect("good")),
                ..kind(Kind::Refused)
            },
            &[r#""kind":"refused""#, r#""writer":"w-2""#, r#""requestId":"call-1""#],
        ),
        ("nobody", Filter { user: Some("corp|nobody".to_owned()), ..none.clone() }, &["nothing"]),
    ] {
        let expected: Vec<_> =
            records.iter().filter(|stored| fits.iter().all(|fit| stored.record.contains(fit))).collect();
        assert!(!expected.is_empty() || name == "nobody", "{name}");
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let paged = paged(&*source, &filter, order);
            let expected: Vec<_> = match order {
                Order::OldestFirst => expected.iter().map(|&stored| stored.clone()).collect(),
                Order::NewestFirst => expected.iter().rev().map(|&stored| stored.clone()).collect(),
            };
            assert_eq!(paged, expected, "{name} {order:?}");
        }
    }
    let bound = |n: u64| Some(time(n).parse::<Timestamp>().expect("good"));
    let filter = Filter { since: bound(20), until: bound(40), ..none };
    let expected: Vec<_> = records
        .iter()
        .filter(|stored| (time(20)..time(40)).contains(&stored.place().time))
        .cloned()
        .collect();
    assert_eq!(paged(&*source, &filter, Order::OldestFirst), expected, "from one time to another");
}

/// Ten records have the same.
fn time(n: u64) -> String {
    format!("2026-11-24T12:00:{:02}.000Z", n / 10)
}

fn paged(source: &dyn Source, filter: &Filter, order: Order) -> Vec<Stored> {
    let mut paged: Vec<Stored> = Vec::new();
    loop {
        let after = paged.last().map(Stored::place);
        let page = source.page(filter, order, after.as_ref(), 7).expect("readable");
        let full = page.len() == 7;
        paged.extend(page);
        if !full {
            return paged;
        }
    }
}

fn a_stretch_of_resets_holds_what_fits_and_the_newest_first(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let time = |n: i64| Timestamp::from_millisecond(1_790_000_000_000 + n).expect("a time");
    let (teams, instances) = (["a", "a-b", "b"], ["Ins-1", "ins-1"]);
    let statuses = [Status::Sent, Status::Accepted, Status::NotSent];
    let made = (0..90_usize).map(|n| Reset {
        team: teams[n % 3].parse().expect("good"),
        status: statuses[n / 3 % 3],
        instance: instances[n % 2].parse().expect("good"),
        // Ten at a time have the same.
        created_at: time(n as i64 / 10),
        ..reset()
    });
    let mut resets: Vec<_> = made.collect();
    store.replace_projection(&mut resets.clone().into_iter().map(Ok)).expect("replaced");
    resets.sort_by_key(|reset| std::cmp::Reverse((reset.created_at, reset.id.to_string())));
    let (team, instance) = (resets[0].team.clone(), resets[0].instance.clone());
    let one = resets[35].clone();
    for shelf in [
        Shelf::All,
        Shelf::Status(Status::Accepted),
        Shelf::Team(team.clone()),
        Shelf::TeamAndStatus(team, Status::NotSent),
        Shelf::Instance(instance),
    ] {
        for since in [None, Some(time(0)), Some(time(3)), Some(time(9))] {
            for before in
                [None, Some((time(5), None)), Some((one.created_at, Some(one.id))), Some((time(0), None))]
            {
                let fits = |reset: &&Reset| {
                    let shelved = match &shelf {
                        Shelf::All => true,
                        Shelf::Status(status) => reset.status == *status,
                        Shelf::Team(team) => reset.team == *team,
                        Shelf::TeamAndStatus(team, status) => reset.team == *team && reset.status == *status,
                        Shelf::Instance(instance) => reset.instance == *instance,
                    };
                    let before = before.is_none_or(|(at, id)| {
                        let same = id.is_some_and(|id| {
                            reset.created_at == at && reset.id.to_string() < id.to_string()
                        });
                        reset.created_at < at || same
                    });
                    shelved && before && since.is_none_or(|since| since <= reset.created_at)
                };
                let expected: Vec<_> = resets.iter().filter(fits).take(25).cloned().collect();
                let stretch = Stretch { shelf: shelf.clone(), since, before };
                assert_eq!(source.history(&stretch, 25).expect("readable"), expected, "{stretch:?}");
            }
        }
    }
}

fn chains_are_told_by_their_ends(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    assert_eq!(source.chains().expect("readable"), []);
    let mut heads = Vec::new();
    for (name, records) in [("w2", 3), ("w1", 1), ("W3", 2)] {
        let mut chain = chain(name);
        let rows: Vec<_> = (1..=records).map(|n| row(&mut chain, &plain(n), &NONE)).collect();
        append(&mut *store, &rows).expect("kept");
        heads.push(chain.head().clone());
    }
    let chains = source.chains().expect("readable");
    let ends: Vec<_> = chains.iter().map(|chain| (chain.first, &chain.last)).collect();
    assert_eq!(ends, [(1, &heads[2]), (1, &heads[1]), (1, &heads[0])], "in the order of their bytes");
}

fn the_sinks_place_is_kept(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let place = |places: &[(&str, u64)]| -> BTreeMap<_, _> {
        places.iter().map(|&(writer, sequence)| (writer.to_owned(), sequence)).collect()
    };
    assert_eq!(source.exported().expect("readable"), place(&[]));
    store.append(&[], &place(&[("w1", 3), ("w2", 1)])).expect("kept");
    store.append(&[row(&mut chain("w1"), &plain(1), &NONE)], &place(&[("w1", 5)])).expect("kept");
    assert_eq!(source.exported().expect("readable"), place(&[("w1", 5), ("w2", 1)]));
}

fn a_reset_opens_and_closes_within_a_group_and_later(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let (quick, slow, open) = (reset(), reset(), reset());
    let why = Rejection::NotReady;
    let rejected = Outcome::Rejected { why, upstream_code: Some("X".to_owned()), upstream_request_id: None };
    let (quick_opens, quick_closes) = (open_of(&quick), close_of(&quick, rejected));
    let (slow_opens, slow_closes, stays_open) = (open_of(&slow), close_of(&slow, accepted()), open_of(&open));
    let mut w1 = chain("w1");
    let rows = [
        row(&mut w1, &plain(1), &slow_opens),
        row(&mut w1, &plain(2), &quick_opens),
        row(&mut w1, &plain(3), &quick_closes),
        row(&mut w1, &plain(4), &stays_open),
    ];
    append(&mut *store, &rows).expect("kept");
    append(&mut *store, &[row(&mut w1, &plain(5), &slow_closes)]).expect("kept");
    let finished = Some("2026-11-24T12:00:01Z".parse().expect("good"));
    let receipt = |n: usize| rows[n].position.clone();
    let expected = [
        Reset {
            status: crate::domain::Status::Rejected,
            upstream_code: Some("X".to_owned()),
            finished_at: finished,
            receipt: receipt(1),
            ..quick
        },
        Reset {
            status: crate::domain::Status::Accepted,
            upstream_request_id: Some("T1".to_owned()),
            finished_at: finished,
            receipt: receipt(0),
            ..slow
        },
        Reset { receipt: receipt(3), ..open },
    ];
    for reset in &expected {
        assert_eq!(source.reset(reset.id).expect("readable").as_ref(), Some(reset));
    }
    assert_eq!(source.reset(ResetId::generate()).expect("readable"), None);
    let mut expected = expected.to_vec();
    expected.sort_by_key(|reset| reset.id.to_string());
    assert_eq!(source.resets_after(None, 2).expect("readable"), expected[..2]);
    assert_eq!(source.resets_after(Some(expected[1].id), 2).expect("readable"), expected[2..]);
}

fn what_is_queued_is_sent_or_closed_from_there(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let batch = ResetId::generate();
    let item = || Reset { batch: Some(batch), status: crate::domain::Status::Queued, ..reset() };
    let (sends, leaves, waits, alone) = (item(), item(), item(), reset());
    let opens = [&sends, &leaves, &waits, &alone].map(open_of);
    let mut w1 = chain("w1");
    let rows: Vec<_> = opens.iter().map(|open| row(&mut w1, &plain(1), open)).collect();
    append(&mut *store, &rows).expect("kept");
    let sent = Reset {
        status: crate::domain::Status::Sent,
        policies: vec!["a/newer".to_owned()],
        sealed_password: Some("j.w.e".to_owned()),
        ..sends.clone()
    };
    let left = Outcome::NotSent(crate::domain::Unsent::Unreachable);
    let at = "2026-11-24T12:00:01Z".parse().expect("good");
    let leave = |reset: &Reset| Projection::Close {
        id: reset.id,
        outcome: left.clone(),
        at,
        cause: Some("busy"),
        gone: false,
        releases: None,
    };
    let (send, close) = (Projection::Send(Box::new(sent.clone())), leave(&leaves));
    let more = [row(&mut w1, &plain(2), &send), row(&mut w1, &plain(3), &close)];
    append(&mut *store, &more).expect("kept");
    // What has an end is not sent any more, whoever told of it.
    let late = Projection::Send(Box::new(Reset { status: crate::domain::Status::Sent, ..leaves.clone() }));
    let refused = append(&mut *store, &[row(&mut w1.clone(), &plain(4), &late)]).expect_err("refused");
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    let expected = [
        Reset { receipt: more[0].position.clone(), ..sent },
        Reset {
            status: crate::domain::Status::NotSent,
            cause: Some("busy".to_owned()),
            finished_at: Some(at),
            receipt: rows[1].position.clone(),
            ..leaves
        },
        Reset { receipt: rows[2].position.clone(), ..waits },
    ];
    assert_eq!(source.batch(batch).expect("readable"), expected, "in the order of their ids");
    assert_eq!(source.batch(ResetId::generate()).expect("readable"), []);
    assert_eq!(source.reset(expected[2].id).expect("readable").as_ref(), Some(&expected[2]));
}

fn what_is_unknown_never_takes_the_place_of_what_is_known(here: &Here) {
    let mut store = here.open();
    let reset = reset();
    let (open, known, lost) = (open_of(&reset), close_of(&reset, accepted()), close_of(&reset, unknown()));
    let mut w1 = chain("w1");
    let rows = [row(&mut w1, &plain(1), &open), row(&mut w1, &plain(2), &lost)];
    append(&mut *store, &rows).expect("kept");
    let rows = [row(&mut w1, &plain(3), &known), row(&mut w1, &plain(4), &lost)];
    append(&mut *store, &rows).expect("kept");
    append(&mut *store, &[row(&mut w1, &plain(5), &lost)]).expect("kept");
    let found = here.source().reset(reset.id).expect("readable").expect("there");
    assert_eq!((found.status.as_str(), found.upstream_request_id.as_deref()), ("accepted", Some("T1")));
}

/// It may have come back, and have told an `unknown` of its own with more to it.
fn who_finds_a_writer_gone_never_takes_the_place_of_what_it_said_itself(here: &Here) {
    let mut store = here.open();
    let said = Outcome::Unknown { upstream_code: Some("X".to_owned()), upstream_request_id: None };
    let gone = |reset: &Reset| match close_of(reset, unknown()) {
        Projection::Close { id, outcome, at, .. } => {
            Projection::Close { id, outcome, at, cause: None, gone: true, releases: None }
        }
        other => other,
    };
    let mut w1 = chain("w1");
    for groups in [[0..2, 2..3], [0..1, 1..3]] {
        for last in [false, true] {
            let reset = reset();
            let (open, own, lost) = (open_of(&reset), close_of(&reset, said.clone()), gone(&reset));
            let closes = if last { [&own, &lost] } else { [&lost, &own] };
            let rows = [
                row(&mut w1, &plain(1), &open),
                row(&mut w1, &plain(2), closes[0]),
                row(&mut w1, &plain(3), closes[1]),
            ];
            for group in groups.clone() {
                append(&mut *store, &rows[group]).expect("kept");
            }
            let found = here.source().reset(reset.id).expect("readable").expect("there");
            assert_eq!(found.upstream_code.as_deref(), Some("X"), "{groups:?}, last: {last}");
        }
    }
}

fn what_is_removed_is_gone_and_the_rest_stays(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let (old, young) = (reset(), reset());
    let (old_opens, young_opens) = (open_of(&old), open_of(&young));
    let (mut w1, mut w2, mut w3) = (chain("w1"), chain("w2"), chain("w3"));
    let rows = [
        row(&mut w1, &plain(1), &NONE),
        row(&mut w1, &plain(2), &old_opens),
        row(&mut w1, &plain(3), &young_opens),
    ];
    append(&mut *store, &rows).expect("kept");
    append(&mut *store, &[row(&mut w2, &plain(4), &NONE)]).expect("kept");
    let up_to = [rows[1].position.clone(), w2.head().clone()];
    let removed = store.remove(&up_to, &[row(&mut w3, &plain(5), &NONE)]).expect("removed");
    assert_eq!(removed, 3);
    let left: Vec<_> = all(&*source).into_iter().map(|stored| stored.position).collect();
    assert_eq!(left, [rows[2].position.clone(), w3.head().clone()]);
    let first: Vec<_> = source.chains().expect("readable").iter().map(|chain| chain.first).collect();
    assert_eq!(first, [3, 1]);
    assert_eq!(source.reset(old.id).expect("readable"), None);
    assert!(source.reset(young.id).expect("readable").is_some());
    assert!(here.sql("DELETE FROM records").is_err(), "nobody else removes one");
    append(&mut *store, &[row(&mut w1, &plain(6), &NONE)]).expect("the chain goes on");
}

fn a_prune_and_what_vouches_for_it_are_one_transaction(here: &Here) {
    let settings = here.settings();
    let committer = || {
        let key = SigningKey::load(&settings.signing_key_file, true).expect("a key");
        Committer::new(here.open(), key, &settings)
    };
    let start = Draft::event(&Event::Start { version: "1", signing_key: "k", heads: &[] });
    let mut old = committer();
    old.commit(&[&start], &BTreeMap::new(), true).expect("kept");
    let up_to = [old.head().clone()];
    drop(old);
    let mut pruning = committer();
    pruning.commit(&[&start], &BTreeMap::new(), false).expect("kept");
    let event = Event::Pruned { before: "2026-01-01T00:00:00.000Z", pruned: &up_to };
    pruning.remove(&up_to, &Draft::event(&event)).expect("removed");
    let told = pruning.newest_checkpoint().map(str::to_owned);
    // As if the process had been killed now: it writes no stop, and no checkpoint with that.
    drop(pruning);
    let records: Vec<_> = all(&*here.source()).into_iter().map(|stored| stored.record).collect();
    assert_eq!(records.len(), 3, "{records:#?}");
    assert!(told.is_some_and(|told| records[2].contains(&told)), "{records:#?}");
    let keys = SigningKey::load(&settings.signing_key_file, false).expect("a key").public();
    let mut told = Vec::new();
    let reader = Reader::open(&settings).unwrap_or_else(|error| panic!("{error}"));
    let verified = reader.verify(&keys, &[], &mut |line| told.push(line.to_string()), &|_, _, _| {});
    assert_eq!(verified.expect("readable").findings, 0, "{told:?}");
}

fn a_prune_that_cannot_be_put_on_record_takes_nothing_out(here: &Here) {
    let mut store = here.open();
    let (mut w1, mut w2) = (chain("w1"), chain("w2"));
    let up_to = [row(&mut w1, &plain(1), &NONE)];
    append(&mut *store, &up_to).expect("kept");
    let (pruned, checkpoint) = (row(&mut w2, &plain(2), &NONE), row(&mut w2, &plain(3), &NONE));
    let mut other = chain("w2");
    let taken = [row(&mut other, &plain(4), &NONE), row(&mut other, &plain(5), &NONE)];
    append(&mut *store, &taken[1..]).expect("kept");
    let before = all(&*here.source());
    store.remove(&[up_to[0].position.clone()], &[pruned, checkpoint]).expect_err("its second place is taken");
    assert_eq!(all(&*here.source()), before);
}

fn the_projection_can_be_written_anew(here: &Here) {
    let mut store = here.open();
    let source = here.source();
    let lost = reset();
    let opens = open_of(&lost);
    append(&mut *store, &[row(&mut chain("w1"), &plain(1), &opens)]).expect("kept");
    let resets: Vec<_> = (0..1200)
        .map(|n| Reset { finished_at: (n % 2 == 0).then(|| reset().created_at), ..reset() })
        .collect();
    store.replace_projection(&mut resets.clone().into_iter().map(Ok)).expect("replaced");
    let mut expected = resets;
    expected.sort_by_key(|reset| reset.id.to_string());
    assert_eq!(source.resets_after(None, 2000).expect("readable"), expected);
    store.replace_projection(&mut std::iter::empty()).expect("replaced");
    assert_eq!(source.resets_after(None, 2000).expect("readable"), []);
}

fn nobody_changes_a_record(here: &Here) {
    let mut store = here.open();
    append(&mut *store, &[row(&mut chain("w1"), &plain(1), &NONE)]).expect("kept");
    for sql in ["UPDATE records SET hash = 'x'", "DELETE FROM records"] {
        let told = here.sql(sql).expect_err(sql);
        assert!(told.contains("the trail is append-only"), "{sql}: {told}");
    }
    if here.database.is_some() {
        let told = here.sql("TRUNCATE records").expect_err("refused");
        assert!(told.contains("the trail is append-only"), "{told}");
    }
    assert_eq!(all(&*here.source()).len(), 1);
}

fn times_and_texts_are_kept_byte_by_byte(here: &Here) {
    let mut store = here.open();
    let mut w1 = chain("w1");
    let rest = r#""kind":"refused","time":"2026-11-24T12:00:00.001Z","issuer":"corp","subject":"a\u0000b\\u0000 ü🗝","big":1e400}"#;
    let row = row(&mut w1, rest, &NONE);
    let expected = Stored { position: row.position.clone(), record: row.record.clone() };
    append(&mut *store, &[row]).expect("a zero character is no reason to lose a record");
    let refused = Filter { kind: Some(Kind::Refused), ..Filter::default() };
    assert_eq!(here.source().page(&refused, Order::OldestFirst, None, 5).expect("readable"), [expected]);
}
