use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use redis::Commands;

use super::*;
use crate::metrics::Metrics;
use crate::ratelimit::gcra::Rate;
use crate::redis::for_test::{Setup, block_on, setup, until, value};
use crate::redis::server_of_tests::Redis as Server;

/// Both stores, where the time is an argument.
enum Store {
    Local(Local),
    Redis(super::Redis),
}

fn started(setup: &Setup) -> (super::Redis, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let link = Link::start(&setup.settings, metrics.clone()).unwrap_or_else(|fault| panic!("{fault}"));
    (super::Redis::new(Arc::new(link), 1000), metrics)
}

fn rate(interval: u64, burst: u64) -> Rate {
    Rate { interval, burst }
}

fn team(name: &str, rate: Rate, cells: u64) -> Charge {
    Charge::new(Key::Team(name.parse().expect("a name")), rate, cells)
}

fn cooldown(name: &str, instance: &str, rate: Rate) -> Charge {
    let key = Key::Cooldown(name.parse().expect("a name"), instance.parse().expect("an id"));
    Charge::new(key, rate, 1)
}

/// One cell each hour.
fn slow(burst: u64) -> Rate {
    rate(3_600_000_000, burst)
}

impl Store {
    async fn charge(&self, charges: &mut [Charge], now: u64) -> Result<u64, Refused> {
        match self {
            Self::Local(local) => local.charge(charges, now).map(|()| now),
            Self::Redis(redis) => {
                redis.ask(What::Charge, Some(now), charges).await.expect("there").tell(charges)
            }
        }
    }

    async fn peek(&self, charges: &mut [Charge], now: u64) {
        match self {
            Self::Local(local) => local.peek(charges),
            Self::Redis(redis) => {
                let answer = redis.ask(What::Peek, Some(now), charges).await.expect("there");
                assert_eq!((answer.now, answer.spent), (now, None));
                put(charges, answer.states);
            }
        }
    }

    async fn give_back(&self, charges: Vec<Charge>, now: u64) {
        match self {
            Self::Local(local) => charges.iter().for_each(|charge| local.give_back(charge)),
            Self::Redis(redis) => {
                redis.ask(What::GiveBack, Some(now), &charges).await.expect("there");
            }
        }
    }

    async fn sweep(&self, now: u64) {
        if let Self::Local(local) = self {
            local.sweep(now);
        }
    }
}

fn stores() -> [Store; 2] {
    let (redis, _) = started(&setup(&Server::shared().url()));
    [Store::Local(Local::new(1000)), Store::Redis(redis)]
}

#[test]
fn on_each_store_all_is_charged_or_nothing() {
    for store in stores() {
        block_on(async {
            let now = 1_700_000_000_000_000;
            let both = |cells| [team("a", slow(3), cells), cooldown("a", "ins-1", slow(1))];
            let mut charges = both(2);
            assert_eq!(store.charge(&mut charges, now).await, Ok(now));
            assert_eq!(charges.map(|charge| charge.left(now).remaining), [1, 0]);
            let mut charges = both(1);
            let wait = 3_600_000_000 - 5;
            assert_eq!(
                store.charge(&mut charges, now + 5).await,
                Err(Refused::Spent { charge: 1, wait, now: now + 5 })
            );
            assert_eq!(charges.map(|charge| charge.left(now).remaining), [1, 0], "as they were found");
            let mut charges = both(2);
            let refused = store.charge(&mut charges, now).await.expect_err("refused");
            assert_eq!(
                refused,
                Refused::Spent { charge: 0, wait: 3_600_000_000, now },
                "the first that is spent"
            );
            store.give_back(both(2).into(), now).await;
            let mut charges = both(0);
            store.peek(&mut charges, now).await;
            assert_eq!(charges.map(|charge| charge.left(now).remaining), [3, 1], "all is there again");
            store.give_back(both(2).into(), now).await;
            assert_eq!(store.charge(&mut both(4), now).await.map_err(|_| ()), Err(()), "never more than all");
        });
    }
}

/// What a sequence is made of: the time since the step before, what to do, a rate, and cells of each key.
type Step = (u64, u8, usize, [u64; 3]);

/// Clocks that a year of microseconds fits in behind.
const NOW: u64 = 1_700_000_000_000_000;

