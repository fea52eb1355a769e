//! A disk that is full, read-only, broken, locked, slow or corrupt: no reset without a durable intent, an answer
//! that says so, and recovery by itself. Needs root, for a mount of its own and to attach strace.

mod mount;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::http::{Answer, call};
use crate::keys::{claims, token};
use crate::support::{
    FREE, Gateway, Process, Simulator, configure, configured, payments, said, tool, zengate,
};
use crate::trail::{all_on_record, all_refused, in_flight, metric, sent, trail_check, until};
use mount::Mount;

fn served(folder: &Path) -> Gateway {
    Gateway::start(folder, Stdio::null(), |command| command)
}

fn serve(folder: &Path) -> Command {
    let mut command = zengate();
    command.arg("serve").arg("--config").arg(folder.join("zengate.toml"));
    command
}

/// A gateway's folder, its trail in a folder of its own.
fn laid_out(simulator: &Simulator) -> tempfile::TempDir {
    let folder = configured(simulator);
    fs::create_dir(folder.path().join("disk")).expect("made");
    configure(folder.path(), "[audit]\npath = \"disk/zengate.db\"\n");
    fs::write(folder.path().join("policies/limits.toml"), FREE).expect("written");
    folder
}

/// System calls of a running process fail or take longer, until it is dropped.
struct Tampered {
    strace: Process,
    _stderr: BufReader<ChildStderr>,
}

impl Tampered {
    /// `injection` as strace has it: `pwrite64,fdatasync:error=EIO`. Returns once it is in force.
    fn with(gateway: &Gateway, injection: &str) -> Self {
        let calls = injection.split(':').next().expect("calls");
        let mut command = tool("ZENGATE_TEST_STRACE", "strace");
        command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={injection}"), "-p", &gateway.process.id().to_string()]);
        let mut strace = Process::spawn(command.stderr(Stdio::piped()));
        let mut stderr = BufReader::new(strace.stderr());
        let mut line = String::new();
        stderr.read_line(&mut line).expect("text");
        assert!(line.contains("attached"), "strace cannot attach, which needs root: {line}");
        Self { strace, _stderr: stderr }
    }

    fn end(mut self) {
        self.strace.signal("-INT");
        self.strace.ended();
    }
}

#[test]
fn a_full_disk_stops_resets_until_there_is_room() {
    let simulator = Simulator::of(10);
    let folder = laid_out(&simulator);
    let disk = Mount::small(&folder.path().join("disk"));
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| disk.inside(command));
    assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201);
    in_flight(
        &gateway,
        &simulator,
        || {
            disk.fill();
            // The log's last page may have room for one more.
            let refused = (0..5).any(|_| gateway.reset("ins-2", "Abcd~1234").status == 503);
            assert!(refused, "the disk is full");
            all_refused(&gateway, &simulator, Duration::from_secs(2));
            assert_eq!(trail_check(&gateway), "cannot be written: resets are refused");
        },
        || disk.free(),
    );
    assert_eq!(trail_check(&gateway), "ok");
    assert_eq!(gateway.reset("ins-3", "Abcd~1234").status, 201);
    all_on_record(folder.path(), &simulator, |command| disk.inside(command));
}

#[test]
fn a_stop_that_cannot_be_put_on_record_tells_whether_outcomes_are_lost_with_it() {
    const LOST: &str = "outcomes are not in the trail: their resets will be recorded as unknown";
    for (row, in_flight) in [("none", false), ("one", true)] {
        let simulator = Simulator::of(10);
        let folder = laid_out(&simulator);
        let disk = Mount::small(&folder.path().join("disk"));
        let log = folder.path().join("log");
        let file = fs::File::create(&log).expect("created");
        let mut gateway = Gateway::start(folder.path(), file.into(), |command| disk.inside(command));
        assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201);
        simulator.fault(
            r#"[{"fault":"delay","milliseconds":1000,"instanceId":"ins-1","action":"ResetInstancePassword"}]"#,
        );
        std::thread::scope(|scope| {
            let asked = in_flight.then(|| scope.spawn(|| gateway.reset("ins-1", "Abcd~1234")));
            simulator.wait_for_resets(1 + usize::from(in_flight));
            disk.fill();
            let refused = (0..5).any(|_| gateway.reset("ins-2", "Abcd~1234").status == 503);
            assert!(refused, "{row}: the disk is full");
            let answered = asked.map(|asked| asked.join().expect("answered").status);
            assert_eq!(answered, in_flight.then_some(504), "{row}");
        });
        gateway.process.signal("-TERM");
        gateway.process.ended();
        let told = fs::read_to_string(&log).expect("read");
        assert_eq!(told.contains(LOST), in_flight, "{row}: {told}");
        assert_eq!(told.contains("the trail has no record of this stop"), !in_flight, "{row}: {told}");
    }
}

