//! A throwaway PostgreSQL for tests. Knows nothing but std.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The superuser's: what no message may hold.
pub const PASSWORD: &str = "c@nary/secret";

/// A server of its own, stopped when dropped, or soon after the process has ended.
pub struct Postgres {
    folder: PathBuf,
    pub port: u16,
    /// Nobody waits for it: it ends after this process.
    watcher: Option<Child>,
}

/// The server that the tests of this process share: each takes a database of its own from it.
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::start(&[]))
}

impl Postgres {
    /// Makes a server in a new folder and starts it, with these lines in its configuration.
    pub fn start(configuration: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("zengate-pg-{}-{number}", std::process::id()));
        _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&folder));
        }
        let (data, password) = (folder.join("data"), folder.join("password"));
        fs::write(&password, PASSWORD).expect("written");
        let mut initdb = tool("initdb");
        initdb.args(["-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "--auth-local=trust"]);
        initdb.arg("--auth-host=scram-sha-256").arg("--pwfile").arg(password).arg("-D").arg(&data);
        run(&mut initdb);
        let port = free_port();
        let mut server = Self { folder, port, watcher: None };
        let socket = server.folder.display();
        let mut lines = vec![
            format!("port = {port}"),
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("unix_socket_directories = '{socket}'"),
            "max_connections = 200".to_owned(),
        ];
        lines.extend(configuration.iter().map(|&line| line.to_owned()));
        give(&format!("cat >> '{}'", data.join("postgresql.auto.conf").display()), &lines.join("\n"));
        server.up();
        server.watcher = Some(server.watch());
        server
    }

    /// Starts it again after [`Self::down`].
    pub fn up(&self) {
        let log = self.folder.join("log");
        run(self.ctl().arg("-l").arg(log).args(["-w", "-t", "60", "start"]));
    }

    /// Stops it: `fast` breaks connections in order, `immediate` as a crash does.
    pub fn down(&self, mode: &str) {
        run(self.ctl().args(["-w", "-t", "60", "-m", mode, "stop"]));
    }

    /// Stops all its processes where they are; [`Self::go_on`] lets them go on.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// Runs a statement as the superuser, and gives what `psql` prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let mut psql = tool("psql");
        psql.args([
            "-X",
            "-At",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-d",
            database,
        ]);
        run(psql.arg("-h").arg(&self.folder).args(["-c", sql])).trim().to_owned()
    }

    /// A new, empty database.
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("trail_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    pub fn url(&self, database: &str) -> String {
        self.url_by(self.port, database)
    }

    /// By another port, where something stands between.
    pub fn url_by(&self, port: u16, database: &str) -> String {
        format!("postgres://postgres:c%40nary%2Fsecret@127.0.0.1:{port}/{database}")
    }

    /// Speaks TLS from now on, by this certificate and key (PEM).
    pub fn with_tls(&self, certificate: &str, key: &str) {
        let data = self.folder.join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let write = format!("umask 077; cat > '{}'", data.join(name).display());
            give(&write, text);
        }
        give(&format!("cat >> '{}'", data.join("postgresql.auto.conf").display()), "\nssl = on\n");
        run(self.ctl().arg("reload"));
        eventually("TLS is on", Duration::from_secs(10), || self.sql("postgres", "SHOW ssl") == "on");
    }

    fn ctl(&self) -> Command {
        let mut ctl = tool("pg_ctl");
        ctl.arg("-D").arg(self.folder.join("data"));
        ctl
    }

    fn postmaster(&self) -> String {
        let file = self.folder.join("data/postmaster.pid");
        let text = run(as_owner("cat").arg(file));
        text.lines().next().expect("a line").to_owned()
    }

    fn signal(&self, signal: &str) {
        let postmaster = self.postmaster();
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        // The postmaster first: it must not see its children stop.
        let mut pids = vec![postmaster];
        pids.extend(children.expect("Linux").split_whitespace().map(str::to_owned));
        for pid in pids {
            // A backend may have ended since.
            _ = as_owner("kill").args(["-s", signal, &pid]).stderr(Stdio::null()).status();
        }
    }

    /// A shell of its own group that ends the server once this process has ended, however it ends.
    fn watch(&self) -> Child {
        let (pid, folder) = (std::process::id(), self.folder.display());
        let ctl = bin().join("pg_ctl");
        let script = format!(
            "while [ -d /proc/{pid} ]; do sleep 1; done
             read -r server <'{folder}/data/postmaster.pid' && kill -s CONT $server $(cat /proc/$server/task/$server/children)
             '{}' -D '{folder}/data' -m immediate stop; rm -rf '{folder}'",
            ctl.display()
        );
        let mut shell = as_owner("setsid");
        shell.args(["sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().expect("sh runs")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.go_on();
        _ = self.ctl().args(["-m", "immediate", "stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of the binaries: `ZENGATE_TEST_POSTGRES_BIN`, or Debian's newest, or that of `pg_ctl` in the path.
fn bin() -> PathBuf {
    if let Some(bin) = std::env::var_os("ZENGATE_TEST_POSTGRES_BIN") {
        return bin.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    let number = |bin: &PathBuf| -> u32 {
        bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .max_by_key(number)
        .or_else(|| std::env::split_paths(&path).find(|bin| bin.join("initdb").exists()))
        .expect("PostgreSQL is installed (Debian: apt-get install postgresql)")
}

fn tool(name: &str) -> Command {
    as_owner(bin().join(name))
}

/// PostgreSQL does not run as root.
fn as_owner(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// Runs a shell's line as the owner, with this text as its input.
fn give(line: &str, text: &str) {
    let mut shell = as_owner("sh").args(["-c", line]).stdin(Stdio::piped()).spawn().expect("sh runs");
    shell.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    assert!(shell.wait().expect("ends").success());
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").expect("Linux").uid() == 0
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Waits until it is so.
pub fn eventually(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < until, "{what}: not within {within:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
