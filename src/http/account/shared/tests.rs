use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use redis::Commands;
use tokio::task::JoinSet;

use super::*;
use crate::http::account::tests::{budget, is_idle, most_under_way, passed_by, team};
use crate::http::account::{Spent, Turn};
use crate::metrics::Metrics;
use crate::redis::for_test::{Setup, block_on, setup, until, value};
use crate::redis::server_of_tests::Redis as Server;

/// A clock that is an argument.
const NOW: u64 = 1_700_000_000_000_000;

fn link(setup: &Setup) -> (Arc<Link>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let link = Link::start(&setup.settings, metrics.clone()).unwrap_or_else(|fault| panic!("{fault}"));
    (Arc::new(link), metrics)
}

/// A replica of its own connection.
fn replica(setup: &Setup, budget: Budget) -> Arc<Account> {
    let (link, metrics) = link(setup);
    Account::share(budget, link, Duration::from_secs(60), metrics)
}

async fn turn(account: &Arc<Account>, name: &str) -> Result<Turn, Spent> {
    account.turn(team(name)).await
}

/// The script, by replicas `a`, `b` and so on.
struct Asked {
    link: Arc<Link>,
    terms: Terms,
}

impl Asked {
    fn new(interval: u64, burst: u64, places: usize, lease: u64) -> Self {
        let (link, _) = link(&setup(&Server::shared().url()));
        Self { link, terms: Terms { interval, burst, places, lease } }
    }

    async fn ask(&self, replica: &str, now: u64, unused: usize, ended: &[u64], wanted: &[u64]) -> Granted {
        let order = Order { unused, ended: ended.into(), wanted: wanted.into() };
        let call = call(self.link.prefix(), replica, self.terms, Some(now), &order);
        self.link.ask(&call).await.expect("there")
    }
}

/// Calls that Redis counts as under way.
fn under_way(server: &Server, setup: &Setup) -> usize {
    server.admin().zcard(format!("{}account:calls", setup.settings.prefix)).expect("a number")
}

/// What is asked: the time since the last, by which replica, how many calls of it have ended, how many want to go.
type Step = (u64, usize, usize, usize);

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Never more than the rate and the places allow; of one replica alone, no less either.
    #[test]
    fn what_is_granted_is_free(
        (replicas, interval, burst, places) in (1usize..4, 1_000u64..100_000, 1u64..8, 1usize..6),
        steps in prop::collection::vec(
            (prop_oneof![Just(0), 0u64..50_000, 0u64..3_000_000], 0usize..3, 0usize..3, 0usize..6),
            1..40,
        ),
    ) {
        let lease = 2_000_000;
        let asked = Asked::new(interval, burst, places, lease);
        let result: Result<(), TestCaseError> = block_on(async {
            let (mut now, mut state, mut made, mut total) = (NOW, 0, 0, 0);
            let mut calls: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
            for (step, replica, ended, wanted) in steps as Vec<Step> {
                now += step;
                let replica = replica % replicas;
                calls.retain(|_, (_, ends)| *ends > now);
                let own = calls.iter().filter(|(_, (of, _))| *of == replica).map(|(id, _)| *id);
                let ended: Vec<u64> = own.take(ended).collect();
                calls.retain(|id, _| !ended.contains(id));
                let wanted: Vec<u64> = (made..made + wanted as u64).collect();
                made += wanted.len() as u64;
                state = now.max(state);
                let cells = (now + interval * burst - state) / interval;
                let free = wanted.len().min(places - calls.len()).min(cells as usize);
                let name = ["a", "b", "c"][replica];
                let Granted { now: at, granted, wait } = asked.ask(name, now, 0, &ended, &wanted).await;
                prop_assert!(at == now && granted <= free, "{granted} of {free}");
                if replicas == 1 {
                    prop_assert_eq!(granted, free);
                    state += interval * granted as u64;
                    prop_assert_eq!(wait, (state + interval).saturating_sub(now + interval * burst));
                } else {
                    state += interval * granted as u64;
                }
                calls.extend(wanted.iter().take(granted).map(|id| (*id, (replica, now + lease))));
                total += granted as u64;
                prop_assert!(total <= burst + (now - NOW) / interval);
                prop_assert!(calls.len() <= places);
            }
            Ok(())
        });
        result?;
    }
}