/// The whole disk is smaller than the reserve (`audit.reserve_mib`, default 64).
#[test]
fn when_space_is_scarce_each_caller_has_one_refusal_a_minute_on_record() {
    let simulator = Simulator::of(10);
    let folder = laid_out(&simulator);
    let config = folder.path().join("zengate.toml");
    let text = fs::read_to_string(&config).expect("read");
    let both =
        text.replace(r#"may_assert_teams = ["payments"]"#, r#"may_assert_teams = ["payments", "web"]"#);
    assert_ne!(both, text);
    fs::write(&config, both).expect("written");
    let disk = Mount::small(&folder.path().join("disk"));
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| disk.inside(command));
    let of = |user: &str, teams: Value| token(&claims(user, teams));
    let (web, nobody) = (of("bob", json!(["web"])), of("carol", json!([])));
    let reset = |token: &str| {
        let body = json!({ "password": "Abcd~1234" }).to_string();
        call(gateway.address, "POST", "/v1/instances/ins-0/password-resets", Some(token), Some(&body))
    };
    let get = |path: &str| call(gateway.address, "GET", path, Some(&web), None).status;
    let location = reset(&payments()).header("location").expect("a place").to_owned();
    for _ in 0..3 {
        assert_eq!(reset(&web).status, 403, "a reset");
        assert_eq!(get("/v1/instances/ins-0"), 403, "an instance");
        assert_eq!(get(&location), 404, "another team's reset");
        assert_eq!(get("/v1/audit"), 403, "the trail");
        assert_eq!(reset(&nobody).status, 403, "no team");
    }
    assert_eq!(reset(&payments()).status, 201, "what is left is for these");
    assert_eq!(metric(&gateway, "zengate_audit_left_out_refusals_total"), 13, "the others are counted");
    // An outcome is committed behind all that was asked for before.
    let records = all_on_record(folder.path(), &simulator, |command| disk.inside(command));
    let refused: Vec<_> = records.iter().filter(|record| record["kind"] == "refused").collect();
    let subjects: Vec<_> = refused.iter().filter_map(|record| record["subject"].as_str()).collect();
    assert_eq!(subjects, ["bob", "carol"], "one each: {refused:#?}");
}

#[test]
fn a_disk_that_fails_stops_resets_until_it_works() {
    let simulator = Simulator::of(10);
    let folder = laid_out(&simulator);
    let gateway = served(folder.path());
    for injection in [
        // As after a kernel has turned a file system read-only.
        "pwrite64,fsync,fdatasync:error=EROFS",
        "pwrite64:error=EIO",
        "pwrite64:error=EDQUOT",
        "pwrite64:error=EACCES",
        "fsync,fdatasync:error=EIO",
    ] {
        assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201, "before {injection}");
        let tampered = Tampered::with(&gateway, injection);
        all_refused(&gateway, &simulator, Duration::from_secs(3));
        tampered.end();
        assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201, "after {injection}");
    }
    // What a failed sync has left on the disk may come back as a record, never as a broken chain.
    let mut gateway = gateway;
    let tampered = Tampered::with(&gateway, "fsync,fdatasync:error=EIO");
    assert_eq!(gateway.reset("ins-1", "Abcd~1234").status, 503);
    gateway.process.kill();
    drop(tampered);
    let gateway = served(folder.path());
    assert_eq!(gateway.reset("ins-2", "Abcd~1234").status, 201);
    all_on_record(folder.path(), &simulator, |command| command);
}

