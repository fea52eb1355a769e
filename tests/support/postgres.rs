//! A throwaway PostgreSQL of the tests: a real server on loopback that is gone when they are.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

/// The password of `zengate`, who may do everything in it; as test.sh has it. A URL needs some of it encoded.
pub const PASSWORD: &str = "c@nary/secret";

/// For the checkpoints of replicas, which share one key. This one, of `openssl genpkey -algorithm ed25519`, is nobody's.
pub const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBwSVsNeq5GeMjHlnl+L6dfu/MDWg5kOSq2qaDC1mVvc\n-----END PRIVATE KEY-----\n";

pub struct Postgres {
    pub address: SocketAddr,
    bin: PathBuf,
    /// None: test.sh holds it.
    keeper: Option<Keeper>,
}

/// `postgres.sh`, which holds the server and ends it when its standard input ends: also when this process is killed,
/// and for what is static and so never dropped.
struct Keeper {
    shell: Child,
    talk: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
}

impl Postgres {
    /// A server of its own, for a test that stops it.
    pub fn start_new() -> Self {
        let bin = bin();
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let mut command = Command::new("sh");
        command.arg(here().join("tests/support/postgres.sh")).arg(&bin);
        command.args([&address.port().to_string(), PASSWORD]);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let stdout = BufReader::new(shell.stdout.take().expect("it is piped"));
        let talk = Mutex::new((shell.stdin.take(), stdout));
        let started = Self { address, bin, keeper: Some(Keeper { shell, talk }) };
        started.start();
        started
    }

    /// The one that all tests share that let it be: one for a whole run, or one for this process where nobody
    /// started that.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Postgres> = LazyLock::new(|| match std::env::var("ZENGATE_TEST_POSTGRES") {
            Ok(at) => Postgres { address: at.parse().expect("an address"), bin: bin(), keeper: None },
            Err(_) => Postgres::start_new(),
        });
        &SHARED
    }

    /// The URL of a new and empty database.
    pub fn database(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        self.sql(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://zengate:c%40nary%2Fsecret@{}/{database}", self.address)
    }

    /// This URL, where something stands between.
    pub fn by_way_of(&self, address: SocketAddr, url: &str) -> String {
        url.replace(&self.address.to_string(), &address.to_string())
    }

    /// What psql answers to what must succeed.
    pub fn sql(&self, url: &str, sql: &str) -> String {
        self.ask(url, sql).unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    /// What psql answers, or why it cannot.
    pub fn ask(&self, url: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"]);
        let output = psql.args(["--command", sql, url]).stdin(Stdio::null()).output().expect("psql runs");
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Returns once it takes connections; after a kill it first recovers.
    pub fn start(&self) {
        self.tell("start");
    }

    /// In order, though without waiting for those who are connected.
    pub fn stop(&self) {
        self.tell("stop");
    }

    /// SIGKILL to all its processes.
    pub fn kill(&self) {
        self.tell("kill");
    }

    /// SIGSTOP to all its processes: the kernel still takes connections for it, and nobody answers.
    pub fn pause(&self) {
        self.tell("pause");
    }

    /// Those go on that a pause has stopped.
    pub fn resume(&self) {
        self.tell("resume");
    }

    fn tell(&self, word: &str) {
        let keeper = self.keeper.as_ref().expect("one of its own: others use the shared one");
        let mut talk = keeper.talk.lock().expect("it did what it was told before");
        let stdin = talk.0.as_mut().expect("it is there until the drop");
        writeln!(stdin, "{word}").expect("it listens");
        let mut answer = String::new();
        talk.1.read_line(&mut answer).expect("text");
        assert_eq!(answer, "done\n", "{word}");
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

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn bin() -> PathBuf {
    if let Some(named) = std::env::var_os("ZENGATE_TEST_POSTGRES_BIN") {
        return named.into();
    }
    let found = Command::new("sh").arg(here().join("tests/tools/postgres_bin.sh")).output().expect("sh runs");
    assert!(found.status.success(), "PostgreSQL is missing: run `make tools`");
    String::from_utf8(found.stdout).expect("text").trim().into()
}
