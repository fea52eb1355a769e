use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::proxy::{Cut, Proxy};
use super::schema::STEPS;
use super::server::{PASSWORD, Postgres, SIGNING_KEY};
use crate::audit::store::{self, Filter, OpenError, Order, Projection, Row, Store, StoreError};
use crate::audit::tests::{EFFORT, keyed};
use crate::audit::{Intent, Position, PublicKeys, Reader, Reset, SigningKey, Trail, WriteError};
use crate::authn::{Call, Identity};
use crate::authz::tests::{authorized, authorized_by, revision_with};
use crate::config;
use crate::domain::{Outcome, ResetId, Status};
use crate::http::Target;
use crate::metrics::Metrics;
use crate::ratelimit::{Limiter, Permit};

const LEASE: Duration = Duration::from_secs(3);
/// So many that a storm does not meet them.
const LIMITS: &str = "[default]\nteam = { requests = 100000, period_seconds = 1, burst = 100000 }";
/// Time in which all must be well again.
const SOON: Duration = Duration::from_secs(20);

/// What a replica in a test needs.
struct Fixture {
    folder: TempDir,
    limiter: Limiter,
    metrics: Arc<Metrics>,
}

impl Fixture {
    fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("url"), url).expect("written");
        let metrics = Arc::<Metrics>::default();
        let failures = config::Quota::new(1, 1, 1);
        let settings = config::Limits { max_keys: 100_000, failed_authentications: failures, redis: None };
        let limiter = Limiter::new(&revision_with("x", LIMITS), &settings, None, metrics.clone());
        std::fs::write(folder.path().join("url.signing-key"), SIGNING_KEY).expect("written");
        Self { folder, limiter, metrics }
    }

    fn settings(&self) -> config::Audit {
        config::Audit::postgres(&self.folder.path().join("url"))
    }

    fn trail(&self) -> Trail {
        Trail::start(&self.settings(), self.metrics.clone()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Of an instance that no other permit is of.
    fn permit(&self) -> Permit {
        let id = ResetId::generate();
        self.limiter.admit_now(authorized("a", &format!("ins-{id}"), LIMITS)).expect("within all quotas")
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.settings()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn records(&self) -> Vec<Value> {
        let mut records = Vec::new();
        let each = |stored: store::Stored| {
            records.push(serde_json::from_str(&stored.record).expect("JSON"));
            true
        };
        self.reader().each(&Filter::default(), Order::OldestFirst, each).expect("readable");
        records
    }

    fn chains(&self) -> usize {
        self.reader().chains().expect("readable").len()
    }

    fn assert_good(&self) {
        let keys = PublicKeys::of_signing_key(&self.settings().signing_key_file).expect("a key");
        let mut told = Vec::new();
        let verified =
            self.reader().verify(&keys, &[], &mut |line| told.push(line.to_string()), &|_, _, _| {});
        assert_eq!(verified.expect("readable").findings, 0, "all chains hold: {told:#?}");
    }
}

fn shared() -> &'static Postgres {
    Postgres::shared()
}

/// The name of the database in a URL.
fn name(url: &str) -> &str {
    url.rsplit('/').next().expect("a name")
}

fn eventually(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < until, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn accepted() -> Outcome {
    Outcome::Accepted { upstream_request_id: "T1".to_owned() }
}

/// An intent that nobody drops, as if its process had ended.
fn opened(runtime: &tokio::runtime::Runtime, fixture: &Fixture, trail: &Trail) -> Intent {
    runtime
        .block_on(trail.open(fixture.permit(), &Target::for_test()))
        .unwrap_or_else(|refused| panic!("{refused}"))
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn status(reader: &Reader, id: ResetId) -> Option<Status> {
    reader.source().reset(id).expect("readable").map(|reset| reset.status)
}

/// Resets go on and on while `disturb` runs, and until they succeed again. Then: whoever got an intent had its record,
/// what nobody got was not sent, all has ended, and the chains hold.
fn storm(fixture: &Fixture, disturb: impl FnOnce()) {
    let trail = fixture.trail();
    let over = AtomicBool::new(false);
    let had = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let runtime = runtime();
                    let mut had = BTreeSet::new();
                    let mut last = false;
                    while !last {
                        last = over.load(Ordering::SeqCst);
                        let Ok(intent) = runtime.block_on(trail.open(fixture.permit(), &Target::for_test()))
                        else {
                            std::thread::sleep(Duration::from_millis(5));
                            last = false;
                            continue;
                        };
                        had.insert(intent.reset_id().to_string());
                        runtime.block_on(trail.close(intent, accepted(), EFFORT));
                    }
                    had
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        disturb();
        std::thread::sleep(Duration::from_millis(300));
        over.store(true, Ordering::SeqCst);
        callers.into_iter().flat_map(|caller| caller.join().expect("good")).collect::<BTreeSet<_>>()
    });
    eventually("it is well again", SOON, || trail.healthy());
    let reader = fixture.reader();
    eventually("all has ended", SOON, || {
        let resets = reader.source().resets_after(None, 1_000_000).expect("readable");
        resets.iter().all(|reset| reset.status != Status::Sent)
    });
    trail.stop();
    let (mut intents, mut ends) = (BTreeSet::new(), BTreeMap::<String, Vec<String>>::new());
    for record in fixture.records() {
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        match text("kind").as_str() {
            "intent" => _ = intents.insert(text("resetId")),
            "outcome" => ends.entry(text("resetId")).or_default().push(text("outcome")),
            _ => {}
        }
    }
    assert!(had.is_subset(&intents), "no record, no intent");
    for id in &intents {
        let expected = if had.contains(id) { "accepted" } else { "not_sent" };
        assert_eq!(ends[id], [expected], "{id}");
        let projected = status(&reader, id.parse().expect("an id")).expect("there");
        assert_eq!(projected.as_str(), expected, "{id}");
    }
    fixture.assert_good();
    assert_eq!(fixture.chains(), 1, "nobody took it for dead");
}

#[test]
fn connections_that_break_in_mid_run_cost_no_record() {
    let database = shared().database();
    let fixture = Fixture::new(&database);
    storm(&fixture, || {
        for _ in 0..10 {
            let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'zengate'";
            shared().sql(&database, kill);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn answers_that_are_lost_cost_no_record() {
    let proxy = Proxy::to(shared().address);
    let fixture = Fixture::new(&shared().by_way_of(proxy.address, &shared().database()));
    storm(&fixture, || {
        for _ in 0..10 {
            // One: its head is asked for at once. Two: that answer is lost too, and it is in doubt.
            proxy.cut(2, Cut::AfterCommit);
            std::thread::sleep(Duration::from_millis(150));
        }
        proxy.cut(0, Cut::AfterCommit);
    });
}

#[test]
fn a_server_that_stops_and_starts_costs_no_record() {
    let server = Postgres::start_new();
    let fixture = Fixture::new(&server.database());
    storm(&fixture, || {
        for down in [Postgres::kill, Postgres::stop] {
            down(&server);
            std::thread::sleep(Duration::from_millis(700));
            server.start();
            std::thread::sleep(Duration::from_millis(700));
        }
        // Longer than the lease: it has run out, and the writer is not gone for that.
        server.stop();
        std::thread::sleep(LEASE + Duration::from_secs(1));
        server.start();
    });
}

#[test]
fn a_server_that_hangs_is_not_waited_for() {
    let server = Postgres::start_new();
    let fixture = Fixture::new(&server.database());
    let timeout = fixture.settings().timeout;
    storm(&fixture, || {
        server.pause();
        let begun = Instant::now();
        let told = Reader::open(&fixture.settings()).err().expect("nobody answers").to_string();
        assert!(told.contains("no answer within") || told.contains("no connection within"), "{told}");
        assert!(begun.elapsed() < timeout * 2, "{:?}", begun.elapsed());
        std::thread::sleep(Duration::from_secs(2));
        server.resume();
    });
}

#[test]
fn an_intent_is_refused_in_time_by_a_server_that_hangs() {
    let server = Postgres::start_new();
    let fixture = Fixture::new(&server.database());
    let (trail, runtime) = (fixture.trail(), runtime());
    let open = opened(&runtime, &fixture, &trail);
    let id = open.reset_id();
    server.pause();
    for _ in 0..4 {
        let permit = fixture.permit();
        let begun = Instant::now();
        assert!(runtime.block_on(trail.open(permit, &Target::for_test())).is_err());
        assert!(begun.elapsed() < fixture.settings().timeout * 2, "{:?}", begun.elapsed());
    }
    assert!(!trail.healthy());
    let begun = Instant::now();
    let receipt = runtime.block_on(trail.close(open, accepted(), EFFORT));
    assert!(!receipt.recorded() && begun.elapsed() < fixture.settings().timeout * 2, "{:?}", begun.elapsed());
    server.resume();
    let reader = fixture.reader();
    eventually("the outcome lands", SOON, || status(&reader, id) == Some(Status::Accepted));
    eventually("it is well again, though nobody asks", SOON, || trail.healthy());
    trail.stop();
    fixture.assert_good();
    let records = fixture.records();
    assert!(records.iter().any(|record| record["kind"] == "degraded"), "and says so: {records:?}");
}

/// The commit is done, and waits for a standby that does not answer: what it wrote could be lost with the server.
#[test]
fn a_commit_that_lands_late_is_adopted_and_its_intent_was_not_sent() {
    let server = Postgres::start_new();
    let database = server.database();
    let fixture = Fixture::new(&database);
    // No renewal comes between.
    let mut settings = fixture.settings();
    if let config::AuditStore::Postgres { lease, .. } = &mut settings.store {
        *lease = Duration::from_secs(120);
    }
    let trail = Trail::start(&settings, fixture.metrics.clone()).unwrap_or_else(|error| panic!("{error}"));
    let runtime = runtime();
    let standbys = |names: &str| {
        server.sql(&database, &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        server.sql(&database, "SELECT pg_reload_conf()");
        std::thread::sleep(Duration::from_millis(300));
    };
    standbys("nobody");
    for _ in 0..3 {
        assert!(
            runtime.block_on(trail.open(fixture.permit(), &Target::for_test())).is_err(),
            "refused, though it will land"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    standbys("");
    eventually("intents are had again", SOON, || {
        runtime.block_on(trail.open(fixture.permit(), &Target::for_test())).is_ok_and(|intent| {
            runtime.block_on(trail.close(intent, accepted(), EFFORT));
            true
        })
    });
    trail.stop();
    let records = fixture.records();
    let ends: Vec<_> = records.iter().filter(|record| record["cause"] == "commit in doubt").collect();
    assert!(ends.len() == 1 && ends[0]["outcome"] == "not_sent", "{records:?}");
    assert_eq!(fixture.chains(), 1, "it was not taken for another's");
    fixture.assert_good();
}

#[test]
fn replicas_answer_for_each_other_and_close_what_a_dead_one_left() {
    let database = shared().database();
    let (proxy, runtime) = (Proxy::to(shared().address), runtime());
    let (far, near) = (Fixture::new(&shared().by_way_of(proxy.address, &database)), Fixture::new(&database));
    // Replicas sign with one key.
    let (key, copy) = (near.settings().signing_key_file, far.settings().signing_key_file);
    SigningKey::load(&key, true).expect("made");
    std::fs::copy(&key, &copy).expect("copied");
    let (dying, living, third) = (far.trail(), near.trail(), near.trail());
    let reader = near.reader();
    let done = opened(&runtime, &far, &dying);
    let id = done.reset_id();
    assert_eq!(
        runtime.block_on(living.reset(id)).expect("readable").map(|reset| reset.status),
        Some(Status::Sent)
    );
    runtime.block_on(dying.close(done, accepted(), EFFORT));
    let seen = runtime.block_on(living.reset(id)).expect("readable").expect("there");
    assert_eq!((seen.status, seen.upstream_request_id.as_deref()), (Status::Accepted, Some("T1")));
    let left: Vec<_> = (0..20).map(|_| opened(&runtime, &far, &dying)).collect();
    assert!(near.reader().chains().expect("readable").iter().all(|chain| chain.live));
    assert!(left.iter().all(Intent::stands));
    proxy.hold();
    let (died, ids) = (Instant::now(), left.iter().map(Intent::reset_id).collect::<Vec<_>>());
    eventually("all is closed", SOON, || ids.iter().all(|&id| status(&reader, id) == Some(Status::Unknown)));
    assert!(died.elapsed() > LEASE / 2, "not before its lease ran out: {:?}", died.elapsed());
    assert!(died.elapsed() < LEASE * 3, "{:?}", died.elapsed());
    let live: Vec<_> = near.reader().chains().expect("readable").iter().map(|chain| chain.live).collect();
    assert_eq!(live, [false, true, true]);
    assert!(!left.iter().any(Intent::stands), "nothing is sent for them any more");
    // It comes back, and what it knows by now corrects what the others could not.
    proxy.release();
    for (n, intent) in left.into_iter().enumerate() {
        let unknown = Outcome::Unknown { upstream_code: None, upstream_request_id: None };
        runtime.block_on(dying.close(intent, if n < 10 { accepted() } else { unknown }, EFFORT));
    }
    eventually("corrections land", SOON, || {
        ids[..10].iter().all(|&id| status(&reader, id) == Some(Status::Accepted))
    });
    assert!(ids[10..].iter().all(|&id| status(&reader, id) == Some(Status::Unknown)));
    eventually("it is well again", SOON, || dying.healthy());
    let anew = opened(&runtime, &far, &dying);
    assert!(anew.stands());
    runtime.block_on(dying.close(anew, accepted(), EFFORT));
    [dying, living, third].iter().for_each(Trail::stop);
    let records = near.records();
    let closed: Vec<_> = records.iter().filter(|record| record["cause"] == "writer gone").collect();
    assert_eq!(closed.len(), 20, "each by one of the two");
    assert_eq!(near.chains(), 4, "and a chain that begins anew");
    let firsts: Vec<_> =
        records.iter().filter(|record| record["sequence"] == 1).map(|r| &r["kind"]).collect();
    assert!(firsts.len() == 4 && firsts.iter().all(|kind| *kind == "start"), "{firsts:?}");
    near.assert_good();
}

#[test]
fn one_bad_record_keeps_no_other_from_landing() {
    let database = shared().database();
    let fixture = Fixture::new(&database);
    let (trail, reader, runtime) = (fixture.trail(), fixture.reader(), runtime());
    shared().sql(&database, "ALTER TABLE records ADD CONSTRAINT picky CHECK (record NOT LIKE '%poison%')");
    let intents: Vec<_> = (0..20).map(|_| opened(&runtime, &fixture, &trail)).collect();
    let ids: Vec<_> = intents.iter().map(Intent::reset_id).collect();
    let receipts = runtime.block_on(futures_util::future::join_all(intents.into_iter().enumerate().map(
        |(n, intent)| {
            let upstream_request_id = if n == 7 { "poison" } else { "T1" }.to_owned();
            trail.close(intent, Outcome::Accepted { upstream_request_id }, EFFORT)
        },
    )));
    for (n, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt.recorded(), n != 7, "{n}");
        let expected = if n == 7 { Status::Sent } else { Status::Accepted };
        assert_eq!(status(&reader, ids[n]), Some(expected), "{n}");
    }
    let bad = fixture.limiter.admit_now(authorized("a", "ins-poison", LIMITS)).expect("within all quotas");
    let good = fixture.permit();
    let target = Target::for_test();
    let (bad, good) =
        runtime.block_on(async { tokio::join!(trail.open(bad, &target), trail.open(good, &target)) });
    assert!(bad.is_err() && good.is_ok());
    drop(good);
    trail.stop();
    fixture.assert_good();
}

/// A store of its own writer, and the reset it opens.
fn writer_of(fixture: &Fixture, name: &str) -> (Box<dyn Store>, Reset) {
    let mut store = store::open(&fixture.settings()).unwrap_or_else(|error| panic!("{error}"));
    let position = Position { writer: name.to_owned(), sequence: 1, hash: name.to_owned() };
    let reset = Reset {
        id: ResetId::generate(),
        instance: "ins-1".parse().expect("good"),
        team: "a".parse().expect("good"),
        status: Status::Sent,
        request_id: "call-1".parse().expect("good"),
        upstream_request_id: None,
        upstream_code: None,
        reason: None,
        ticket: None,
        policies: Vec::new(),
        created_at: "2026-11-24T12:00:00Z".parse().expect("good"),
        finished_at: None,
        sealed_password: None,
        batch: None,
        cause: None,
        receipt: position.clone(),
    };
    let record = r#"{"kind":"intent","time":"2026-11-24T12:00:00.000Z"}"#.to_owned();
    let projection = Projection::Open(Box::new(reset.clone()));
    store
        .append(&[Row { position, record, projection: &projection, claim: None }], &BTreeMap::new())
        .expect("kept");
    (store, reset)
}

#[test]
fn an_orphan_is_given_to_one_and_again_only_when_that_one_is_gone() {
    let fixture = Fixture::new(&shared().database());
    let (mut dead, reset) = writer_of(&fixture, "dead");
    let (mut first, _) = writer_of(&fixture, "first");
    let (mut second, _) = writer_of(&fixture, "second");
    let stand_by = |until: Duration, writers: &mut [(&str, &mut Box<dyn Store>)]| {
        let begun = Instant::now();
        while begun.elapsed() < until {
            for (name, store) in writers.iter_mut() {
                store.renew(name).expect("alive");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    assert!(first.orphans("first").expect("readable").is_empty(), "it lives");
    stand_by(LEASE + Duration::from_millis(300), &mut [("first", &mut first), ("second", &mut second)]);
    // One look finds it late, the next finds it gone.
    assert!(first.orphans("first").expect("readable").is_empty(), "it may come back");
    assert!(second.orphans("second").expect("readable").is_empty(), "it may come back");
    let found = [first.orphans("first").expect("readable"), second.orphans("second").expect("readable")];
    assert_eq!(found, [vec![reset.clone()], vec![]]);
    assert!(first.orphans("first").expect("readable").is_empty(), "once is enough");
    assert!(matches!(dead.renew("dead"), Err(StoreError::Fenced)), "nobody comes back from this");
    assert!(matches!(dead.orphans("dead"), Err(StoreError::Fenced)));
    let position = Position { writer: "dead".to_owned(), sequence: 2, hash: "x".to_owned() };
    let row = Row { position, record: "{}".to_owned(), projection: &Projection::None, claim: None };
    assert!(matches!(dead.append(&[row], &BTreeMap::new()), Err(StoreError::Fenced)));
    // The one that claimed it ends before it has closed it.
    stand_by(LEASE + Duration::from_millis(300), &mut [("second", &mut second)]);
    assert!(second.orphans("second").expect("readable").is_empty());
    let found: Vec<_> = second.orphans("second").expect("readable").iter().map(|reset| reset.id).collect();
    assert!(found.contains(&reset.id) && found.len() == 2, "with its own");
}

#[test]
fn a_writer_that_is_late_and_declared_by_nobody_goes_on() {
    let fixture = Fixture::new(&shared().database());
    let (mut late, _) = writer_of(&fixture, "late");
    std::thread::sleep(LEASE + Duration::from_millis(300));
    assert!(!fixture.reader().chains().expect("readable")[0].live);
    assert!(late.orphans("late").expect("alive").is_empty(), "nor does it bury itself");
    assert!(late.orphans("late").expect("alive").is_empty());
    assert!(fixture.reader().chains().expect("readable")[0].live);
}

#[test]
fn replicas_that_start_together_make_the_schema_once() {
    let database = shared().database();
    let fixture = Fixture::new(&database);
    let none = Reader::open(&fixture.settings()).err().expect("nothing there").to_string();
    assert!(none.contains("it holds no trail of this version"), "{none}");
    let trails: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..6).map(|_| scope.spawn(|| fixture.trail())).collect();
        starts.into_iter().map(|start| start.join().expect("started")).collect()
    });
    assert_eq!(shared().sql(&database, "SELECT count(*), max(version) FROM schema_version"), "2|2");
    trails.iter().for_each(Trail::stop);
    assert_eq!(fixture.chains(), 6);
    fixture.assert_good();
}

#[test]
fn of_two_replicas_one_has_a_key_and_no_other_record_is_refused_for_it() {
    let fixture = Fixture::new(&shared().database());
    // However slow the machine is.
    let settings = config::Audit { timeout: SOON, ..fixture.settings() };
    let trail = || Trail::start(&settings, fixture.metrics.clone()).unwrap_or_else(|error| panic!("{error}"));
    let trails = [trail(), trail()];
    let keyed_permit = |round: usize| {
        let change = |call: &mut Call| call.key = Some(keyed(&format!("k-{round}"), 1));
        let id = ResetId::generate();
        fixture
            .limiter
            .admit_now(authorized_by("a", &format!("ins-{id}"), LIMITS, change))
            .expect("within quotas")
    };
    let mut lost = 0;
    for round in 0..8 {
        // They begin at the same moment, so that records of both kinds share a group.
        let start = std::sync::Barrier::new(16);
        let open = |trail: &Trail, permit: Permit| {
            start.wait();
            let opened = runtime().block_on(trail.open(permit, &Target::for_test()));
            opened.map(drop).map_err(|unopened| unopened.error)
        };
        let told: Vec<_> = std::thread::scope(|scope| {
            let of = |n: usize| (&trails[n % 2], if n < 8 { keyed_permit(round) } else { fixture.permit() });
            let calls: Vec<_> = (0..16)
                .map(|n| {
                    let ((trail, permit), open) = (of(n), &open);
                    scope.spawn(move || open(trail, permit))
                })
                .collect();
            calls.into_iter().map(|call| call.join().expect("told")).collect()
        });
        let (of_key, others) = told.split_at(8);
        assert_eq!(of_key.iter().filter(|told| told.is_ok()).count(), 1, "{told:?}");
        assert!(
            of_key.iter().flat_map(|told| told.as_ref().err()).all(|e| *e == WriteError::Claimed),
            "{told:?}"
        );
        assert!(others.iter().all(Result::is_ok), "{told:?}");
        lost += of_key.iter().filter(|told| told.is_err()).count();
    }
    assert_eq!(lost, 8 * 7);
    trails.iter().for_each(|trail| assert!(trail.healthy()));
    trails.iter().for_each(Trail::stop);
    let degraded = fixture.records().iter().filter(|record| record["kind"] == "degraded").count();
    assert_eq!(degraded, 0);
    fixture.assert_good();
}

#[test]
fn a_database_of_the_version_before_is_brought_up_to_date_and_kept() {
    let database = shared().database();
    let fixture = Fixture::new(&database);
    shared().sql(&database, STEPS[0]);
    let before = r#"INSERT INTO records (writer, sequence, hash, record)
        VALUES ('old', 1, 'x', '{"v":2,"kind":"start","time":"2026-11-24T12:00:00.000Z","heads":[]}')"#;
    shared().sql(&database, before);
    let (trail, runtime) = (fixture.trail(), runtime());
    let caller = Identity::for_test("alice", &[]);
    assert_eq!(runtime.block_on(trail.claimed(&caller, &keyed("k", 1))).expect("readable"), None);
    shared().sql(&database, &before.replace("1, 'x'", "2, 'x'"));
    trail.stop();
    assert_eq!(fixture.reader().chains().expect("readable").len(), 2);
}

#[test]
fn the_next_version_may_write_beside_this_one_unless_it_says_no() {
    let database = shared().database();
    let fixture = Fixture::new(&database);
    let (trail, runtime) = (fixture.trail(), runtime());
    shared().sql(
        &database,
        r#"ALTER TABLE records ADD COLUMN future text NOT NULL DEFAULT 'none';
           ALTER TABLE resets ADD COLUMN future text; CREATE TABLE more (x int);
           INSERT INTO schema_version VALUES (3, 1);
           INSERT INTO records (writer, sequence, hash, record, future) VALUES ('next', 1, 'x',
               '{"v":2,"writer":"next","sequence":1,"kind":"start","time":"2026-11-24T12:00:00.000Z","new":{"er":[1]}}', 'y')"#,
    );
    let intent = opened(&runtime, &fixture, &trail);
    runtime.block_on(trail.close(intent, accepted(), EFFORT));
    trail.stop();
    fixture.trail().stop();
    assert_eq!(fixture.chains(), 3);
    let starts = Filter { kind: Some(crate::audit::Kind::Start), ..Filter::default() };
    let starts = fixture.reader().source().page(&starts, Order::OldestFirst, None, 10).expect("readable");
    assert_eq!((starts.len(), starts[0].position.writer.as_str()), (3, "next"));
    shared().sql(&database, "INSERT INTO schema_version VALUES (4, 3)");
    let refused = Trail::start(&fixture.settings(), fixture.metrics.clone()).err().expect("refused");
    assert!(matches!(refused, OpenError::Version { needs: 3, has: 2, .. }), "{refused}");
    let refused = Reader::open(&fixture.settings()).err().expect("refused");
    assert!(matches!(refused, OpenError::Version { needs: 3, has: 2, .. }), "{refused}");
}

#[test]
fn no_message_holds_the_password() {
    let url = shared().database();
    let refused = |url: &str| {
        let fixture = Fixture::new(url);
        let told = Trail::start(&fixture.settings(), fixture.metrics.clone()).err().expect("refused");
        let told = format!("{told} {told:?} {:?}", fixture.settings());
        for canary in [PASSWORD, "c%40nary", "c@nary", "wr0ng"] {
            assert!(!told.contains(canary), "{told}");
        }
        told
    };
    let wrong = refused(&url.replace("c%40nary%2Fsecret", "wr0ng"));
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    assert!(refused(&url.replace("zengate:c", "nobody:c")).contains("authentication failed"));
    assert!(refused(&url.replace(name(&url), "nothing")).contains("does not exist"));
    assert!(refused("postgres://u:c%40nary@127.0.0.1:1/t").contains("127.0.0.1:1"));
    assert!(refused("postgres://u:c%40nary@%2Fnowhere/t").contains("/nowhere"));
}

#[test]
fn a_new_password_is_taken_from_the_file() {
    let database = shared().database();
    let role = format!("rotated_{}", name(&database));
    shared().sql(&database, &format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'first'"));
    let url = |password: &str| database.replace("zengate:c%40nary%2Fsecret", &format!("{role}:{password}"));
    let fixture = Fixture::new(&url("first"));
    let (trail, runtime) = (fixture.trail(), runtime());
    shared().sql(&database, &format!("ALTER ROLE {role} PASSWORD 'second'"));
    let file = fixture.folder.path().join("url");
    std::fs::write(&file, url("second")).expect("written");
    let kill =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'");
    shared().sql(&database, &kill);
    drop(opened(&runtime, &fixture, &trail));
    // Half-written, it is left alone.
    std::fs::write(&file, "postgres://rota").expect("written");
    shared().sql(&database, &kill);
    drop(opened(&runtime, &fixture, &trail));
    trail.stop();
}

/// As docs/audit.md grants them.
#[test]
fn a_gateway_and_an_auditor_need_no_more_than_is_granted() {
    let database = shared().database();
    let name = name(&database);
    let owner = Fixture::new(&database);
    owner.trail().stop();
    for role in ["gateway", "auditor"] {
        let create = format!("CREATE ROLE {role}_{name} LOGIN PASSWORD 'role'");
        shared().sql(&database, &create);
    }
    let grants = format!(
        "GRANT SELECT, INSERT ON records TO gateway_{name};
         GRANT SELECT, INSERT, UPDATE ON resets, writers, exported TO gateway_{name};
         GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO gateway_{name};
         GRANT SELECT ON schema_version TO gateway_{name};
         GRANT SELECT ON records, resets, writers, exported, schema_version TO auditor_{name};"
    );
    shared().sql(&database, &grants);
    let by = |role: &str| {
        let login = format!("{role}_{name}:role@");
        Fixture::new(&database.replace("zengate:c%40nary%2Fsecret@", &login))
    };
    let (gateway, auditor) = (by("gateway"), by("auditor"));
    let (trail, runtime) = (gateway.trail(), runtime());
    let intent = opened(&runtime, &gateway, &trail);
    runtime.block_on(trail.close(intent, accepted(), EFFORT));
    trail.stop();
    auditor.assert_good();
    assert_eq!(auditor.chains(), 2);
    let refused = Trail::start(&auditor.settings(), auditor.metrics.clone()).err().expect("refused");
    assert!(refused.to_string().contains("permission denied"), "{refused}");
}

#[test]
fn hosts_are_tried_in_turn() {
    let database = shared().database();
    let url = database.replace("@127.0.0.1:", "@127.0.0.1:1,localhost:");
    assert_ne!(url, database);
    Fixture::new(&url).trail().stop();
}

#[test]
fn tls_is_verified_with_the_hosts_name() {
    let authority = rcgen::KeyPair::generate().expect("a key");
    let mut wanted = rcgen::CertificateParams::new([]).expect("good");
    wanted.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = wanted.self_signed(&authority).expect("signed");
    let issuer = rcgen::Issuer::new(wanted, authority);
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned()];
    let certificate =
        rcgen::CertificateParams::new(names).expect("good").signed_by(&key, &issuer).expect("signed");
    let database = shared().database();
    let start = |host: &str, ca: &str| {
        let url = database.replace("127.0.0.1", host);
        let fixture = Fixture::new(&format!("{url}?sslmode=verify-full&sslrootcert=ca.pem"));
        std::fs::write(fixture.folder.path().join("ca.pem"), ca).expect("written");
        Trail::start(&fixture.settings(), fixture.metrics.clone())
    };
    let told = start("localhost", &ca.pem()).err().expect("it does not speak TLS").to_string();
    assert!(told.contains("TLS"), "{told}");
    for (file, pem) in [("crt", certificate.pem()), ("key", key.serialize_pem())] {
        // Into the folder of its data.
        let write = format!("umask 077; base64 -d >server.{file}");
        let text = format!("SELECT translate(encode('{pem}', 'base64'), E'\\n', '')");
        shared().sql(&database, &format!("COPY ({text}) TO PROGRAM '{write}'"));
    }
    let speaks_tls = |set: &str| {
        shared().sql(&database, &format!("ALTER SYSTEM {set}"));
        shared().sql(&database, "SELECT pg_reload_conf()");
    };
    speaks_tls("SET ssl = on");
    eventually("TLS is on", SOON, || shared().sql(&database, "SHOW ssl") == "on");
    let trail = start("localhost", &ca.pem()).unwrap_or_else(|error| panic!("{error}"));
    let encrypted = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'zengate' AND datname = current_database()";
    assert_eq!(shared().sql(&database, encrypted), "t");
    trail.stop();
    let told = start("127.0.0.1", &ca.pem()).err().expect("not its name").to_string();
    assert!(told.contains("not valid for name"), "{told}");
    let told = start("localhost", &certificate.pem()).err().expect("not its authority").to_string();
    assert!(told.contains("invalid peer certificate"), "{told}");
    speaks_tls("RESET ssl");
}
