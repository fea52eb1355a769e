//! What an attacker writes on a socket, byte by byte: what comes back, and what Zenlayer may have seen of it.

mod bounds;
mod cost;
mod rows;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::{FREE, PASSWORD, Setup, TestGateway, UPSTREAM_HEADERS, instance, payments, web};
use crate::http::{Answer, try_read};
use rows::ROWS;

/// One attack. In its bytes `{POST}` is the request line of a reset of the row's own instance, `{ALICE}` and `{BOB}`
/// lines with tokens of payments and web, `{JSON}` the line with the type, `{BODY}` a body that resets and `{LENGTH}`
/// its length, `{SMUGGLED}` a whole request for another instance of payments, without a token, `{THEIRS}` the path of
/// one of web.
struct Row {
    name: &'static str,
    bytes: &'static str,
    /// The answers, in order; then the connection ends.
    answers: &'static [u16],
    /// Who resets the row's own instance.
    by: &'static [&'static str],
}

/// Everything ends within two seconds.
const HASTY: &[(&str, &str)] = &[
    ("ZENGATE__SERVER__HEAD_SECONDS", "1"),
    ("ZENGATE__SERVER__BODY_SECONDS", "1"),
    ("ZENGATE__SERVER__IDLE_SECONDS", "1"),
    ("ZENGATE__SERVER__SEND_SECONDS", "1"),
];

fn body() -> String {
    json!({ "password": PASSWORD }).to_string()
}

fn written(row: &Row, number: usize) -> Vec<u8> {
    let (own, other, body) = (format!("own-{number}"), format!("other-{number}"), body());
    let smuggled = format!(
        "POST /v1/instances/{other}/password-resets HTTP/1.1\r\nHost: gateway\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let text = row
        .bytes
        .replace("{SMUGGLED}", &smuggled)
        .replace("{SMUGGLED-LENGTH}", &smuggled.len().to_string())
        .replace("{SMUGGLED-HEX}", &format!("{:x}", smuggled.len()))
        .replace("{POST}", &format!("POST /v1/instances/{own}/password-resets HTTP/1.1"))
        .replace("{OWN}", &own)
        .replace("{THEIRS}", "/v1/instances/web-1/password-resets")
        .replace("{ALICE}", &format!("Authorization: Bearer {}", payments()))
        .replace("{BOB}", &format!("Authorization: Bearer {}", web()))
        .replace("{TOKEN}", &payments())
        .replace("{JSON}", "Content-Type: application/json")
        .replace("{BODY}", &body)
        .replace("{LENGTH}", &body.len().to_string())
        .replace("{HEX}", &format!("{:x}", body.len()))
        .replace("{8K}", &"x".repeat(8 << 10))
        .replace("{128K}", &"x".repeat(128 << 10))
        .replace("{100 HEADERS}", &(0..100).map(|n| format!("X-{n}: 1\r\n")).collect::<String>());
    // A lone byte that no text has.
    text.chars()
        .map(|c| if c == '\u{ff}' { vec![0xff] } else { c.to_string().into_bytes() })
        .collect::<Vec<_>>()
        .concat()
}

/// All that comes back until the connection ends.
fn answers(gateway: &TestGateway, bytes: &[u8]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(40))).expect("a timeout");
    // The other side may refuse before it has read all: what it says counts.
    _ = stream.write_all(bytes);
    let mut all = Vec::new();
    _ = stream.read_to_end(&mut all);
    let mut rest: &[u8] = &all;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        answers.push(try_read(&mut OneByOne(&mut rest)).expect("answers are whole"));
    }
    answers
}

/// So that reading an answer takes nothing of the next.
struct OneByOne<'a, 'b>(&'a mut &'b [u8]);

impl Read for OneByOne<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(&mut buffer[..1])
    }
}

fn gateway() -> TestGateway {
    let own = (0..ROWS.len()).map(|n| instance("payments", &format!("own-{n}")));
    let other = (0..ROWS.len()).map(|n| instance("payments", &format!("other-{n}")));
    let instances: Value = own.chain(other).chain([instance("web", "web-1")]).collect();
    TestGateway::with(Setup {
        overrides: HASTY,
        limits: Some(FREE),
        instances: Some(instances),
        ..Setup::default()
    })
}

#[test]
fn upstream_sees_exactly_what_it_should_or_nothing() {
    let gateway = gateway();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some((number, row)) = {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    ROWS.get(number).map(|row| (number, row))
                } {
                    let told = answers(&gateway, &written(row, number));
                    let statuses: Vec<u16> = told.iter().map(|answer| answer.status).collect();
                    if statuses != row.answers {
                        wrong.lock().expect("held by none").push(format!(
                            "{}: {:?} where it should be {:?}: {told:?}",
                            row.name, statuses, row.answers
                        ));
                    }
                    for answer in &told {
                        let elsewhere = answer
                            .header("location")
                            .is_some_and(|to| !to.starts_with("/v1/password-resets/"));
                        assert!(!elsewhere, "{}: {answer:?}", row.name);
                        assert_eq!(answer.header("set-cookie"), None, "{}", row.name);
                        let kept = answer.header("ratelimit").is_some()
                            && answer.header("cache-control") != Some("no-store");
                        assert!(!kept, "{}: {answer:?}", row.name);
                        assert!(!answer.body.contains(PASSWORD), "{}: {answer:?}", row.name);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("held by none");
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));

    // What reached Zenlayer: these resets, each as the gateway makes it, and nothing of what a caller wrote beside.
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    let calls = crate::http::call(gateway.simulator.addr(), "GET", "/_simulator/calls", None, None).json();
    for call in calls["calls"].as_array().expect("a list") {
        let names: Vec<_> = call["headers"].as_object().expect("headers").keys().collect();
        assert_eq!(names, UPSTREAM_HEADERS, "{call}");
        assert_eq!(
            (&call["headers"]["x-zc-action"], &call["verdict"]),
            (&call["action"], &json!("ok")),
            "{call}"
        );
        assert!(!call.to_string().contains("canary"), "{call}");
        match call["action"].as_str() {
            Some("DescribeInstances") => {}
            Some("ResetInstancePassword") => {
                let asked: Value =
                    serde_json::from_str(call["body"].as_str().expect("a body")).expect("JSON");
                let id = asked["instanceId"].as_str().expect("an id").to_owned();
                assert_eq!(asked, json!({ "instanceId": id, "password": PASSWORD }));
                *sent.entry(id).or_default() += 1;
            }
            other => panic!("{other:?}: {call}"),
        }
    }
    let due = ROWS.iter().enumerate().filter(|(_, row)| !row.by.is_empty());
    let due: BTreeMap<String, usize> = due.map(|(n, row)| (format!("own-{n}"), row.by.len())).collect();
    assert_eq!(sent, due);

    // By whom, and from where.
    let intents = gateway.records_of("intent", due.values().sum());
    for (number, row) in ROWS.iter().enumerate() {
        let own = format!("own-{number}");
        let of = intents.iter().filter(|intent| intent["instanceId"] == own);
        let by: Vec<_> = of.clone().map(|intent| intent["subject"].as_str().expect("a subject")).collect();
        assert_eq!(by, row.by, "{}", row.name);
        assert!(of.clone().all(|intent| intent["clientAddress"] == "127.0.0.1"), "{}", row.name);
    }
    let answered = crate::http::call(gateway.address, "GET", "/v1/whoami", Some(&payments()), None);
    assert_eq!(answered.status, 200, "and it goes on");
}
