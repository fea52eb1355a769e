use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sections::seconds;
use super::{Audit, AuditStore, Secret, Table, read_file, without_line_end};

/// `[idempotency]`: requests that may be sent again by their `Idempotency-Key`, and are served once.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// `idempotency.life_seconds`, default 86,400: how long a key is known after its request.
    pub life: Duration,
    /// `idempotency.key_file`: what keys the MAC that tells one request from another; default: `audit.path` with
    /// `.idempotency-key` behind it. Required with PostgreSQL, since replicas must share it.
    pub key_file: PathBuf,
    /// Whether a key that is not there is made: only where the file was not named.
    pub make_key: bool,
    /// `idempotency.previous_key_file`: of a further key, whose requests are known too; none.
    pub previous_key_file: Option<PathBuf>,
    /// `idempotency.max_in_flight`, default 10,000: most keys between their look-up and their intent.
    pub max_in_flight: usize,
}

/// Longest key, in bytes, and the shortest: as long as the MAC.
const LENGTHS: std::ops::RangeInclusive<usize> = 32..=1024;

impl Idempotency {
    /// The key in a file; one line end at its end is not part of it.
    pub fn read_key(file: &Path) -> Result<Secret, String> {
        let bytes = read_file(file, 2 * LENGTHS.end());
        let bytes = bytes.map_err(|e| format!("{} cannot be read: {e}", file.display()))?;
        match without_line_end(&bytes) {
            key if LENGTHS.contains(&key.len()) => Ok(Secret::new(key)),
            _ => Err(format!(
                "{} must hold 32 to 1024 bytes: `openssl rand -hex 32` makes such",
                file.display()
            )),
        }
    }
}

/// `audit` is None where it has a fault of its own.
pub(super) fn read(mut table: Table<'_>, audit: Option<&Audit>) -> Option<Idempotency> {
    let life = seconds(&mut table, "life_seconds", 86_400, 60..=2_592_000);
    let max_in_flight = table.integer("max_in_flight", Some(10_000), 1..=1_000_000);
    let beside = audit.map(|audit| match &audit.store {
        AuditStore::Sqlite { path } => Some(beside(path)),
        AuditStore::Postgres { .. } => None,
    });
    let (key_file, make_key) = match (table.has("key_file"), beside) {
        (false, Some(Some(beside))) => (Some(beside), true),
        (false, None) => (None, true),
        (false, Some(None)) => {
            table.fault(
                "key_file",
                "is required with audit.store = \"postgres\": replicas must share one key",
            );
            (None, false)
        }
        (true, _) => (key(&mut table, "key_file"), false),
    };
    let previous_key_file = match table.has("previous_key_file") {
        true => key(&mut table, "previous_key_file").map(Some),
        false => Some(None),
    };
    Some(Idempotency {
        life: life?,
        key_file: key_file?,
        make_key,
        previous_key_file: previous_key_file?,
        max_in_flight: max_in_flight? as usize,
    })
}

/// The file named at this key, which holds a key now.
fn key(table: &mut Table<'_>, name: &str) -> Option<PathBuf> {
    let file = table.path(name, None)?;
    Idempotency::read_key(&file).map_err(|message| table.fault(name, message)).ok()?;
    Some(file)
}

/// Where the key lies unless it is named.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".idempotency-key");
    PathBuf::from(name)
}
