use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::*;

fn account(requests_per_second: u32, max_concurrent: usize, queue: usize, patience: u64) -> Arc<Account> {
    let settings = budget(requests_per_second, max_concurrent, queue, patience);
    Arc::new(Account::new(settings, Arc::default()))
}

/// Milliseconds of patience.
pub(super) fn budget(requests_per_second: u32, max_concurrent: usize, queue: usize, patience: u64) -> Budget {
    Budget { requests_per_second, max_concurrent, queue, patience: Duration::from_millis(patience) }
}

pub(super) fn team(name: &str) -> Share {
    Share::Team(name.parse().expect("a name"))
}

/// Lets what was spawned run until it waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// A batch of one team waits, then another team's single call: how many of the batch come before it.
pub(super) async fn passed_by(account: &Arc<Account>) -> usize {
    let held = account.turn(team("a")).await.expect("free");
    let (order, mut calls) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
    let mut ask = |name: &'static str| {
        let (account, order) = (account.clone(), order.clone());
        calls.spawn(async move {
            let turn = account.turn(team(name)).await.expect("in time");
            order.lock().expect("no panic").push(name);
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(turn);
        });
    };
    (0..40).for_each(|_| ask("a"));
    settle().await;
    ask("b");
    settle().await;
    drop(held);
    while calls.join_next().await.is_some() {}
    let order = order.lock().expect("no panic");
    assert_eq!(order.len(), 41);
    order.iter().position(|name| *name == "b").expect("served")
}

