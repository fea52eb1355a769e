//! Files change on the disks of replicas: each follows by itself, and metrics say whether they agree.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, Replica, reset, web};
use crate::keys::jwks;
use crate::support::FREE;
use crate::trail::metric;

/// As promised from the change to its being in force, wherever it is one.
const PROMISED: Duration = Duration::from_secs(5);

/// `count(count by (revision) (zengate_policy_revision_info))`, over all replicas.
fn revisions(cluster: &Cluster) -> usize {
    let of = |replica: &Replica| {
        let metrics = replica.metrics();
        let info = |line: &str| {
            let rest = line.strip_prefix("zengate_policy_revision_info{revision=\"")?;
            rest.strip_suffix("\"} 1").map(str::to_owned)
        };
        let revisions: Vec<String> = metrics.lines().filter_map(info).collect();
        assert_eq!(revisions.len(), 1, "each has one: {metrics}");
        revisions
    };
    cluster.replicas.iter().flat_map(of).collect::<BTreeSet<_>>().len()
}

fn in_time(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PROMISED, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn replicas_follow_their_files_and_metrics_say_who_does_not() {
    let cluster = Cluster::of(2, FREE, &[]);
    let token = web();
    let write = |replica: &Replica, file: &str, text: &str| {
        fs::write(replica.folder.path().join(file), text).expect("written");
    };
    let told = |replica: &Replica| reset(replica.gateway.address, &token, "web-0").status;
    let all = |status: u16| cluster.replicas.iter().all(|replica| told(replica) == status);
    assert!(all(201) && revisions(&cluster) == 1);

    let [first, second] = &cluster.replicas[..] else { panic!("there are two") };
    let blocks = "subjects = [\"corp|bob\"]\n";
    write(first, "policies/blocks.toml", blocks);
    in_time("one has the new revision, and an alert sees it", || revisions(&cluster) == 2);
    assert_eq!((told(first), told(second)), (403, 201), "as the metric says");
    write(second, "policies/blocks.toml", blocks);
    in_time("both have the same again", || revisions(&cluster) == 1);
    assert!(all(403));

    let everywhere = |file: &str, text: &str| {
        cluster.replicas.iter().for_each(|replica| write(replica, file, text));
    };
    everywhere("policies/blocks.toml", "");
    in_time("nobody is blocked any more", || all(201));
    assert_eq!(revisions(&cluster), 1);
    let good = jwks();
    everywhere("jwks.json", &good.replace("\"kid\":\"ec\"", "\"kid\":\"withdrawn\""));
    in_time("a key that was withdrawn is refused", || all(401));
    everywhere("jwks.json", &good);
    in_time("and a new one is taken", || all(201));
    everywhere("key", "another secret");
    let changes = |replica: &Replica| metric(&replica.gateway, "zengate_access_key_changes_total");
    in_time("the access key is replaced", || cluster.replicas.iter().all(|replica| changes(replica) == 1));
}