#[test]
fn a_place_is_free_again_once_its_call_has_ended_or_its_time_is_over() {
    let asked = Asked::new(1, 1_000_000, 2, 1_000);
    block_on(async {
        assert_eq!(asked.ask("a", NOW, 0, &[], &[1, 2, 3]).await.granted, 2);
        assert_eq!(asked.ask("a", NOW, 0, &[9], &[4]).await.granted, 0, "that one had none");
        assert_eq!(asked.ask("a", NOW, 0, &[1], &[4]).await.granted, 1);
        assert_eq!(asked.ask("a", NOW + 500, 0, &[], &[5]).await.granted, 0);
        assert_eq!(asked.ask("a", NOW + 999, 0, &[], &[5]).await.granted, 0, "a microsecond is left");
        assert_eq!(
            asked.ask("a", NOW + 1_000, 0, &[], &[5, 6, 7]).await.granted,
            2,
            "whoever had them is gone"
        );
    });
}

#[test]
fn a_cell_that_nobody_took_is_free_again() {
    let asked = Asked::new(1_000_000, 2, 100, 1_000_000);
    block_on(async {
        let spent = Granted { now: NOW, granted: 2, wait: 1_000_000 };
        assert_eq!(asked.ask("a", NOW, 0, &[], &[1, 2, 3]).await, spent);
        assert_eq!(asked.ask("a", NOW, 1, &[2], &[3, 4]).await, Granted { granted: 1, ..spent });
        assert_eq!(asked.ask("a", NOW, 9, &[], &[5, 6, 7]).await.granted, 2, "never more than all");
    });
}

#[test]
fn whoever_has_waited_longest_goes_first() {
    let asked = Asked::new(1, 1_000_000, 2, 10_000_000);
    block_on(async {
        assert_eq!(asked.ask("a", NOW, 0, &[], &[1, 2]).await.granted, 2);
        assert_eq!(asked.ask("b", NOW + 1, 0, &[], &[1]).await.granted, 0);
        assert_eq!(asked.ask("a", NOW + 2, 0, &[1], &[3]).await.granted, 0, "that place is left to b");
        assert_eq!(asked.ask("b", NOW + 3, 0, &[], &[1]).await.granted, 1);
        assert_eq!(asked.ask("b", NOW + 4, 0, &[], &[2]).await.granted, 0, "a waits longer now");
        assert_eq!(asked.ask("a", NOW + 5, 0, &[2], &[3]).await.granted, 1);
        // b goes without another word; c gives up.
        assert_eq!(asked.ask("c", NOW + 6, 0, &[], &[1]).await.granted, 0);
        assert_eq!(asked.ask("c", NOW + 7, 0, &[], &[]).await.granted, 0);
        assert_eq!(asked.ask("a", NOW + 8, 0, &[3], &[4]).await.granted, 0, "b may still come");
        assert_eq!(asked.ask("a", NOW + 200_004, 0, &[], &[4]).await.granted, 1, "b has gone");
    });
}

#[test]
fn its_keys_have_the_prefix_and_a_bounded_life() {
    let asked = Asked::new(1_000_000, 60, 1, 30_000_000);
    block_on(asked.ask("a", NOW, 0, &[], &[1, 2]));
    let mut admin = Server::shared().admin();
    let prefix = asked.link.prefix();
    let mut keys: Vec<String> = admin.keys(format!("{prefix}account*")).expect("keys");
    keys.sort();
    assert_eq!(keys, ["calls", "rate", "waiting"].map(|name| format!("{prefix}account:{name}")));
    let lives = keys.iter().map(|key| admin.pttl::<_, i64>(key).expect("a life"));
    for (life, expected) in lives.zip([40_000, 11_000, 10_200]) {
        assert!((expected - 5_000..=expected).contains(&life), "{life} of {expected}");
    }
}

#[tokio::test]
async fn no_more_are_under_way_on_both_than_allowed_and_places_are_given_back() {
    let setup = setup(&Server::shared().url());
    let replicas = [(); 2].map(|()| replica(&setup, budget(100_000, 4, 1_000, 20_000)));
    assert_eq!(most_under_way(&replicas, &["a", "b", "c"], 200).await, 4);
    until("all places are given back", || under_way(Server::shared(), &setup) == 0);
    replicas.iter().for_each(|account| is_idle(account));
}

#[tokio::test]
async fn one_alone_has_all_of_it_at_once() {
    let setup = setup(&Server::shared().url());
    // A queue without room: whoever may go waits for Redis alone.
    let replicas = [(); 2].map(|()| replica(&setup, budget(8, 8, 0, 0)));
    let all = ["a", "b"].into_iter().cycle().take(8).map(|name| turn(&replicas[0], name));
    let held: Vec<_> = futures_util::future::join_all(all).await;
    assert!(held.iter().all(Result::is_ok), "{}", held.iter().flatten().count());
    assert!(turn(&replicas[0], "c").await.is_err() && turn(&replicas[1], "c").await.is_err());
    assert_eq!(under_way(Server::shared(), &setup), 8);
}