/// Calls of 1 ms in turns on these and for these teams, some of which are given up, with a turn in hand or without: the
/// most that were under way at once.
pub(super) async fn most_under_way(accounts: &[Arc<Account>], teams: &[&'static str], calls: u64) -> usize {
    let (now, most, mut begun) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for n in 0..calls {
        let account = accounts[n as usize % accounts.len()].clone();
        let (share, now, most) = (team(teams[n as usize % teams.len()]), now.clone(), most.clone());
        begun.spawn(async move {
            let asking = account.turn(share);
            if n % 7 == 0 {
                _ = tokio::time::timeout(Duration::from_micros(n * 50), asking).await;
                return;
            }
            let turn = asking.await.expect("in time");
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            drop(turn);
        });
    }
    while let Some(ended) = begun.join_next().await {
        ended.expect("no panic");
    }
    most.load(Ordering::SeqCst)
}

/// Nobody holds a turn or waits for one.
pub(super) fn is_idle(account: &Account) {
    let state = account.lock();
    assert_eq!((state.in_flight, state.waiting, state.lines.len()), (0, 0, 0));
}

#[tokio::test]
async fn one_team_s_batch_does_not_starve_another_s_single_call() {
    let place = passed_by(&account(10_000, 1, 256, 5_000)).await;
    assert!(place <= 1, "behind one of the batch at most: {place}");
}

#[tokio::test]
async fn no_more_are_under_way_than_allowed_and_places_are_given_back() {
    let account = account(100_000, 3, 1_000, 5_000);
    assert_eq!(most_under_way(std::slice::from_ref(&account), &["a"], 200).await, 3);
    is_idle(&account);
}

#[tokio::test]
async fn the_rate_is_a_second_s_worth_and_then_evenly_spaced() {
    let account = account(100, 1_000, 1_000, 5_000);
    let began = Instant::now();
    for _ in 0..100 {
        drop(account.turn(team("a")).await.expect("free"));
    }
    assert!(began.elapsed() < Duration::from_millis(500), "at once");
    for _ in 0..20 {
        drop(account.turn(team("a")).await.expect("in time"));
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(190), "20 more take 10 ms each: {took:?}");
}

#[tokio::test]
async fn the_queue_is_short_and_no_share_takes_all_of_it() {
    let account = account(100_000, 1, 8, 300);
    let held = account.turn(team("a")).await.expect("free");
    let mut waiting = JoinSet::new();
    for name in ["a", "a", "b", "b", "c", "c", "d", "d"] {
        let account = account.clone();
        waiting.spawn(async move { account.turn(team(name)).await.map(drop) });
    }
    settle().await;
    let began = Instant::now();
    for name in ["a", "e"] {
        let refused = account.turn(team(name)).await.map(drop);
        assert_eq!(refused, Err(Spent { retry_after: Duration::from_secs(1) }), "{name}");
    }
    assert!(began.elapsed() < Duration::from_millis(100), "refused at once");
    while let Some(ended) = waiting.join_next().await {
        assert!(ended.expect("no panic").is_err(), "nobody waits longer than the queue allows");
    }
    drop(held);
    assert!(account.turn(team("e")).await.is_ok());
    let state = account.lock();
    assert_eq!((state.in_flight, state.waiting), (0, 0));
}

#[tokio::test]
async fn who_gave_up_takes_no_place_in_the_queue() {
    let account = account(100_000, 1, 4, 5_000);
    let held = account.turn(team("a")).await.expect("free");
    for name in ["b", "c", "d", "e"] {
        let asking = account.turn(team(name));
        assert!(tokio::time::timeout(Duration::from_millis(5), asking).await.is_err(), "{name} gives up");
    }
    let (waits, account) = (account.clone(), account);
    let waiting = tokio::spawn(async move { waits.turn(team("f")).await.map(drop) });
    settle().await;
    drop(held);
    assert_eq!(waiting.await.expect("no panic"), Ok(()));
    let state = account.lock();
    assert_eq!((state.in_flight, state.waiting, state.lines.len()), (0, 0, 0));
}

#[tokio::test]
async fn a_quarter_of_the_queue_is_one_share_s_at_the_most() {
    let account = account(100_000, 1, 8, 300);
    let _held = account.turn(team("a")).await.expect("free");
    let mut waiting = JoinSet::new();
    for _ in 0..5 {
        let account = account.clone();
        waiting
            .spawn(async move { (Instant::now(), account.turn(team("a")).await.map(drop), Instant::now()) });
    }
    let mut at_once = 0;
    while let Some(ended) = waiting.join_next().await {
        let (from, refused, to) = ended.expect("no panic");
        assert!(refused.is_err());
        at_once += usize::from(to - from < Duration::from_millis(150));
    }
    assert_eq!(at_once, 3, "two waited");
}

#[tokio::test]
async fn too_much_halves_the_rate_once_a_moment_and_pauses() {
    let account = account(1_000, 1_000, 1_000, 100);
    (0..20).for_each(|_| account.too_much(None));
    assert!((0.5..0.6).contains(&account.lock().rate.factor(Instant::now())));
    drop(account.turn(team("a")).await.expect("slower, but it goes on"));
    account.too_much(Some(2));
    let spent = account.turn(team("a")).await.map(drop).expect_err("Zenlayer asked for a pause");
    assert!(spent.retry_after > Duration::from_secs(1), "{spent:?}");
    let later = Instant::now() + Duration::from_secs(60);
    assert!(account.lock().rate.factor(later) >= 1.0, "it recovers");
}

#[tokio::test]
async fn calls_that_take_long_leave_places_to_the_others() {
    let account = account(100_000, 8, 64, 200);
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(account.turn(team("a")).await.expect("free"));
    }
    let waits = account.clone();
    let seventh = tokio::spawn(async move { waits.turn(team("a")).await.map(drop) });
    settle().await;
    let began = Instant::now();
    held.push(account.turn(team("b")).await.expect("a place is left"));
    assert!(began.elapsed() < Duration::from_millis(100), "at once, past the line of the other");
    assert!(seventh.await.expect("no panic").is_err(), "three quarters are all that one may hold");
    drop(held);
    let state = account.lock();
    assert_eq!((state.in_flight, state.held.len(), state.waiting), (0, 0, 0));
}