#[test]
fn a_slow_disk_makes_resets_slow_and_loses_none() {
    let simulator = Simulator::of(10);
    let folder = laid_out(&simulator);
    let gateway = served(folder.path());
    assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201);
    let tampered = Tampered::with(&gateway, "fsync,fdatasync:delay_enter=400000");
    let began = Instant::now();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask = |n: usize| gateway.reset(&format!("ins-{n}"), "Abcd~1234");
        let asking: Vec<_> = (0..10).map(|n| scope.spawn(move || ask(n))).collect();
        asking.into_iter().map(|asked| asked.join().expect("answered")).collect()
    });
    let took = began.elapsed();
    tampered.end();
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    assert!(took > Duration::from_millis(800), "an intent and an outcome: {took:?}");
    assert!(took < Duration::from_millis(5 * 800), "those that wait share a commit: {took:?}");
    all_on_record(folder.path(), &simulator, |command| command);
}

#[test]
fn a_locked_store_is_waited_for_and_then_refused() {
    let simulator = Simulator::of(10);
    let folder = laid_out(&simulator);
    let gateway = served(folder.path());
    assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201);
    let other = Connection::open(folder.path().join("disk/zengate.db")).expect("opened");
    let lock = || other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let unlock = || other.execute_batch("ROLLBACK").expect("unlocked");
    lock();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| gateway.reset("ins-1", "Abcd~1234"));
        std::thread::sleep(Duration::from_millis(500));
        assert!(!waiting.is_finished(), "it waits");
        unlock();
        assert_eq!(waiting.join().expect("answered").status, 201, "and then goes on");
    });
    lock();
    all_refused(&gateway, &simulator, Duration::from_secs(12));
    unlock();
    until("it recovers by itself", || gateway.reset("ins-2", "Abcd~1234").status == 201);
    all_on_record(folder.path(), &simulator, |command| command);
}

#[test]
fn a_read_only_disk_does_not_start_and_says_so() {
    let simulator = Simulator::of(10);
    let folder = laid_out(&simulator);
    let disk = Mount::small(&folder.path().join("disk"));
    let start = || Gateway::start(folder.path(), Stdio::null(), |command| disk.inside(command));
    let mut gateway = start();
    assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201);
    gateway.process.kill();
    disk.remount("ro");
    let output = disk.inside(serve(folder.path())).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("disk/zengate.db") && told.contains("Read-only file system"), "{told}");
    disk.remount("rw");
    let gateway = start();
    assert_eq!(gateway.reset("ins-1", "Abcd~1234").status, 201);
    all_on_record(folder.path(), &simulator, |command| disk.inside(command));
}

#[test]
fn a_permission_that_is_taken_away_loses_nothing() {
    let simulator = Simulator::of(10);
    let folder = laid_out(&simulator);
    let disk = folder.path().join("disk");
    // Root, but held to permissions as anybody.
    let held = |command: Command| {
        let mut setpriv = Command::new("setpriv");
        setpriv.arg("--bounding-set=-dac_override,-dac_read_search");
        setpriv.arg(command.get_program()).args(command.get_args());
        setpriv
    };
    let permit = |folder_mode, file_mode| {
        let set =
            |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        let files = fs::read_dir(&disk).expect("read").map(|entry| entry.expect("an entry").path());
        files.for_each(|file| set(&file, file_mode));
        set(&disk, folder_mode);
    };
    let mut gateway = Gateway::start(folder.path(), Stdio::null(), held);
    assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201);
    permit(0o500, 0o400);
    // What is open stays open.
    assert_eq!(gateway.reset("ins-1", "Abcd~1234").status, 201);
    all_on_record(folder.path(), &simulator, |command| command);
    gateway.process.kill();
    let output = held(serve(folder.path())).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("disk/zengate.db") && told.contains("Permission denied"), "{told}");
    permit(0o700, 0o600);
    let gateway = Gateway::start(folder.path(), Stdio::null(), held);
    assert_eq!(gateway.reset("ins-2", "Abcd~1234").status, 201);
    all_on_record(folder.path(), &simulator, |command| command);
}

/// Garbage in place of every page but the first, which has the header.
fn corrupt(store: &Path) {
    let file = fs::OpenOptions::new().write(true).open(store).expect("there");
    let pages = file.metadata().expect("read").len() / 4096;
    assert!(pages > 5, "it was written out by an orderly stop");
    for page in 1..pages {
        file.write_all_at(&[0xAA; 4096], page * 4096).expect("written");
    }
}

fn stopped(mut gateway: Gateway) {
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());
}

