use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::audit::tests::{EFFORT, Fixture, accepted, kinds};
use crate::audit::{Event, Trail};
use crate::config;
use crate::http::Target;

fn settings(fixture: &Fixture) -> (config::Audit, PathBuf) {
    let file = fixture.path().with_file_name("sink.jsonl");
    (config::Audit { sink: Some(AuditSink::File(file.clone())), ..fixture.settings() }, file)
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn reset(trail: &Trail, fixture: &Fixture, instance: &str) {
    let intent = trail.open(fixture.permit(instance), &Target::for_test()).await.expect("opened");
    trail.close(intent, accepted(), EFFORT).await;
}

#[tokio::test]
async fn every_record_s_very_bytes_are_a_line_as_soon_as_they_are_committed() {
    let fixture = Fixture::new();
    let (settings, file) = settings(&fixture);
    let trail = fixture.trail_by(&settings);
    reset(&trail, &fixture, "ins-1").await;
    until("the reset's records are there while the trail is open", || {
        kinds(&lines(&file)) == ["start", "intent", "outcome"]
    });
    trail.stop();
    let mut bytes = String::new();
    let each = |stored: Stored| {
        bytes.push_str(&stored.record);
        bytes.push('\n');
        true
    };
    trail
        .reader()
        .each(&crate::audit::Filter::default(), crate::audit::Order::OldestFirst, each)
        .expect("read");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), bytes);
}

#[tokio::test]
async fn what_was_not_written_before_a_stop_is_written_after_the_next_start_and_nothing_is_left_out() {
    let fixture = Fixture::new();
    let trail = fixture.trail();
    reset(&trail, &fixture, "ins-1").await;
    trail.stop();
    let (settings, file) = settings(&fixture);
    let trail = fixture.trail_by(&settings);
    until("what was before the sink is told too", || lines(&file).len() == 6);
    // The position is kept in the store with the next commit, at the latest after a second.
    until("positions are kept", || {
        trail.reader().source().exported().is_ok_and(|exported| exported.values().sum::<u64>() == 6)
    });
    trail.stop();
    let told = lines(&file).len();
    let trail = fixture.trail_by(&settings);
    until("the third chain is told", || {
        lines(&file).iter().any(|line| line["sequence"] == 1 && line == lines(&file).last().expect("a line"))
    });
    trail.stop();
    let all = lines(&file);
    assert!(all.len() <= told + 3 + 2, "at most what the stop wrote is told twice: {}", all.len());
    for record in fixture.records() {
        assert!(all.contains(&record), "{record}");
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew_and_half_a_line_is_ended() {
    let fixture = Fixture::new();
    let (settings, file) = settings(&fixture);
    std::fs::write(&file, "{\"torn\":").expect("written");
    let trail = fixture.trail_by(&settings);
    until("the first record", || lines(&file).len() == 1);
    let text = std::fs::read_to_string(&file).expect("there");
    assert!(text.starts_with("{\"torn\":\n{\"v\":"), "{text}");
    std::fs::rename(&file, file.with_extension("1")).expect("moved");
    reset(&trail, &fixture, "ins-1").await;
    until("the new file has the new records", || kinds(&lines(&file)) == ["intent", "outcome"]);
    trail.stop();
}

#[tokio::test]
async fn a_sink_that_cannot_be_written_holds_nothing_up_and_catches_up() {
    let fixture = Fixture::new();
    let folder = fixture.path().with_file_name("log");
    std::fs::create_dir(&folder).expect("made");
    let file = folder.join("sink.jsonl");
    let settings = config::Audit { sink: Some(AuditSink::File(file.clone())), ..fixture.settings() };
    let trail = fixture.trail_by(&settings);
    until("the first record", || lines(&file).len() == 1);
    std::fs::remove_dir_all(&folder).expect("removed");
    reset(&trail, &fixture, "ins-1").await;
    let metric = |name: &str| {
        let text = String::from_utf8(fixture.metrics.encode()).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    until("the failure is counted", || metric("zengate_audit_sink_failures_total ") > 0);
    assert!(metric("zengate_audit_sink_behind_records ") > 0);
    reset(&trail, &fixture, "ins-2").await;
    std::fs::create_dir(&folder).expect("made");
    until("it catches up", || kinds(&lines(&file)) == ["intent", "outcome", "intent", "outcome"]);
    until("and says so", || metric("zengate_audit_sink_behind_records ") == 0);
    trail.stop();
    assert!(fixture.good());
}

#[test]
fn a_sink_that_cannot_be_opened_is_told_at_the_start() {
    let fixture = Fixture::new();
    for path in [fixture.path().with_file_name("none").join("sink"), PathBuf::from("/dev/null")] {
        let settings = config::Audit { sink: Some(AuditSink::File(path.clone())), ..fixture.settings() };
        let refused = Trail::start(&settings, fixture.metrics.clone()).err().expect("refused");
        assert!(matches!(refused, OpenError::Sink { .. }), "{}: {refused}", path.display());
    }
}

#[tokio::test]
async fn events_are_told_as_well() {
    let fixture = Fixture::new();
    let (settings, file) = settings(&fixture);
    let trail = fixture.trail_by(&settings);
    trail.note(&Event::Policy { revision: "abc", teams: 2 });
    until("the event", || kinds(&lines(&file)) == ["start", "policy"]);
    trail.stop();
    assert_eq!(kinds(&lines(&file)), ["start", "policy", "stop", "checkpoint"]);
}
