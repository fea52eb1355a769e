//! A PostgreSQL that is away, hangs, or is cut off amid a commit: no reset without a durable intent, an answer that
//! says so, and recovery by itself.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::postgres::Postgres;
use crate::proxy::{Cut, Proxy};
use crate::support::{FREE, Gateway, Simulator, configured, in_postgres, payments};
use crate::trail::{all_on_record, all_refused, ended, in_flight, refused, sent, status, trail_check, until};

fn laid_out(simulator: &Simulator, url: &str) -> tempfile::TempDir {
    let folder = configured(simulator);
    in_postgres(folder.path(), url, 4);
    std::fs::write(folder.path().join("policies/limits.toml"), FREE).expect("written");
    folder
}

fn served(folder: &Path) -> Gateway {
    Gateway::start(folder, Stdio::null(), |command| command)
}

fn stopped(mut gateway: Gateway) {
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());
}

#[test]
fn a_server_that_stops_dies_or_hangs_stops_resets_until_it_is_back() {
    let (simulator, server) = (Simulator::of(10), Postgres::start_new());
    let folder = laid_out(&simulator, &server.database());
    let gateway = served(folder.path());
    type Act = fn(&Postgres);
    let stop: (&str, Act, Act) = ("stopped", Postgres::stop, Postgres::start);
    for (name, fail, mend) in
        [stop, ("killed", Postgres::kill, Postgres::start), ("paused", Postgres::pause, Postgres::resume)]
    {
        assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201, "before it is {name}");
        let failed = || {
            fail(&server);
            all_refused(&gateway, &simulator, Duration::from_secs(4));
            assert_eq!(trail_check(&gateway), "cannot be written: resets are refused", "{name}");
        };
        in_flight(&gateway, &simulator, failed, || mend(&server));
        until("it is well again", || trail_check(&gateway) == "ok");
        assert_eq!(gateway.reset("ins-2", "Abcd~1234").status, 201, "after it was {name}");
    }
    stopped(gateway);
    all_on_record(folder.path(), &simulator, |command| command);
}

#[test]
fn what_a_process_left_open_in_an_outage_is_closed_by_the_next_once_its_lease_ran_out() {
    let (simulator, server) = (Simulator::of(10), Postgres::start_new());
    let database = server.database();
    let folder = laid_out(&simulator, &database);
    let mut gateway = served(folder.path());
    simulator.fault(r#"[{"fault":"hang-after-read","applied":true,"action":"ResetInstancePassword"}]"#);
    let token = payments();
    let ask = |n: usize| {
        let body = r#"{"password":"Abcd~1234"}"#;
        let request = format!(
            "POST /v1/instances/ins-{n}/password-resets HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(gateway.address).expect("connected");
        stream.write_all(request.as_bytes()).expect("written");
        stream
    };
    let asked: Vec<_> = (0..5).map(ask).collect();
    simulator.wait_for_resets(5);
    server.kill();
    gateway.process.kill();
    drop(asked);
    server.start();
    let open = || {
        server.sql(&database, "SELECT coalesce(string_agg(id, ' '), '') FROM resets WHERE status = 'sent'")
    };
    let left: Vec<String> = open().split(' ').map(str::to_owned).collect();
    assert_eq!(left.len(), 5, "{left:?}");
    simulator.fault("[]");
    let gateway = served(folder.path());
    // It need not wait for that.
    assert_eq!(gateway.reset("ins-6", "Abcd~1234").status, 201);
    until("the next has closed them", || open().is_empty());
    left.iter().for_each(|id| assert_eq!(status(&gateway, id), "unknown", "{id}"));
    stopped(gateway);
    let records = all_on_record(folder.path(), &simulator, |command| command);
    assert_eq!(ended(&records, "unknown", "writer gone"), 5);
}

#[test]
fn a_connection_that_is_cut_amid_a_commit_sends_nothing_that_is_not_on_record() {
    let (simulator, server) = (Simulator::of(10), Postgres::shared());
    let proxy = Proxy::to(server.address);
    let folder = laid_out(&simulator, &server.by_way_of(proxy.address, &server.database()));
    let gateway = served(folder.path());
    // Once: the end of its chain is asked for at once. Twice: that answer is lost too, and the commit is in doubt.
    for (cut, commits) in
        [(Cut::BeforeCommit, 1), (Cut::BeforeCommit, 2), (Cut::AfterCommit, 1), (Cut::AfterCommit, 2)]
    {
        assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201);
        // A renewal of the lease may come before, and be cut instead.
        let told = (0..10).find_map(|_| {
            until("the last cut is mended", || trail_check(&gateway) == "ok");
            let before = sent(&simulator).len();
            proxy.cut(commits, cut);
            let told = gateway.reset("ins-3", "Abcd~1234");
            until("it was cut", || proxy.has_cut());
            let sent = sent(&simulator).len() - before;
            assert_eq!(sent, usize::from(told.status == 201), "{told:?}");
            let known = cut == Cut::AfterCommit && commits == 1;
            (known || told.status != 201).then_some(told)
        });
        let told = told.expect("an intent was cut");
        if told.status != 201 {
            refused(&told);
        }
        until("it recovers by itself", || gateway.reset("ins-4", "Abcd~1234").status == 201);
    }
    stopped(gateway);
    let records = all_on_record(folder.path(), &simulator, |command| command);
    assert!(ended(&records, "not_sent", "commit in doubt") > 0, "{records:?}");
}
