//! One replica is cut off from Redis, from PostgreSQL or from both; the others go on.

use std::thread::scope;

use super::cluster::{Balancer, Cluster, Replica, reset, web};
use crate::http::call;
use crate::proxy::Proxy;
use crate::support::FREE;
use crate::trail::{metric, refused, sent, trail_check, until};

/// What is left of the caller's limits, as one replica tells it.
fn left(replica: &Replica, token: &str) -> Option<String> {
    let whoami = call(replica.gateway.address, "GET", "/v1/whoami", Some(token), None);
    assert_eq!(whoami.status, 200, "{whoami:?}");
    whoami.header("ratelimit").map(str::to_owned)
}

type Act = fn(&mut Proxy);
/// Refused at once, or silent.
const CUTS: [(&str, Act, Act); 2] =
    [("closed", Proxy::close, Proxy::reopen), ("silent", |way| way.hold(), |way| way.release())];

#[test]
fn a_replica_that_is_cut_off_takes_nobody_with_it() {
    let mut cluster = Cluster::of(3, FREE, &[]);
    let balancer = Balancer::before(&cluster.replicas, &[]);
    let token = web();
    for (name, cut, mend) in CUTS {
        cut(&mut cluster.replicas[0].to_redis);
        from_redis(&cluster, &balancer, &token, name);
        mend(&mut cluster.replicas[0].to_redis);
        let up = || metric(&cluster.replicas[0].gateway, "zengate_redis_up") == 1;
        until("Redis is found again", up);
        cut(&mut cluster.replicas[0].to_postgres);
        from_postgres(&cluster, &balancer, &token, name);
        mend(&mut cluster.replicas[0].to_postgres);
        let here = cluster.replicas[0].gateway.address;
        until("its trail is well again", || reset(here, &token, "web-9").status == 201);
        assert_eq!(trail_check(&cluster.replicas[0].gateway), "ok");
    }
    let sent_but_open = "SELECT count(*) FROM resets WHERE status NOT IN ('accepted', 'not_sent')";
    until("all are ended", || cluster.sql(sent_but_open) == "0");
    let accepted = cluster.sql("SELECT count(*) FROM resets WHERE status = 'accepted'");
    assert_eq!(sent(&cluster.simulator).len().to_string(), accepted, "each has its outcome");
}

/// It counts its part by itself; the others count in Redis.
fn from_redis(cluster: &Cluster, balancer: &Balancer, token: &str, name: &str) {
    let [cut_off, others @ ..] = &cluster.replicas[..] else { panic!("there are three") };
    until("it has noticed", || {
        assert_eq!(reset(cut_off.gateway.address, token, "web-0").status, 201, "{name}");
        metric(&cut_off.gateway, "zengate_redis_up") == 0
    });
    for replica in others {
        assert_eq!(reset(replica.gateway.address, token, "web-1").status, 201, "{name}");
        assert_eq!(metric(&replica.gateway, "zengate_redis_up"), 1, "{name}");
        assert!(left(replica, token).is_some_and(|left| left.contains(r#""team""#)), "{name}");
    }
    all_are_served(balancer, token, name);
}

/// It refuses, and says that nothing was sent; what was in flight is told as not on record yet.
fn from_postgres(cluster: &Cluster, balancer: &Balancer, token: &str, name: &str) {
    let [cut_off, others @ ..] = &cluster.replicas[..] else { panic!("there are three") };
    let before = sent(&cluster.simulator).len();
    refused(&reset(cut_off.gateway.address, token, "web-2"));
    let read = call(cut_off.gateway.address, "GET", "/v1/password-resets", Some(token), None);
    assert_eq!((read.status, read.problem().as_str()), (503, "unavailable"), "{name}: {read:?}");
    for path in ["/v1/whoami", "/v1/instances/web-2"] {
        assert_eq!(
            call(cut_off.gateway.address, "GET", path, Some(token), None).status,
            200,
            "{name}: {path}"
        );
    }
    assert_eq!(trail_check(&cut_off.gateway), "cannot be written: resets are refused", "{name}");
    assert_eq!(sent(&cluster.simulator).len(), before, "{name}: nothing was sent");
    for replica in others {
        assert_eq!(reset(replica.gateway.address, token, "web-3").status, 201, "{name}");
    }
    all_are_served(balancer, token, name);
}

/// Also those whom the balancer brings to the one that is cut off.
fn all_are_served(balancer: &Balancer, token: &str, name: &str) {
    let statuses: Vec<u16> = scope(|scope| {
        let ask = |n: usize| reset(balancer.address, token, &format!("web-{}", 10 + n)).status;
        let callers: Vec<_> = (0..9).map(|n| scope.spawn(move || ask(n))).collect();
        callers.into_iter().map(|caller| caller.join().expect("answered")).collect()
    });
    assert_eq!(statuses, [201; 9], "{name}");
}