#[test]
fn a_corrupt_store_takes_no_reset_until_it_is_restored() {
    let simulator = Simulator::of(10);
    let folder = laid_out(&simulator);
    let (disk, backup) = (folder.path().join("disk"), folder.path().join("backup"));
    let restore = || {
        fs::remove_dir_all(&disk).expect("removed");
        crate::support::copy(&backup, &disk);
    };
    let gateway = served(folder.path());
    assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201);
    stopped(gateway);
    crate::support::copy(&disk, &backup);

    corrupt(&disk.join("zengate.db"));
    let output = serve(folder.path()).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("disk/zengate.db") && told.contains("malformed"), "{told}");
    restore();

    let gateway = served(folder.path());
    call(gateway.operations, "GET", "/livez", None, None);
    corrupt(&disk.join("zengate.db"));
    // The start has not read the page of the projection that an intent goes to.
    all_refused(&gateway, &simulator, Duration::from_secs(2));
    assert!(metric(&gateway, "zengate_audit_failures_total") > 0);
    stopped(gateway);
    restore();

    let gateway = served(folder.path());
    assert_eq!(gateway.reset("ins-1", "Abcd~1234").status, 201);
    all_on_record(folder.path(), &simulator, |command| command);
}

#[test]
fn a_log_that_is_cut_or_taken_away_takes_no_reset_and_what_it_held_is_missed_from_outside() {
    let cut = |log: &Path| {
        fs::OpenOptions::new().write(true).open(log).expect("there").set_len(0).expect("cut");
    };
    let removed = |log: &Path| fs::remove_file(log).expect("removed");
    for (row, tamper) in [("cut", &cut as &dyn Fn(&Path)), ("removed", &removed)] {
        let simulator = Simulator::of(10);
        let folder = laid_out(&simulator);
        let gateway = served(folder.path());
        assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201, "{row}");
        stopped(gateway);
        let mut gateway = served(folder.path());
        let answer = gateway.reset("ins-0", "Abcd~1234");
        assert_eq!(answer.status, 201, "{row}");
        let receipt = folder.path().join("answer.json");
        fs::write(&receipt, answer.json().to_string()).expect("written");
        tamper(&folder.path().join("disk/zengate.db-wal"));
        all_refused(&gateway, &simulator, Duration::from_secs(2));
        gateway.process.kill();
        let gateway = served(folder.path());
        assert_eq!(
            gateway.reset("ins-1", "Abcd~1234").status,
            201,
            "{row}: it begins anew where the file ends"
        );
        let verify = |more: &[&str]| {
            let mut command = zengate();
            command.args(["audit", "verify", "--config"]).arg(folder.path().join("zengate.toml")).args(more);
            command.output().expect("runs")
        };
        let alone = verify(&[]);
        assert_eq!(alone.status.code(), Some(0), "{row}: nothing tells without help: {}", said(&alone));
        let helped = verify(&["--receipt", receipt.to_str().expect("text")]);
        assert_eq!(helped.status.code(), Some(1), "{row}: {}", said(&helped));
        assert!(said(&helped).contains("(named by a receipt)"), "{row}: {}", said(&helped));
    }
}

#[test]
fn over_a_store_that_was_corrupted_unnoticed_every_intent_is_on_the_disk_all_the_same() {
    let simulator = Simulator::of(200);
    let folder = laid_out(&simulator);
    let store = folder.path().join("disk/zengate.db");
    let gateway = served(folder.path());
    (0..20).for_each(|_| assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201));
    stopped(gateway);
    let mut gateway = served(folder.path());
    // It has the pages in memory that it needs.
    (0..20).for_each(|_| assert_eq!(gateway.reset("ins-0", "Abcd~1234").status, 201));
    corrupt(&store);
    for n in 1..200 {
        let status = gateway.reset(&format!("ins-{n}"), "Abcd~1234").status;
        assert!([201, 503].contains(&status), "{status}");
    }
    gateway.process.kill();
    let mut bytes = fs::read(&store).expect("read");
    bytes.extend(fs::read(folder.path().join("disk/zengate.db-wal")).unwrap_or_default());
    let text = String::from_utf8_lossy(&bytes);
    for instance in sent(&simulator) {
        assert!(text.contains(&format!("\"instanceId\":\"{instance}\"")), "{instance} has its intent");
    }
}
