//! Three replicas behind HAProxy are one gateway.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::{Balancer, Cluster, INSTANCES, Replica, reset, reset_request, web};
use crate::http::{Answer, call, raw};
use crate::redis_server::Redis;
use crate::support::payments;
use crate::trail::sent;

const BURST: u64 = 20;
/// Of the payments team, in microseconds between two resets.
const INTERVAL: u64 = 500_000;

const LIMITS: &str = "[default]\nteam = { requests = 1000000, period_seconds = 1, burst = 1000000 }\n\
    caller = { requests = 1000000, period_seconds = 1, burst = 1000000 }\ninstance_cooldown_seconds = 0\n\
    [teams.payments]\nteam = { requests = 2, period_seconds = 1, burst = 20 }\n";

#[test]
fn replicas_behind_a_balancer_are_one_gateway() {
    let mut cluster = Cluster::of(3, LIMITS, &[]);
    let balancer = Balancer::before(&cluster.replicas, &[]);
    a_quota_holds_across_them(&cluster, &balancer);
    one_key_reaches_zenlayer_once(&cluster, &balancer);
    any_answers_for_any(&cluster, &balancer);
    one_that_is_killed_costs_its_own_callers(&mut cluster, &balancer);
}

/// Microseconds by Redis' clock.
fn clock(redis: &mut redis::Connection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(redis).expect("a time");
    seconds * 1_000_000 + micros
}

fn a_quota_holds_across_them(cluster: &Cluster, balancer: &Balancer) {
    let (mut redis, token) = (Redis::shared().admin(), payments());
    let began = clock(&mut redis);
    assert_eq!(reset(balancer.address, &token, "ins-0").status, 201);
    let charged = clock(&mut redis);
    let end = Instant::now() + Duration::from_secs(2);
    let admitted = |answer: &Answer| match answer.status {
        201 => true,
        429 => false,
        _ => panic!("{answer:?}"),
    };
    let caller = |first: usize| {
        let mut count = 0;
        for n in (first..).step_by(12) {
            if Instant::now() > end {
                break;
            }
            let answer = reset(balancer.address, &token, &format!("ins-{}", n % INSTANCES));
            count += u64::from(admitted(&answer));
            sleep(Duration::from_millis(5));
        }
        count
    };
    let mut count: u64 = 1 + scope(|scope| {
        let callers: Vec<_> = (0..12).map(|first| scope.spawn(move || caller(first))).collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).sum::<u64>()
    });
    let asked = clock(&mut redis);
    while admitted(&reset(balancer.address, &token, "ins-0")) {
        count += 1;
    }
    let ended = clock(&mut redis);
    let (least, most) = (BURST + (asked - charged) / INTERVAL, BURST + (ended - began) / INTERVAL);
    assert!((least..=most).contains(&count), "{count} of {least} to {most}");
    assert_eq!(sent(&cluster.simulator).len() as u64, count);
    assert!(cluster.replicas.iter().all(|replica| replica.answered() > 10.0), "all had a share");
}

fn one_key_reaches_zenlayer_once(cluster: &Cluster, balancer: &Balancer) {
    let (token, before) = (web(), sent(&cluster.simulator).len());
    cluster.simulator.fault(
        r#"[{"fault":"delay","milliseconds":300,"instanceId":"web-0","action":"ResetInstancePassword"}]"#,
    );
    let bytes = reset_request(&token, "web-0", &[("idempotency-key", "one-for-all")]);
    let answers: Vec<Answer> = scope(|scope| {
        let callers: Vec<_> = (0..200).map(|_| scope.spawn(|| raw(balancer.address, &bytes))).collect();
        callers.into_iter().map(|caller| caller.join().expect("answered")).collect()
    });
    let is_replay = |answer: &Answer| answer.header("idempotency-replayed") == Some("true");
    for answer in &answers {
        match answer.status {
            201 => {}
            409 => assert_eq!(answer.problem(), "idempotency-in-flight"),
            _ => panic!("{answer:?}"),
        }
    }
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201 && !is_replay(answer)).collect();
    assert_eq!(made.len(), 1, "one is the first: {made:?}");
    assert!(answers.iter().any(|answer| answer.status == 409), "others came meanwhile");
    for Replica { gateway, .. } in &cluster.replicas {
        let again = raw(gateway.address, &bytes);
        assert!(again.status == 201 && is_replay(&again), "{again:?}");
        assert_eq!(again.json()["id"], made[0].json()["id"]);
    }
    assert_eq!(sent(&cluster.simulator)[before..], ["web-0"]);
    cluster.simulator.fault("[]");
}

fn any_answers_for_any(cluster: &Cluster, balancer: &Balancer) {
    let token = web();
    let made = reset(cluster.replicas[0].gateway.address, &token, "web-1");
    assert_eq!(made.status, 201, "{made:?}");
    let (location, made) = (made.header("location").expect("a path").to_owned(), made.json());
    let id = made["id"].as_str().expect("an id");
    let others = cluster.replicas[1..].iter().map(|replica| replica.gateway.address);
    for at in others.chain([balancer.address]) {
        let get = |path: &str| -> Value {
            let answer = call(at, "GET", path, Some(&token), None);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            answer.json()
        };
        assert_eq!(get(&location), made);
        assert_eq!(get("/v1/password-resets?instanceId=web-1")["items"], Value::from(vec![made.clone()]));
        let records = get(&format!("/v1/audit?resetId={id}"));
        assert_eq!(records["items"].as_array().map(Vec::len), Some(2), "intent and outcome: {records}");
    }
}

fn one_that_is_killed_costs_its_own_callers(cluster: &mut Cluster, balancer: &Balancer) {
    let (at, token, before) = (balancer.address, web(), sent(&cluster.simulator).len());
    cluster.simulator.fault(r#"[{"fault":"delay","milliseconds":2000,"action":"ResetInstancePassword"}]"#);
    let ask = |n: usize| reset(at, &token, &format!("web-{n}")).status;
    let mut statuses: Vec<u16> = scope(|scope| {
        let ask = &ask;
        let callers: Vec<_> = (10..16).map(|n| scope.spawn(move || ask(n))).collect();
        cluster.simulator.wait_for_resets(before + 6);
        cluster.replicas[0].gateway.process.kill();
        callers.into_iter().map(|caller| caller.join().expect("answered")).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 201, 502, 502], "two of them were its own");
    cluster.simulator.fault("[]");
    let next: Vec<u16> = (20..26).map(ask).collect();
    assert_eq!(next, [201; 6], "no check of the balancer need have missed it yet");
    assert_eq!(sent(&cluster.simulator).len(), before + 12, "nothing is sent twice");
}
