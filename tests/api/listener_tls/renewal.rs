//! The pair changes under a gateway that runs.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Listener, certificate_of, mount, pair, rename, reset};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::gateway::{TestGateway, payments};
use crate::http::read;
use crate::reload::wait;
use crate::tls::{Authority, Pair};

const GOOD: &str = "zengate_tls_last_reload_successful";

#[test]
fn swaps_under_load_fail_no_handshake_and_the_newest_is_seen_soon() {
    let authority = Authority::new();
    let pairs = [pair(&authority), pair(&authority)];
    let listener = Listener::with(&pairs[1], authority);
    let (ended, handshakes, seen) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(HashSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let mut connection = listener.connect().expect("no handshake fails");
                    let certificate = certificate_of(&connection);
                    assert!(pairs.iter().any(|pair| pair.der == certificate), "one of the two");
                    let answer = reset(&mut connection, "pay-1");
                    assert_eq!(answer.status, 201, "{answer:?}");
                    seen.lock().expect("no panic").insert(certificate);
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in 0..19 {
            let pair = &pairs[n % 2];
            if n % 3 == 0 {
                rename(listener.folder.path(), pair);
            } else {
                mount(listener.folder.path(), &n.to_string(), pair);
            }
            listener.gateway.reloader.reload().expect("the policies are good");
            std::thread::sleep(Duration::from_millis(50));
        }
        // The last one is left to the watch.
        mount(listener.folder.path(), "last", &pairs[1]);
        let swapped = Instant::now();
        while listener.seen() != pairs[1].der {
            assert!(swapped.elapsed() < Duration::from_secs(3), "the newest is seen soon");
        }
        std::thread::sleep(Duration::from_millis(200));
        ended.store(true, Ordering::Relaxed);
    });
    assert!(handshakes.into_inner() > 100, "there was load");
    assert_eq!(seen.into_inner().expect("no panic").len(), 2, "both were in force");
    assert_eq!(listener.gateway.metric(GOOD), 1.0);
}

#[test]
fn a_bad_pair_never_takes_the_good_one_away() {
    let authority = Authority::new();
    let [first, second] = [pair(&authority), pair(&authority)];
    let listener = Listener::with(&first, authority);
    let data = listener.folder.path().join("..data");
    let state = |wanted: f64| move |gateway: &TestGateway| gateway.metric(GOOD) == wanted;
    let good = |pair: &Pair| rename(listener.folder.path(), pair);
    assert_eq!(listener.gateway.metric(GOOD), 1.0, "from the start");
    for (row, spoil) in [
        (
            "another key",
            &(|| fs::write(data.join("tls.key"), &second.key)) as &dyn Fn() -> std::io::Result<()>,
        ),
        ("an empty certificate", &|| fs::write(data.join("tls.crt"), "")),
        ("a key that is gone", &|| fs::remove_file(data.join("tls.key"))),
    ] {
        spoil().expect(row);
        wait(&listener.gateway, row, state(0.0));
        assert_eq!(listener.seen(), first.der, "{row}: the last good pair stays");
        good(&first);
        wait(&listener.gateway, row, state(1.0));
    }
    good(&second);
    wait(&listener.gateway, "another pair", |_| listener.seen() == second.der);
    let of = |records: &[Value]| -> Vec<Value> {
        let certificates = records.iter().filter(|record| record["key"] == "certificate");
        certificates.map(|record| record["keyId"].clone()).collect()
    };
    let recorded = of(&listener.gateway.records_until(|records| of(records).len() >= 2));
    let ids = [&first, &second].map(|pair| hex::encode(Sha256::digest(&pair.der)));
    assert_eq!(recorded, ids, "the trail has each that came into force, and none that was read again");
}

#[test]
fn connections_that_stand_go_on_over_a_swap() {
    let authority = Authority::new();
    let [first, second] = [pair(&authority), pair(&authority)];
    let listener = Listener::with(&first, authority);
    let mut connection = listener.connect().expect("a handshake");
    let whoami =
        format!("GET /v1/whoami HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\n\r\n", payments());
    for swap in [true, false] {
        connection.write_all(whoami.as_bytes()).expect("written");
        assert_eq!(read(&mut connection).status, 200);
        if swap {
            mount(listener.folder.path(), "second", &second);
            listener.gateway.reloader.reload().expect("the policies are good");
            assert_eq!(listener.seen(), second.der, "new handshakes see the new one");
        }
    }
}
