//! A throwaway Redis of the tests: a real server on loopback that is gone when they are.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// The password of all its users. A URL needs some of it encoded.
pub const PASSWORD: &str = "c@nary/secret";

/// All that a gateway needs, as docs/configuration.md has it.
const GATEWAY: &str = "~zengate:* resetchannels -@all +auth +select +script|load +eval +evalsha +time +mget +get +set \
     +pexpire +zadd +zcard +zrank +zrem +zremrangebyscore";

pub struct Redis {
    pub address: SocketAddr,
    keeper: Keeper,
}

/// `redis.sh`, which holds the server and ends it when its standard input ends: also when this process is killed, and
/// for what is static and so never dropped.
struct Keeper {
    shell: Child,
    talk: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
}

impl Redis {
    /// A server of its own, for a test that stops it.
    pub fn start_new() -> Self {
        Self::with(&[])
    }

    /// With further lines of configuration.
    pub fn with(lines: &[String]) -> Self {
        let address = free();
        let mut all = vec![format!("port {}", address.port()), users()];
        all.extend_from_slice(lines);
        let redis = Self { address, keeper: Keeper::with(&all) };
        redis.start();
        redis
    }

    /// One that watches `master` for the service `quotas`, alone.
    pub fn sentinel(master: &Self) -> Self {
        let address = free();
        let (host, port) = (master.address.ip(), master.address.port());
        let lines = [
            format!("port {}", address.port()),
            format!("sentinel monitor quotas {host} {port} 1"),
            "sentinel auth-user quotas admin".to_owned(),
            format!("sentinel auth-pass quotas {PASSWORD}"),
            "sentinel down-after-milliseconds quotas 300".to_owned(),
            "sentinel failover-timeout quotas 2000".to_owned(),
        ];
        let sentinel = Self { address, keeper: Keeper::with(&lines) };
        sentinel.tell("sentinel");
        sentinel.answers();
        sentinel
    }

    /// The lines of one that follows this one.
    pub fn follower(&self) -> Vec<String> {
        let follow = format!("replicaof {} {}", self.address.ip(), self.address.port());
        vec![follow, "masteruser admin".to_owned(), format!("masterauth {PASSWORD}")]
    }

    /// The one that all tests of this process share that let it be.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Redis> = LazyLock::new(Redis::start_new);
        &SHARED
    }

    /// A prefix that no other test has.
    pub fn prefix() -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        format!("zengate:{}-{}:", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
    }

    /// Of a user who may no more than a gateway needs.
    pub fn url(&self) -> String {
        format!("redis://zengate:c%40nary%2Fsecret@{}", self.address)
    }

    /// Of one who may everything, for looking in from aside.
    pub fn admin(&self) -> redis::Connection {
        let client = redis::Client::open(format!("redis://admin:c%40nary%2Fsecret@{}", self.address));
        client.expect("a client").get_connection().expect("connected")
    }

    /// Returns once it answers. It is empty.
    pub fn start(&self) {
        self.tell("start");
        self.answers();
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.tell("kill");
    }

    /// SIGSTOP: the kernel still takes connections for it, and nobody answers.
    pub fn pause(&self) {
        self.tell("pause");
    }

    pub fn resume(&self) {
        self.tell("resume");
    }

    fn answers(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        let answer = || {
            let mut stream = TcpStream::connect(self.address).ok()?;
            stream.write_all(b"PING\r\n").ok()?;
            stream.read_exact(&mut [0]).ok()
        };
        while answer().is_none() {
            assert!(Instant::now() < until, "Redis does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn tell(&self, word: &str) {
        let mut talk = self.keeper.talk.lock().expect("it did what it was told before");
        let stdin = talk.0.as_mut().expect("it is there until the drop");
        writeln!(stdin, "{word}").expect("it listens");
        let mut answer = String::new();
        talk.1.read_line(&mut answer).expect("text");
        assert_eq!(answer, "done\n", "{word}");
    }
}

fn users() -> String {
    format!("user default off\nuser admin on >{PASSWORD} ~* &* +@all\nuser zengate on >{PASSWORD} {GATEWAY}")
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], super::ports::free_port()))
}

impl Keeper {
    fn with(lines: &[String]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/redis.sh");
        let mut command = Command::new("sh");
        command.arg(script).arg("redis-server").args(lines);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let stdout = BufReader::new(shell.stdout.take().expect("it is piped"));
        let talk = Mutex::new((shell.stdin.take(), stdout));
        Self { shell, talk }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Ok(talk) = self.talk.get_mut() {
            drop(talk.0.take());
        }
        _ = self.shell.wait();
    }
}