#[tokio::test]
async fn both_together_keep_to_the_rate() {
    let setup = setup(&Server::shared().url());
    let replicas = [(); 2].map(|()| replica(&setup, budget(100, 1_000, 1_000, 20_000)));
    let began = Instant::now();
    let both = replicas.iter().map(|account| async move {
        for _ in 0..70 {
            drop(turn(account, "a").await.expect("in time"));
        }
    });
    futures_util::future::join_all(both).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(400), "40 more than a second's worth take 10 ms each: {took:?}");
}

#[tokio::test]
async fn one_team_s_batch_does_not_starve_another_s_single_call() {
    let setup = setup(&Server::shared().url());
    let place = passed_by(&replica(&setup, budget(10_000, 1, 256, 20_000))).await;
    assert!(place <= 1, "behind one of the batch at most: {place}");
}

#[tokio::test]
async fn a_busy_replica_does_not_starve_another() {
    let setup = setup(&Server::shared().url());
    let [busy, other] = [(); 2].map(|()| replica(&setup, budget(10_000, 2, 256, 20_000)));
    let mut calls = JoinSet::new();
    let served = Arc::new(AtomicUsize::new(0));
    for n in 0..16 {
        let (busy, served) = (busy.clone(), served.clone());
        calls.spawn(async move {
            loop {
                let turn = turn(&busy, ["a", "b"][n % 2]).await.expect("in time");
                tokio::time::sleep(Duration::from_millis(5)).await;
                served.fetch_add(1, Ordering::Relaxed);
                drop(turn);
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for n in 0..10 {
        let before = served.load(Ordering::Relaxed);
        drop(turn(&other, "a").await.expect("in time"));
        let passed = served.load(Ordering::Relaxed) - before;
        // Two that were under way, and what began before Redis knew of this one.
        assert!(passed < 40, "{passed} others came before call {n}");
    }
    calls.abort_all();
}

#[tokio::test]
async fn without_redis_each_has_its_part_and_with_it_one_has_all_again() {
    let server = Server::start_new();
    let mut setup = setup(&server.url());
    setup.settings.replicas = std::num::NonZeroU32::new(2).expect("two");
    let replicas = [(); 2].map(|()| replica(&setup, budget(1_000, 4, 100, 300)));
    let take = async |account: &Arc<Account>| {
        let all = ["a", "b"].into_iter().cycle().take(4).map(|name| turn(account, name));
        let all: Vec<_> = futures_util::future::join_all(all).await;
        all.into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(take(&replicas[0]).await.len(), 4);
    server.kill();
    let held = [take(&replicas[0]).await, take(&replicas[1]).await];
    assert_eq!(held.each_ref().map(Vec::len), [2, 2], "half of four");
    drop(held);
    server.start();
    for account in &replicas {
        let up = || account.shared.as_ref().expect("it is shared").link.is_up();
        until("it is found again", up);
    }
    let held = take(&replicas[1]).await;
    assert_eq!((held.len(), under_way(&server, &setup)), (4, 4));
    assert!(turn(&replicas[0], "c").await.is_err(), "one budget again");
    drop(held);
    until("all places are given back", || under_way(&server, &setup) == 0);
}

/// Who waits for an answer that does not come goes on by the replica's part, and nobody waits again.
#[tokio::test]
async fn nobody_waits_for_a_redis_that_says_nothing() {
    let server = Server::start_new();
    let setup = setup(&server.url());
    let (link, metrics) = link(&setup);
    let account = Account::share(budget(1_000, 9, 0, 0), link, Duration::from_secs(60), metrics.clone());
    drop(turn(&account, "a").await.expect("free"));
    server.pause();
    let began = Instant::now();
    drop(turn(&account, "a").await.expect("its part is free"));
    assert!(began.elapsed() >= setup.settings.timeout, "it was asked");
    let began = Instant::now();
    for _ in 0..100 {
        drop(turn(&account, "a").await.expect("its part is free"));
    }
    assert!(began.elapsed() < Duration::from_millis(500), "nobody waits for what is known to be away");
    assert_eq!(value(&metrics, r#"zengate_redis_failures_total{reason="timeout"}"#), Some(1.0));
    server.resume();
    until("it is found again", || value(&metrics, "zengate_redis_up") == Some(1.0));
    drop(turn(&account, "a").await.expect("free"));
    until("all places are given back", || under_way(&server, &setup) == 0);
}
