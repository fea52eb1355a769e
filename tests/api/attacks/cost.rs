//! What is cheap to ask and dear to answer: one caller's spree costs a bounded number of steps, and no other caller waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::gateway::{Setup, TestGateway};
use crate::http::{call, raw, request};
use crate::keys::{KEYS, claims, signed, token};

/// What the quotas of the defaults let through in `took`: a burst, and so many a second.
fn at_most(burst: f64, a_second: f64, took: Duration) -> f64 {
    burst + a_second * took.as_secs_f64() + 1.0
}

/// The median of 50 calls by one who is known, all of them good.
fn served(gateway: &TestGateway, token: &str) -> Duration {
    let mut times: Vec<_> = (0..50)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(gateway.get("/v1/whoami", token).status, 200);
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
fn one_callers_spree_costs_little_and_the_others_are_served() {
    let limits = include_str!("../../../policies/limits.toml");
    let roomy = format!(
        "{limits}\n[teams.web]\ncaller = {{ requests = 100000, period_seconds = 60, burst = 10000 }}\n"
    );
    let gateway = TestGateway::with(Setup { limits: Some(&roomy), ..Setup::default() });
    let known = crate::gateway::web();
    let quiet = served(&gateway, &known);
    let series = || gateway.metrics().lines().filter(|line| !line.starts_with('#')).count();
    let resets_before = gateway.lookups();

    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mallory = token(&claims("mallory", json!(["payments"])));
    let began = Instant::now();
    let attacks: [&(dyn Fn(usize) + Sync); 4] = [
        // Signed by another key: the longest hash, the largest signature, a body of 6 KiB.
        &|n| {
            let mut forged = claims(&format!("nobody-{n}"), json!(["payments"]));
            forged["pad"] = json!("x".repeat(4 << 10));
            let forged = signed(Algorithm::PS512, Some("rsa"), &forged, &KEYS.rsa);
            let (message, signature) = forged.rsplit_once('.').expect("three parts");
            let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
            let told = call(gateway.address, "GET", "/v1/whoami", Some(&forged), None);
            assert!([401, 429].contains(&told.status), "{told:?}");
        },
        &|n| {
            let unknown =
                signed(Algorithm::ES256, Some(&format!("kid-{n}")), &claims("nobody", json!([])), &KEYS.ec);
            let told = call(gateway.address, "GET", "/v1/whoami", Some(&unknown), None);
            assert!([401, 429].contains(&told.status), "{told:?}");
        },
        &|n| {
            let told = gateway.get(&format!("/v1/instances/made-up-{n}"), &mallory);
            assert!([403, 429].contains(&told.status), "{told:?}");
        },
        &|_| {
            let bearer = format!("Bearer {mallory}");
            let path = format!("/v1/instances?tag=team:{}", "x".repeat(20 << 10));
            let told = raw(gateway.address, &request("GET", &path, &[("authorization", &bearer)], None));
            assert!([200, 400, 429].contains(&told.status), "{told:?}");
        },
    ];
    let (busy, took) = std::thread::scope(|scope| {
        for attack in attacks {
            let (stop, asked) = (&stop, &asked);
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) && n < 2000 {
                    attack(n);
                    n += 1;
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        while asked.load(Ordering::SeqCst) < 1500 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let busy = served(&gateway, &known);
        stop.store(true, Ordering::SeqCst);
        (busy, began.elapsed())
    });
    let took = took + Duration::from_secs(1);
    if let Some(file) = std::env::var_os("ZENGATE_ATTACK_REPORT") {
        let hostile = asked.load(Ordering::SeqCst);
        let told = format!(
            "{hostile} hostile calls in {took:?}: a good one took {quiet:?} before, {busy:?} beside\n"
        );
        std::fs::write(file, told).expect("written");
    }

    let failed: f64 = ["signature", "unknown-key", "malformed"]
        .iter()
        .map(|reason| {
            gateway.metric(&format!(r#"zengate_authentication_failures_total{{reason="{reason}"}}"#))
        })
        .sum();
    assert!(failed >= 200.0, "the attack was one: {failed}");
    assert!(failed <= at_most(200.0, 10.0, took), "{failed} tokens were judged in {took:?}");
    assert!(gateway.metric(r#"zengate_limited_total{limit="failed-authentications"}"#) > 100.0);
    let looked_up = (gateway.lookups() - resets_before) as f64;
    assert!(looked_up >= 10.0, "the attack was one: {looked_up}");
    assert!(looked_up <= at_most(30.0, 1.0, took), "{looked_up} instances were asked of Zenlayer");
    assert_eq!(gateway.resets_sent(), 0);
    assert!(series() < 1500, "no name of a caller's is a label: {} series", series());
    assert!(!["made-up", "mallory", "nobody", "xxxx"].iter().any(|name| gateway.metrics().contains(name)));
    // What counts is above; this is for a gateway that stands still.
    assert!(busy < Duration::from_secs(2), "{busy:?}");
    assert_eq!(gateway.reset(&known, "web-1").status, 201, "a token that is known goes on");
}
