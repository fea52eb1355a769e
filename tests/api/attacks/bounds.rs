//! Callers that take their time, and many of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::HASTY;
use crate::gateway::{FREE, Setup, TestGateway, payments};
use crate::http::{call, read};

/// Ten times what the settings of [`HASTY`] come to.
const LONG: Duration = Duration::from_secs(20);

fn connected(gateway: &TestGateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.address).expect("connected");
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    stream
}

/// All that comes until the connection ends.
fn until_the_end(stream: &mut TcpStream, row: &str) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return all,
            Ok(read) => all.extend_from_slice(&chunk[..read]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("{row}: it is still open"),
            Err(_) => return all,
        }
    }
}

#[test]
fn who_dawdles_is_hung_up_on() {
    let gateway = TestGateway::with(Setup { overrides: HASTY, limits: Some(FREE), ..Setup::default() });
    let get = format!("GET /v1/whoami HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {}\r\n", payments());
    let post = get.replace("GET /v1/whoami", "POST /v1/instances/pay-1/password-resets");
    // What is written at once, what every 100 ms after that, and the statuses that come back.
    let rows = [
        ("silence", String::new(), "", vec![408]),
        ("a slow line", "GET /v1/".to_owned(), "a", vec![408]),
        ("a slow head", get.clone(), "X: y\r\n", vec![408]),
        (
            "a slow body",
            format!("{post}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"),
            " ",
            vec![400],
        ),
        ("no further request", format!("{get}\r\n"), "", vec![200]),
        ("a slow head after an answer", format!("{get}\r\n"), "G", vec![200]),
        ("half a head behind a request", format!("{get}\r\nGET /"), "", vec![200]),
        ("empty lines after an answer", format!("{get}\r\n"), "\r\n", vec![200]),
        ("a slow body that nobody reads", format!("{get}Content-Length: 60000\r\n\r\n"), "a", vec![200]),
        (
            "slow chunks that nobody reads",
            format!("{get}Transfer-Encoding: chunked\r\n\r\n"),
            "1\r\na\r\n",
            vec![200],
        ),
        (
            "slow chunks of a stranger's",
            "GET /v1/whoami HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            "1\r\na\r\n",
            vec![401],
        ),
        (
            "an expectation, and no body",
            format!(
                "{post}Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
            ),
            "",
            vec![100, 400],
        ),
    ];
    std::thread::scope(|scope| {
        for (row, first, then, statuses) in rows {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut stream = connected(gateway);
                let mut writer = stream.try_clone().expect("cloned");
                _ = writer.write_all(first.as_bytes());
                let trickle = scope.spawn(move || {
                    let until = Instant::now() + LONG;
                    while !then.is_empty()
                        && Instant::now() < until
                        && writer.write_all(then.as_bytes()).is_ok()
                    {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                });
                let told = until_the_end(&mut stream, row);
                let told = String::from_utf8_lossy(&told).into_owned();
                let seen: Vec<u16> = told
                    .split("HTTP/1.1 ")
                    .skip(1)
                    .filter_map(|answer| answer.split(' ').next()?.parse().ok())
                    .collect();
                assert_eq!(seen, statuses, "{row}: {told}");
                drop(stream);
                trickle.join().expect("it ends");
            });
        }
    });
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn who_floods_what_nobody_reads_is_hung_up_on() {
    let gateway = TestGateway::with(Setup { overrides: HASTY, limits: Some(FREE), ..Setup::default() });
    let mut stream = connected(&gateway);
    stream.set_write_timeout(Some(LONG)).expect("a timeout");
    _ = stream.write_all(b"GET /v1/whoami HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let until = Instant::now() + LONG;
    while stream.write_all(chunk.as_bytes()).is_ok() {
        assert!(Instant::now() < until, "it is still read");
    }
}

#[test]
fn who_does_not_take_its_answers_is_hung_up_on() {
    let gateway = TestGateway::with(Setup { overrides: HASTY, limits: Some(FREE), ..Setup::default() });
    let asked = 16;
    let get = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let whole = call(gateway.address, "GET", "/docs/swagger-ui-bundle.js", None, None);
    let length: usize = whole.header("content-length").and_then(|text| text.parse().ok()).expect("a length");
    for (row, pause) in [("none of them", LONG / 4), ("a little at a time", Duration::from_millis(100))] {
        let mut stream = connected(&gateway);
        stream.write_all(get.repeat(asked).as_bytes()).expect("written");
        let (mut taken, until) = (0, Instant::now() + LONG / 4);
        while Instant::now() < until {
            std::thread::sleep(pause);
            taken += stream.read(&mut [0; 100]).unwrap_or_default();
        }
        // What the two kernels hold comes still; more would, were somebody there to send it.
        let rest = until_the_end(&mut stream, row).len();
        assert!(taken + rest < asked * length, "{row}: all {} bytes came", taken + rest);
    }
    // One that takes a whole file slowly, but takes it, has it.
    let mut stream = connected(&gateway);
    stream.write_all(get.as_bytes()).expect("written");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(read(&mut stream).status, 200);
}

#[test]
fn more_connections_than_may_be_wait_for_those_to_end() {
    let mut overrides = HASTY.to_vec();
    overrides.extend([("ZENGATE__SERVER__WORKERS", "1"), ("ZENGATE__SERVER__MAX_CONNECTIONS", "4")]);
    let gateway = TestGateway::with(Setup { overrides: &overrides, limits: Some(FREE), ..Setup::default() });
    let mut silent: Vec<_> = (0..12).map(|_| connected(&gateway)).collect();
    // All are the kernel's at once, four of them the gateway's.
    let began = Instant::now();
    let answered = call(gateway.address, "GET", "/v1/whoami", Some(&payments()), None);
    let waited = began.elapsed();
    assert_eq!(answered.status, 200);
    // Those before it end four at a time, a second each.
    assert!(waited > Duration::from_secs(2), "it was served beside twelve others: {waited:?}");
    for stream in &mut silent {
        assert!(until_the_end(stream, "silent").starts_with(b"HTTP/1.1 408"));
    }
}
