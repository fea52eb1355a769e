//! Starts what a test needs and stops it again, by process id.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::ports::free_port;

pub const ACCESS_KEY_ID: &str = "ak-test-1";
pub const ACCESS_KEY_PASSWORD: &str = "sk-test-secret-1";

/// A limits.toml that no test meets.
pub const FREE: &str = "[default]\nteam = { requests = 1000000, period_seconds = 1, burst = 1000000 }\n\
    caller = { requests = 1000000, period_seconds = 1, burst = 1000000 }\ninstance_cooldown_seconds = 0\n";

/// A child process; killed when dropped.
pub struct Process(Child);

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    pub fn of(child: Child) -> Self {
        Self(child)
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_some()
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The one process that it has started: of strace, what is traced.
    pub fn child(&self) -> u32 {
        let children =
            Command::new("pgrep").args(["-P", &self.id().to_string()]).output().expect("pgrep runs");
        String::from_utf8_lossy(&children.stdout).trim().parse().expect("one child")
    }

    /// What it was started with a pipe for, once.
    pub fn stderr(&mut self) -> ChildStderr {
        self.0.stderr.take().expect("it is piped")
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "kill {signal}");
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        self.0.kill().expect("it has not been waited for");
        self.0.wait().expect("it can be waited for");
    }

    /// Waits for its end, 30 seconds at most.
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.0.try_wait().expect("it can be asked") {
                return status;
            }
            assert!(Instant::now() < until, "the process does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a file that the process writes by rename.
    pub fn wait_for(&mut self, file: &Path) -> Value {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Ok(json) = fs::read(file) {
                return serde_json::from_slice(&json).expect("a ready file is written at once");
            }
            let ended = self.0.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "the process ended before it was ready: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} was not written within 60 s", file.display());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// A `zengate simulate` process with the instances of `instances.json`.
pub struct Simulator {
    pub process: Process,
    pub url: String,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Simulator {
    /// Returns once it listens.
    pub fn start() -> Self {
        Self::with(&beside("instances.json"))
    }

    /// With `ins-0`, `ins-1` and so on, all of them the payments team's.
    pub fn of(count: usize) -> Self {
        Self::named((0..count).map(|n| format!("ins-{n}")))
    }

    /// The same with these names.
    pub fn named(ids: impl Iterator<Item = String>) -> Self {
        let instance = |id| {
            serde_json::json!({ "instanceId": id, "status": "RUNNING", "enableAgent": true,
                "tags": { "tags": [{ "key": "team", "value": "payments" }] } })
        };
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("instances.json");
        fs::write(&file, ids.map(instance).collect::<Value>().to_string()).expect("written");
        Self::with(&file)
    }

    /// With the instances of this file.
    pub fn with(instances: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, ready) = (folder.path().join("key"), folder.path().join("ready.json"));
        fs::write(&key, ACCESS_KEY_PASSWORD).expect("written");
        let mut command = zengate();
        command.args(["simulate", "--port", "0", "--access-key-id", ACCESS_KEY_ID]);
        command.arg("--instances").arg(instances);
        command.arg("--access-key-password-file").arg(key).arg("--ready-file").arg(&ready);
        let mut process = Process::spawn(command.stdout(Stdio::null()));
        let ready = process.wait_for(&ready);
        assert_eq!(ready["pid"], process.id());
        let url = ready["url"].as_str().expect("a URL").to_owned();
        let address = address_of(&url);
        Self { process, url, address, _folder: folder }
    }

    pub fn get(&self, what: &str) -> Value {
        crate::http::call(self.address, "GET", &format!("/_simulator/{what}"), None, None).json()
    }

    pub fn fault(&self, fault: &str) {
        let answer = crate::http::call(self.address, "POST", "/_simulator/faults", None, Some(fault));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Waits until this many resets were read.
    pub fn wait_for_resets(&self, count: usize) {
        let until = Instant::now() + Duration::from_secs(20);
        let resets = || {
            let calls = self.get("calls")["calls"].as_array().cloned().unwrap_or_default();
            calls.iter().filter(|call| call["action"] == "ResetInstancePassword").count()
        };
        while resets() < count {
            assert!(Instant::now() < until, "the reset reaches Zenlayer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A folder with a whole configuration for `zengate serve`, listening on free ports.
pub fn configured(simulator: &Simulator) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    copy(&root("policies"), &path.join("policies"));
    fs::write(path.join("jwks.json"), crate::keys::jwks()).expect("written");
    fs::write(path.join("key"), ACCESS_KEY_PASSWORD).expect("written");
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:{}\"\nworkers = 1\ndrain_seconds = 0\n[operations]\nlisten = \"127.0.0.1:{}\"\n\
         [issuers.corp]\nissuer = \"{}\"\nalgorithms = [\"ES256\"]\njwks_file = \"jwks.json\"\n\
         may_assert_teams = [\"payments\"]\n[upstream]\nurl = \"{}\"\naccess_key_id = \"{ACCESS_KEY_ID}\"\n\
         access_key_password_file = \"key\"\n\
         requests_per_second = 10000\nmax_concurrent = 512\n",
        free_port(),
        free_port(),
        crate::keys::CORP,
        simulator.url,
    );
    fs::write(path.join("zengate.toml"), config).expect("written");
    folder
}

/// Puts the trail of such a folder into this database; a gateway waits for it as long as this lease, in seconds, allows.
pub fn in_postgres(folder: &Path, url: &str, lease: u64) {
    fs::write(folder.join("url"), url).expect("written");
    fs::write(folder.join("signing-key"), crate::postgres::SIGNING_KEY).expect("written");
    fs::write(folder.join("idempotency-key"), "a secret that all replicas of a test share").expect("written");
    let audit = format!(
        "[idempotency]\nkey_file = \"idempotency-key\"\n[audit]\nstore = \"postgres\"\nurl_file = \"url\"\nsigning_key_file = \"signing-key\"\n\
         timeout_seconds = {}\nlease_seconds = {lease}\n",
        lease / 2
    );
    configure(folder, &audit);
}

/// Adds to the configuration of such a folder.
pub fn configure(folder: &Path, text: &str) {
    let config = folder.join("zengate.toml");
    let before = fs::read_to_string(&config).expect("read");
    fs::write(&config, before + text).expect("written");
}

/// A `zengate serve` process.
pub struct Gateway {
    pub process: Process,
    pub address: SocketAddr,
    pub operations: SocketAddr,
}

impl Gateway {
    /// Serves the folder; `wrap` may put a tool before the binary. Returns once it is ready.
    pub fn start(folder: &Path, log: Stdio, wrap: impl FnOnce(Command) -> Command) -> Self {
        let config = folder.join("zengate.toml");
        let text: toml::Table = fs::read_to_string(&config).expect("read").parse().expect("TOML");
        let address =
            |table: &str| text[table]["listen"].as_str().and_then(|a| a.parse().ok()).expect("an address");
        let (address, operations) = (address("server"), address("operations"));
        let mut command = zengate();
        command.arg("serve").arg("--config").arg(&config);
        let mut command = wrap(command);
        let mut process = Process::spawn(command.stdout(log));
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(operations).is_err() {
            assert!(process.0.try_wait().expect("asked").is_none(), "the gateway ended before it was ready");
            assert!(Instant::now() < until, "the gateway is not ready within 60 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, address, operations }
    }

    /// Serves the folder under strace, which writes into `trace` what these options ask for.
    pub fn traced(folder: &Path, trace: &Path, options: &[&str]) -> Self {
        Self::start(folder, Stdio::null(), |zengate| {
            let mut strace = tool("ZENGATE_TEST_STRACE", "strace");
            strace.args(["-f", "-o"]).arg(trace).args(options);
            strace.arg(zengate.get_program()).args(zengate.get_args());
            strace
        })
    }

    /// Stops what is traced; strace ends with it, and the trace is whole.
    pub fn end_traced(mut self) {
        let child = self.process.child().to_string();
        assert!(Command::new("kill").args(["-TERM", &child]).status().expect("kill runs").success());
        self.process.ended();
    }

    pub fn reset(&self, instance: &str, password: &str) -> crate::http::Answer {
        let body = serde_json::json!({ "password": password }).to_string();
        let path = format!("/v1/instances/{instance}/password-resets");
        crate::http::call(self.address, "POST", &path, Some(&payments()), Some(&body))
    }
}

pub fn payments() -> String {
    crate::keys::token(&crate::keys::claims("alice", serde_json::json!(["payments"])))
}

pub fn zengate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zengate"));
    command.stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
    command
}

pub fn run(arguments: &[&str]) -> Output {
    zengate().args(arguments).output().expect("the binary runs")
}

/// Both streams of an output, for a message.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A tool that `make tools` installs: named by a variable, or at its usual place.
pub fn tool(variable: &str, usual: &str) -> Command {
    let line = std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
    let mut words = line.split(' ');
    let program = words.next().expect("a program");
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().expect("sh runs");
    assert!(found.status.success(), "{program} is missing: run `make tools`");
    let mut command = Command::new(program);
    command.args(words).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

pub fn python() -> Command {
    let usual = root("target/tools/venv/bin/python");
    tool("ZENGATE_TEST_PYTHON", &usual.display().to_string())
}

/// What `make tools` installs for Node.
pub fn node_modules() -> PathBuf {
    let usual = || root("target/tools/node/node_modules");
    std::env::var_os("ZENGATE_TEST_NODE_MODULES").map_or_else(usual, PathBuf::from)
}

/// A script of this folder that drives Chromium, with these arguments behind the modules and the browser; `folder` is where
/// the browser has its profile. Returns what it said.
pub fn in_browser(script: &str, arguments: &[&str], folder: &Path) -> String {
    let output = tool("ZENGATE_TEST_NODE", "node")
        .arg(beside(script))
        .arg(node_modules())
        .arg(tool("ZENGATE_TEST_CHROMIUM", "/usr/bin/chromium").get_program())
        .args(arguments)
        .env("TMPDIR", folder)
        .output()
        .expect("Node runs");
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// Begins a batch that nobody waits for; its path.
pub fn begin_batch(at: SocketAddr, token: &str, ids: &[String]) -> String {
    let body = serde_json::json!({ "instanceIds": ids, "password": "Abcd~1234" }).to_string();
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("prefer", "respond-async"),
    ];
    let request = crate::http::request("POST", "/v1/password-resets", &headers, Some(body.as_bytes()));
    let told = crate::http::raw(at, &request);
    assert_eq!(told.status, 202, "{told:?}");
    told.header("location").expect("a path").to_owned()
}

/// Writes one section of a page of docs/ in place of the one before, or at the end.
pub fn report(page: &str, title: &str, text: &str) {
    let page = Path::new(page);
    let before = fs::read_to_string(page).expect("read");
    let heading = format!("## {title}\n");
    let start = before.find(&heading).unwrap_or(before.len());
    let rest = &before[before.len().min(start + heading.len())..];
    let rest = rest.find("\n## ").map_or("", |at| &rest[at..]);
    let kept = before[..start].trim_end();
    fs::write(page, format!("{kept}\n\n{heading}\n{}\n{rest}", text.trim_end())).expect("written");
}

pub fn address_of(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().expect("an address")
}

/// A file of the repository.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file of this folder.
pub fn beside(name: &str) -> PathBuf {
    root("tests/process").join(name)
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("read") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy(&path, &target) } else { _ = fs::copy(&path, &target).expect("copied") }
    }
}
