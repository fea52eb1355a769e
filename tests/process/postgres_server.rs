//! The PostgreSQL of the tests is a real one, and does what it is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::postgres::Postgres;
use crate::proxy::Proxy;

/// Asks whether it would speak TLS; its answer is one byte (PostgreSQL's protocol, SSLRequest).
fn knock(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).expect("written");
    stream
}

fn answers_within(stream: &mut TcpStream, wait: Duration) -> bool {
    stream.set_read_timeout(Some(wait)).expect("set");
    match stream.read_exact(&mut [0]) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn it_stops_starts_pauses_and_dies_and_keeps_what_was_committed() {
    let postgres = Postgres::start_new();
    let database = postgres.database();
    let count = || postgres.ask(&database, "SELECT count(*) FROM t");
    postgres.ask(&database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").expect("committed");
    assert_eq!(postgres.ask(&database, "SHOW fsync").as_deref(), Ok("on"));
    postgres.stop();
    assert!(count().is_err_and(|why| why.contains("refused")));
    postgres.start();
    assert_eq!(count().as_deref(), Ok("1"));
    postgres.ask(&database, "INSERT INTO t VALUES (2)").expect("committed");
    postgres.kill();
    assert!(count().is_err());
    postgres.start();
    assert_eq!(count().as_deref(), Ok("2"));
    postgres.pause();
    let mut waiting = knock(postgres.address);
    assert!(!answers_within(&mut waiting, Duration::from_millis(200)));
    postgres.resume();
    assert!(answers_within(&mut waiting, Duration::from_secs(20)));
    assert_eq!(count().as_deref(), Ok("2"));
    let address = postgres.address;
    drop(postgres);
    assert!(TcpStream::connect(address).is_err(), "it is gone");
}

#[test]
fn the_way_to_it_is_cut_held_and_slowed() {
    let postgres = Postgres::shared();
    let mut proxy = Proxy::to(postgres.address);
    let database = postgres.database();
    let ask = |proxy: &Proxy| postgres.ask(&postgres.by_way_of(proxy.address, &database), "SELECT 1");
    assert_eq!(ask(&proxy).as_deref(), Ok("1"));
    proxy.delay(Duration::from_millis(30));
    let began = Instant::now();
    assert_eq!(ask(&proxy).as_deref(), Ok("1"));
    assert!(began.elapsed() > Duration::from_millis(4 * 30), "it takes several messages each way");
    proxy.delay(Duration::ZERO);
    proxy.hold();
    let mut waiting = knock(proxy.address);
    assert!(!answers_within(&mut waiting, Duration::from_millis(200)));
    proxy.release();
    assert!(answers_within(&mut waiting, Duration::from_secs(20)));
    proxy.close();
    assert!(ask(&proxy).is_err());
    proxy.reopen();
    assert_eq!(ask(&proxy).as_deref(), Ok("1"));
}
