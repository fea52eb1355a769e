use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn faults(json: &str) -> Faults {
    Faults::read(json.as_bytes(), NOW).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn refusal(json: &str) -> String {
    Faults::read(json.as_bytes(), NOW).err().map(|error| error.to_string()).unwrap_or_default()
}

fn after(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).expect("a time")
}

#[test]
fn a_share_strikes_its_part_of_the_calls() {
    for (share, expected) in [(0.0, 0), (0.1, 100), (0.5, 500), (1.0, 1000)] {
        for (fault, before_read) in [("close-after-read", false), ("hang-before-read", true)] {
            let mut faults = faults(&format!(r#"[{{"share": {share}, "fault": "{fault}"}}]"#));
            let mut strikes = || match before_read {
                true => faults.before_read(NOW).is_some(),
                false => faults.after_read("DescribeInstances", None, NOW).is_some(),
            };
            let struck = (0..1000).filter(|_| strikes()).count();
            assert!(struck.abs_diff(expected) <= 2, "{fault}: share {share} struck {struck} of 1000");
        }
    }
}

#[test]
fn a_rule_strikes_only_its_action_and_its_instance() {
    let json = r#"[{"action": "ResetInstancePassword", "instanceId": "ins-a", "fault": "delay", "milliseconds": 5}]"#;
    let mut faults = faults(json);
    for (action, body, struck) in [
        ("ResetInstancePassword", r#"{"instanceId": "ins-a"}"#, true),
        ("ResetInstancePassword", r#"{"instanceId": "ins-b"}"#, false),
        ("ResetInstancePassword", r#"{"instanceIds": ["ins-b", "ins-a"]}"#, true),
        ("ResetInstancePassword", "{}", false),
        ("DescribeInstances", r#"{"instanceId": "ins-a"}"#, false),
    ] {
        let parameters = Parameters::parse(body.as_bytes()).ok();
        let seen = faults.after_read(action, parameters.as_ref(), NOW).is_some();
        assert_eq!(seen, struck, "{action} {body}");
    }
}

#[test]
fn the_first_rule_that_strikes_decides_and_those_before_reading_come_first() {
    let mut faults = faults(
        r#"[{"fault": "timed-out", "action": "A"}, {"fault": "rate-limited"}, {"fault": "reset-before-read"}]"#,
    );
    assert!(faults.may_strike_unread());
    assert!(matches!(faults.before_read(NOW), Some(Then::Reset)));
    for (action, status) in [("A", 504), ("B", 429)] {
        let strike = faults.after_read(action, None, NOW).expect("a strike");
        let Then::Answer(answer) = strike.plan(canned::garbage(), NOW).then else {
            panic!("{action}: no answer")
        };
        assert_eq!(answer.status, status, "{action}");
    }
}

#[test]
fn jitter_stays_in_its_bound_and_is_the_same_every_time() {
    let delays = || {
        let mut faults = faults(r#"[{"fault": "delay", "milliseconds": 100, "jitterMilliseconds": 400}]"#);
        let mut delay = || {
            let strike = faults.after_read("A", None, NOW).expect("a strike");
            strike.plan(canned::garbage(), NOW).delay.as_millis()
        };
        (0..100).map(|_| delay()).collect::<Vec<_>>()
    };
    let seen = delays();
    assert!(seen.iter().all(|delay| (100..=500).contains(delay)), "{seen:?}");
    let mean = seen.iter().sum::<u128>() / 100;
    assert!((290..=310).contains(&mean), "a mean of {mean} ms");
    assert_eq!(delays(), seen);
}

#[test]
fn what_flaps_strikes_only_while_down_and_begins_up() {
    let mut faults = faults(
        r#"[{"fault": "flapping", "upMilliseconds": 100, "downMilliseconds": 50, "then": {"fault": "firewall"}},
            {"fault": "delay", "milliseconds": 0}]"#,
    );
    for (at, down) in
        [(0, false), (99, false), (100, true), (149, true), (150, false), (250, true), (-1, true)]
    {
        let strike = faults.after_read("A", None, after(at)).expect("one of the two");
        assert_eq!(strike.applies(), !down, "{at} ms");
    }
    let mut faults = self::faults(
        r#"[{"fault": "flapping", "upMilliseconds": 9, "downMilliseconds": 9, "then": {"fault": "hang-before-read"}}]"#,
    );
    assert!(faults.before_read(after(8)).is_none() && faults.before_read(after(9)).is_some());
    assert!(faults.after_read("A", None, after(9)).is_none());
}

#[test]
fn what_a_rule_does_not_know_is_named() {
    for (json, part) in [
        ("{}", "invalid type"),
        (
            r#"[{"fault": "delay", "milliseconds": 1}, {"fault": "explode"}]"#,
            "fault 2: unknown variant `explode`",
        ),
        (r#"[{"fault": "delay"}]"#, "missing field `milliseconds`"),
        (r#"[{"fault": "close-after-read", "instance": "x"}]"#, "unknown field `instance`"),
        (r#"[{"fault": "close-after-read", "share": 1.5}]"#, "share 1.5 is not between 0 and 1"),
        (r#"[{"fault": "close-after-read", "applied": 1}]"#, "invalid type: integer `1`, expected a boolean"),
        (r#"[{"share": 1}]"#, "missing field `fault`"),
        (r#"[{"fault": "answer", "status": 199}]"#, "status 199 is not between 200 and 599"),
        (
            r#"[{"fault": "rate-limited", "retryAfterDate": true}]"#,
            "`retryAfterDate` needs `retryAfterSeconds`",
        ),
    ] {
        assert!(refusal(json).contains(part), "{json}: {}", refusal(json));
    }
}

#[test]
fn a_rule_that_cannot_happen_is_refused() {
    let answered = |status: u16| format!(r#"{{"fault": "answer", "status": {status}, "applied": true}}"#);
    let flapping = |down: u32, members: &str| {
        format!(r#"{{"fault": "flapping", "upMilliseconds": 1, "downMilliseconds": {down}, {members}}}"#)
    };
    for (rule, part) in [
        (answered(400), "a 400 never follows a call that was applied"),
        (answered(499), "a 499 never follows a call that was applied"),
        (answered(500), ""),
        (r#"{"fault": "error", "status": 404, "code": "C", "applied": true}"#.into(), "a 404 never follows"),
        (r#"{"fault": "rate-limited", "applied": true}"#.into(), "a 429 never follows"),
        (r#"{"fault": "firewall", "applied": true}"#.into(), "a 403 never follows"),
        (r#"{"fault": "legal-block", "applied": true}"#.into(), "a 451 never follows"),
        (r#"{"fault": "legal-block", "applied": false}"#.into(), ""),
        (r#"{"fault": "delay", "milliseconds": 1, "applied": true}"#.into(), "the call is worked on as ever"),
        (r#"{"fault": "hang-before-read", "applied": false}"#.into(), "the call is not read"),
        (r#"{"fault": "reset-before-read", "action": "A"}"#.into(), "it strikes before the call is read"),
        (flapping(0, r#""then": {"fault": "firewall"}"#), "`downMilliseconds` is 0"),
        (flapping(1, r#""then": {"fault": "firewall", "share": 1}"#), "unknown field `share`"),
        (flapping(1, r#""then": {"fault": "firewall", "applied": true}"#), "a 403 never follows"),
        (flapping(1, r#""then": {"fault": "timed-out"}, "applied": true"#), "it belongs into `then`"),
        (flapping(1, r#""then": {"fault": "hang-before-read"}, "instanceId": "a""#), "it strikes before"),
        (flapping(1, r#""then": {"fault": "timed-out", "applied": true}, "instanceId": "a""#), ""),
    ] {
        let seen = refusal(&format!("[{rule}]"));
        assert!(seen.contains(part) && seen.is_empty() == part.is_empty(), "{rule}: {seen}");
    }
}

#[test]
fn every_fault_stands_in_the_help_and_the_docs_and_every_example_is_good() {
    let docs = include_str!("../../../docs/simulator.md");
    let names = refusal(r#"[{"fault": ""}]"#);
    let names: Vec<&str> = names.split('`').skip(1).step_by(2).filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(REFERENCE.contains(&format!("\n  {name} ")), "{name} is not in the help");
        assert!(docs.contains(&format!("\"fault\": \"{name}\"")), "{name} is not in the docs");
    }
    let examples = docs.split('`').filter(|part| part.starts_with("{\"fault\""));
    for example in examples {
        assert_eq!(refusal(&format!("[{example}]")), "", "{example}");
    }
}
