//! A Redis that goes and comes back: one line of the log a change, and the password in none of them.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::redis_server::Redis;
use crate::support::{Gateway, Simulator, configure, configured, run, said};
use crate::trail::until;

/// Written where no part of a URL is quoted from.
const CANARY: &str = "nary";

fn counted_by(folder: &Path, url: &str) {
    fs::write(folder.join("redis-url"), url).expect("written");
    let limits = format!(
        "[limits]\nstore = \"redis\"\nredis_url_file = \"redis-url\"\nredis_timeout_milliseconds = 500\nreplicas = 1\nprefix = \"{}\"\n",
        Redis::prefix()
    );
    configure(folder, &limits);
}

#[test]
fn one_line_is_logged_a_change_and_none_has_the_password() {
    let (simulator, redis) = (Simulator::of(30), Redis::start_new());
    let folder = configured(&simulator);
    counted_by(folder.path(), &redis.url());
    let log = fs::File::create(folder.path().join("log")).expect("a file");
    let mut gateway = Gateway::start(folder.path(), Stdio::from(log), |command| command);
    let lines = || {
        let text = fs::read_to_string(folder.path().join("log")).expect("a log");
        assert!(!text.contains(CANARY), "{text}");
        let messages = text.lines().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("every line is JSON");
            line["message"].as_str().map(str::to_owned)
        });
        messages.filter(|message| message.starts_with("Redis")).collect::<Vec<_>>()
    };
    let mut next = 0;
    let mut reset = || {
        next += 1;
        gateway.reset(&format!("ins-{next}"), "Abcd~1234").status
    };
    type Act = fn(&Redis);
    let kill: (Act, Act) = (Redis::kill, Redis::start);
    let mut changes = 1;
    assert_eq!(lines(), ["Redis counts the quotas"]);
    for (fail, mend) in [kill, (Redis::pause, Redis::resume)] {
        assert_eq!(reset(), 201);
        fail(&redis);
        assert_eq!([reset(), reset(), reset(), reset()], [503; 4]);
        std::thread::sleep(Duration::from_millis(1500));
        changes += 1;
        let told = lines();
        assert_eq!(told.len(), changes, "{told:?}");
        assert!(told[changes - 1].starts_with("Redis is away, so resets are refused: "), "{told:?}");
        mend(&redis);
        changes += 1;
        until("it is found again", || lines().len() == changes);
    }
    assert_eq!(reset(), 201);
    assert_eq!(lines().last().map(String::as_str), Some("Redis counts the quotas"));
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());
}

#[test]
fn a_password_that_redis_refuses_stops_the_start() {
    let (simulator, redis) = (Simulator::of(1), Redis::start_new());
    let folder = configured(&simulator);
    counted_by(folder.path(), &redis.url().replace("secret", "canary"));
    let config = folder.path().join("zengate.toml").display().to_string();
    let checked = run(&["check", "--config", &config]);
    assert!(checked.status.success(), "it asks nobody: {checked:?}");
    let served = run(&["serve", "--config", &config]);
    let told = said(&served);
    assert_eq!(served.status.code(), Some(1), "{told}");
    let fault = format!("limits.redis_url_file: {} refuses this user: ", redis.address);
    assert!(told.contains(&fault) && !told.contains(CANARY), "{told}");
}