fn rates() -> [Rate; 4] {
    // From one a microsecond to one that is a year's; a burst of a year.
    [rate(1, 1_000_000), rate(333_334, 7), rate(31_536_000_000_000, 1), rate(31_536_000, 1_000_000)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The same sequence at the same times has the same decisions and states on both stores.
    #[test]
    fn both_stores_decide_alike(steps in prop::collection::vec(
        (prop_oneof![Just(0), 0u64..2_000_000, 0u64..40_000_000_000_000], 0u8..8, 0usize..4, [0u64..4, 0u64..4, 0u64..4]),
        1..40,
    )) {
        let [local, redis] = stores();
        let result: Result<(), TestCaseError> = block_on(async {
            let mut now = NOW;
            for (step, what, which, cells) in steps as Vec<Step> {
                now += step;
                let rates = rates();
                let charges = || -> Vec<Charge> {
                    let key = |n: usize| if n == 0 { team("a", rates[which], 0) } else { cooldown("a", &format!("ins-{n}"), rates[(which + n) % 4]) };
                    let charge = |n: usize| Charge { cells: cells[n], ..key(n) };
                    (0..3).filter(|n| cells[*n] > 0 || *n == 0).map(charge).collect()
                };
                let (mut here, mut there) = (charges(), charges());
                match what {
                    0 => {
                        local.peek(&mut here, now).await;
                        redis.peek(&mut there, now).await;
                    }
                    1 => {
                        local.give_back(charges(), now).await;
                        redis.give_back(charges(), now).await;
                    }
                    2 => local.sweep(now).await,
                    _ => {
                        let decisions = (local.charge(&mut here, now).await, redis.charge(&mut there, now).await);
                        prop_assert_eq!(decisions.0, decisions.1);
                    }
                }
                // A state in the past says no more than none.
                let states = |charges: &[Charge]| charges.iter().map(|charge| charge.state.max(now)).collect::<Vec<_>>();
                prop_assert_eq!(states(&here), states(&there));
            }
            Ok(())
        });
        result?;
    }
}

/// Two replicas at once, by Redis' clock: put in the order of their times, all their decisions are those of one.
#[test]
fn two_replicas_hold_one_quota() {
    let setup = setup(&Server::shared().url());
    let replicas = [started(&setup).0, started(&setup).0];
    let rate = rate(2_000, 20);
    let until = Instant::now() + Duration::from_millis(400);
    let asked = |redis: &super::Redis| {
        block_on(async {
            let mut decisions = Vec::new();
            while Instant::now() < until {
                let mut charges = [team("a", rate, 1)];
                decisions.push(match redis.charge(&mut charges).await {
                    Ok(now) => (now, true, charges[0].state),
                    Err(Refused::Spent { now, .. }) => (now, false, charges[0].state),
                    Err(refused) => panic!("{refused:?}"),
                });
            }
            decisions
        })
    };
    let mut decisions: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = replicas
            .iter()
            .flat_map(|redis| [redis, redis])
            .map(|redis| scope.spawn(|| asked(redis)))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    decisions.sort_unstable();
    let (first, last) = (decisions[0].0, decisions[decisions.len() - 1].0);
    let (mut state, mut admitted) = (0, 0);
    for (now, free, found) in decisions {
        match rate.charge(state, now, 1) {
            Ok(after) => {
                assert!(free, "refused while a cell was free");
                (state, admitted) = (after, admitted + 1);
            }
            Err(_) => assert!(!free, "admitted and none was free"),
        }
        assert_eq!(found, state);
    }
    assert!((20..=20 + (last - first) / 2_000).contains(&admitted), "{admitted} in {} µs", last - first);
}

#[test]
fn every_key_has_the_prefix_and_a_bounded_life() {
    let setup = setup(&Server::shared().url());
    let (redis, _) = started(&setup);
    let charges = || [team("a", rate(1_000_000, 60), 30), cooldown("a", "ins-1", rate(60_000_000, 1))];
    block_on(redis.charge(&mut charges())).expect("free");
    let mut admin = Server::shared().admin();
    let prefix = &setup.settings.prefix;
    let mut keys: Vec<String> = admin.keys(format!("{prefix}*")).expect("keys");
    keys.sort();
    let names = ["probe", "probe:calls", "probe:waiting", "{a}", "{a}:ins-1"];
    assert_eq!(keys, names.map(|name| format!("{prefix}{name}")));
    let lives = keys.iter().map(|key| admin.pttl::<_, i64>(key).expect("a life"));
    // The budget's probe takes a cell of a microsecond, which counts as a millisecond.
    for (life, expected) in lives.zip([10_001, 10_001, 10_200, 40_000, 70_000]) {
        assert!((expected - 5_000..=expected).contains(&life), "{life} of {expected}");
    }
    redis.give_back(charges().into());
    until("it is given back", || {
        let mut charges = charges();
        let now = block_on(redis.peek(&mut charges)).expect("there");
        charges.map(|charge| charge.left(now).remaining) == [60, 1]
    });
}

#[test]
fn a_script_that_redis_forgot_is_sent_again() {
    let server = Server::start_new();
    let (redis, metrics) = started(&setup(&server.url()));
    block_on(async {
        assert!(redis.charge(&mut [team("a", slow(3), 1)]).await.is_ok());
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.admin()).expect("flushed");
        assert!(redis.charge(&mut [team("a", slow(3), 1)]).await.is_ok());
        let mut left = [team("a", slow(3), 0)];
        let now = redis.peek(&mut left).await.expect("there");
        assert_eq!(left[0].left(now).remaining, 1, "each was counted once");
    });
    assert_eq!(value(&metrics, r#"zengate_redis_failures_total{reason="error"}"#), None);
}

#[test]
fn a_user_that_redis_refuses_is_a_fault() {
    let server = Server::start_new();
    for (login, cause) in [
        ("zengate:canary@", "authentication failed"),
        (":canary@", "authentication failed"),
        ("nobody:canary@", "authentication failed"),
        ("", "NOAUTH"),
    ] {
        let setup = setup(&format!("redis://{login}{}", server.address));
        let fault = Link::start(&setup.settings, Arc::default()).expect_err(login).to_string();
        let begin = format!("limits.redis_url_file: {} refuses this user: ", server.address);
        assert!(fault.starts_with(&begin) && !fault.contains("canary"), "{login}: {fault}");
        assert!(fault.contains(cause), "{login}: {fault}");
    }
}

#[test]
fn a_redis_that_is_killed_or_paused_is_missed_and_found_again() {
    let server = Server::start_new();
    let (redis, metrics) = started(&setup(&server.url()));
    let up = || value(&metrics, "zengate_redis_up").expect("a series");
    let charge = || block_on(redis.charge(&mut [team("a", slow(2), 1)]));
    assert_eq!(up(), 1.0);
    assert!(charge().is_ok());
    let lose = |how: &dyn Fn()| {
        how();
        assert_eq!(charge(), Err(Refused::Away(Away)));
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(charge(), Err(Refused::Away(Away)));
        }
        assert!(began.elapsed() < Duration::from_millis(500), "nobody waits for what is known to be away");
        assert_eq!(up(), 0.0);
    };
    lose(&|| server.pause());
    server.resume();
    until("it is found again", || up() == 1.0);
    let mut admin = server.admin();
    let told: String = redis::cmd("INFO").arg("stats").query(&mut admin).expect("told");
    let made = told.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    let made: u32 = made.expect("a number").trim().parse().expect("a number");
    // Ours before and after, the test's two, and one try each second.
    assert!(made <= 10, "it is not stormed: {made}");
    // What was asked before it was missed may have been counted.
    assert!(matches!(charge(), Ok(_) | Err(Refused::Spent { .. })));
    lose(&|| server.kill());
    server.start();
    until("it is found again", || up() == 1.0);
    assert!(charge().is_ok() && charge().is_ok(), "it is empty");
    assert!(value(&metrics, r#"zengate_redis_failures_total{reason="timeout"}"#) >= Some(1.0));
    assert!(value(&metrics, r#"zengate_redis_failures_total{reason="away"}"#) >= Some(200.0));
}

#[test]
fn what_stands_in_counts_this_replicas_part_and_takes_back() {
    let server = Server::start_new();
    let mut setup = setup(&server.url());
    setup.settings.on_loss = OnRedisLoss::Local;
    let (redis, metrics) = started(&setup);
    let charges = || [team("a", slow(10), 1), cooldown("a", "ins-1", rate(60_000_000, 1))];
    server.kill();
    until("it is missed", || value(&metrics, "zengate_redis_up") == Some(0.0));
    let mut charged = charges();
    block_on(redis.charge(&mut charged)).expect("a part of it is here");
    let mut left = charges();
    let now = block_on(redis.peek(&mut left)).expect("here");
    assert_eq!(left[0].left(now).remaining, 3, "10 of 3 replicas are 4 each");
    let wait = match block_on(redis.charge(&mut charges())) {
        Err(Refused::Spent { charge: 1, wait, .. }) => wait,
        other => panic!("{other:?}"),
    };
    assert!((170_000_000..=180_000_000).contains(&wait), "a third of one a minute: {wait}");
    redis.give_back(charged.into());
    let mut charged = charges();
    block_on(redis.charge(&mut charged)).expect("it came back");
    server.start();
    until("it is found again", || value(&metrics, "zengate_redis_up") == Some(1.0));
    let mut there = charges();
    let now = block_on(redis.charge(&mut there)).expect("there it is free");
    assert_eq!(there[0].left(now).remaining, 9);
    redis.give_back(charged.into());
    thread::sleep(Duration::from_millis(50));
    let now = block_on(redis.peek(&mut there)).expect("there");
    assert_eq!(there[0].left(now).remaining, 9, "it was given back where it was charged");
}

#[test]
fn a_redis_that_is_not_there_yet_is_found_and_a_new_password_is_read() {
    let server = Server::start_new();
    let setup = setup(&server.url());
    server.kill();
    let (redis, metrics) = started(&setup);
    assert_eq!(value(&metrics, "zengate_redis_up"), Some(0.0));
    server.start();
    until("it is found", || value(&metrics, "zengate_redis_up") == Some(1.0));
    std::fs::write(setup.folder.path().join("url"), server.url().replace("c%40nary%2Fsecret", "new"))
        .expect("written");
    let mut admin = server.admin();
    let set = ["SETUSER", "zengate", "resetpass", ">new"];
    redis::cmd("ACL").arg(&set).exec(&mut admin).expect("set");
    redis::cmd("CLIENT").arg(&["KILL", "USER", "zengate"]).exec(&mut admin).expect("killed");
    until("it is there by the new one", || block_on(redis.charge(&mut [team("a", slow(100), 1)])).is_ok());
}

/// What takes no writes is away: a replica after a failover, or one without memory.
#[test]
fn a_redis_that_takes_no_writes_is_away() {
    let server = Server::start_new();
    let (redis, metrics) = started(&setup(&server.url()));
    let charge = || block_on(redis.charge(&mut [team("a", slow(2), 1)]));
    let set = |value| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(value).exec(&mut server.admin());
    set("1").expect("set");
    assert_eq!(charge(), Err(Refused::Away(Away)));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(value(&metrics, "zengate_redis_up"), Some(0.0), "that it can be reached is not enough");
    set("0").expect("set");
    until("it is found again", || value(&metrics, "zengate_redis_up") == Some(1.0));
    assert!(charge().is_ok());
}

#[test]
fn a_sentinel_says_which_one_it_is_before_and_after_a_failover() {
    let first = Server::start_new();
    let second = Server::with(&first.follower());
    let told = |of: &mut redis::Connection, ask: &[&str]| -> String {
        let told: redis::Value = redis::cmd(ask[0]).arg(&ask[1..]).query(of).expect("an answer");
        format!("{told:?}")
    };
    until("the other one follows", || {
        told(&mut second.admin(), &["INFO", "replication"]).contains("master_link_status:up")
    });
    let sentinel = Server::sentinel(&first);
    let asked = redis::Client::open(format!("redis://{}", sentinel.address)).expect("a client");
    let mut asked = asked.get_connection().expect("connected");
    until("the Sentinel knows it", || {
        told(&mut asked, &["SENTINEL", "replicas", "quotas"]).contains(&second.address.port().to_string())
    });
    let setup = setup(&format!("redis+sentinel://zengate:c%40nary%2Fsecret@{}/quotas", sentinel.address));
    let (redis, metrics) = started(&setup);
    let charge = || block_on(redis.charge(&mut [team("a", slow(1_000_000), 1)]));
    assert!(charge().is_ok());
    first.kill();
    until("the other one takes over", || charge().is_ok());
    assert_eq!(value(&metrics, "zengate_redis_up"), Some(1.0));
    first.start();
}

#[test]
fn tls_is_verified_with_the_hosts_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| {
        std::fs::write(folder.path().join(name), text).expect("written");
        folder.path().join(name).display().to_string()
    };
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = key.cert.pem();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let port = crate::redis::ports::free_port();
    let _server = Server::with(&[
        format!("tls-port {port}"),
        format!("tls-cert-file {}", file("cert", certificate.clone())),
        format!("tls-key-file {}", file("key", key.signing_key.serialize_pem())),
        format!("tls-ca-cert-file {}", file("ca", certificate.clone())),
        "tls-auth-clients no".to_owned(),
    ]);
    let up = |host: &str, ca: Option<String>| {
        let mut setup = setup(&format!("rediss://zengate:c%40nary%2Fsecret@{host}:{port}"));
        setup.settings.ca = ca.map(String::into_bytes);
        value(&started(&setup).1, "zengate_redis_up")
    };
    assert_eq!(up("localhost", Some(certificate.clone())), Some(1.0));
    assert_eq!(up("127.0.0.1", Some(certificate)), Some(0.0), "another name");
    assert_eq!(up("localhost", Some(other.cert.pem())), Some(0.0), "another authority");
    assert_eq!(up("localhost", None), Some(0.0), "none that the system knows");
}
