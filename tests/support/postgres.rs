//! A throwaway PostgreSQL of the tests: a real server on loopback that is gone when its test is.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

/// Who may do everything in it.
pub const USER: &str = "zengate";
pub const PASSWORD: &str = "pg-test-secret-1";

pub struct Postgres {
    /// `postgres.sh`, which holds the server and ends it when its standard input ends: also when this process is
    /// killed, and for what is static and so never dropped.
    keeper: Child,
    talk: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
    pub address: SocketAddr,
    bin: PathBuf,
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
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut keeper = keeper.expect("sh runs");
        let stdout = BufReader::new(keeper.stdout.take().expect("it is piped"));
        let talk = Mutex::new((keeper.stdin.take(), stdout));
        let started = Self { keeper, talk, address, bin };
        started.start();
        started
    }

    /// The one that all tests share that let it be.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start_new);
        &SHARED
    }

    /// The URL of a new and empty database.
    pub fn database(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.ask(&self.url(), &format!("CREATE DATABASE {name}")).unwrap_or_else(|e| panic!("{e}"));
        url(self.address, &name)
    }

    /// The URL of the database that is there from the start.
    pub fn url(&self) -> String {
        url(self.address, "postgres")
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
        let mut talk = self.talk.lock().expect("it did what it was told before");
        let stdin = talk.0.as_mut().expect("it is there until the drop");
        writeln!(stdin, "{word}").expect("it listens");
        let mut answer = String::new();
        talk.1.read_line(&mut answer).expect("text");
        assert_eq!(answer, "done\n", "{word}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(talk) = self.talk.get_mut() {
            drop(talk.0.take());
        }
        _ = self.keeper.wait();
    }
}

/// A database where it is reached at this address: its own, or a proxy's.
pub fn url(address: SocketAddr, database: &str) -> String {
    format!("postgres://{USER}:{PASSWORD}@{address}/{database}")
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
