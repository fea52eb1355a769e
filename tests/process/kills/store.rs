//! The trail's two stores: how a gateway is put onto one, how it is made slow, and how it is read without the gateway.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::support::{in_postgres, tool};

pub enum Store {
    Sqlite { trail: PathBuf },
    Postgres { url: String, way: Proxy },
}

/// Where a commit takes tens of milliseconds, few kills miss one.
#[derive(Clone, Copy)]
pub enum Pace {
    Quick,
    Slow,
}

impl Store {
    pub fn sqlite(folder: &Path) -> Self {
        Self::Sqlite { trail: folder.join("zengate.db") }
    }

    pub fn postgres(folder: &Path) -> Self {
        let server = Postgres::shared();
        let (url, way) = (server.database(), Proxy::to(server.address));
        in_postgres(folder, &server.by_way_of(way.address, &url), 6);
        Self::Postgres { url, way }
    }

    /// The gateway's command, with the store as slow as that.
    pub fn at(&self, pace: Pace, command: Command) -> Command {
        match (self, pace) {
            (Self::Sqlite { .. }, Pace::Quick) => command,
            (Self::Sqlite { .. }, Pace::Slow) => with_slow_disk(&command),
            (Self::Postgres { way, .. }, pace) => {
                let longer = if matches!(pace, Pace::Slow) { 5 } else { 0 };
                way.delay(Duration::from_millis(longer));
                command
            }
        }
    }

    pub fn slow(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "each write of the store takes 2 ms more and each sync 5",
            Self::Postgres { .. } => "whatever passes between the gateway and PostgreSQL takes 5 ms more",
        }
    }

    /// In PostgreSQL a new writer first waits until the lease of the one before has run out.
    pub fn closes_at_the_start(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }

    /// The columns of each row.
    pub fn rows(&self, columns: &[&str], rest: &str) -> Vec<Vec<Value>> {
        let columns = columns.join(", ");
        let parsed = |text: &str| serde_json::from_str(text).expect("JSON");
        match self {
            Self::Sqlite { trail } => {
                let store =
                    Connection::open_with_flags(trail, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a trail");
                let mut select = store.prepare(&format!("SELECT json_array({columns}) {rest}")).expect("SQL");
                let rows = select.query_map([], |row| row.get::<_, String>(0)).expect("a trail");
                rows.map(|row| parsed(&row.expect("readable"))).collect()
            }
            Self::Postgres { url, .. } => {
                let select = format!("SELECT json_build_array({columns}) {rest}");
                Postgres::shared().sql(url, &select).lines().map(parsed).collect()
            }
        }
    }
}

fn with_slow_disk(command: &Command) -> Command {
    // Not as the parent, so that the process that is started and killed is the gateway.
    let mut strace = tool("ZENGATE_TEST_STRACE", "strace");
    strace.args(["-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=pwrite64,fsync,fdatasync"]);
    strace.args(["-e", "inject=pwrite64:delay_enter=2000", "-e", "inject=fsync,fdatasync:delay_enter=5000"]);
    strace.arg(command.get_program()).args(command.get_args());
    // It remarks on every kill.
    strace.stderr(Stdio::null());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace
}
