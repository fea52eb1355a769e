use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};

use super::record::Head;
use super::writer::Projection;
use super::{OpenError, Position, Reset};
use crate::domain::{ResetId, Status, rfc3339};

/// The schema's version, in `PRAGMA user_version`.
pub(super) const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE records (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        writer TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        hash TEXT NOT NULL,
        record TEXT NOT NULL,
        UNIQUE (writer, sequence)
    ) STRICT;
    CREATE TRIGGER records_are_never_updated BEFORE UPDATE ON records
        BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;
    CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records
        BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;
    CREATE TABLE resets (
        id TEXT PRIMARY KEY,
        instance TEXT NOT NULL,
        team TEXT NOT NULL,
        status TEXT NOT NULL,
        request_id TEXT NOT NULL,
        upstream_request_id TEXT,
        upstream_code TEXT,
        reason TEXT,
        ticket TEXT,
        policies TEXT NOT NULL,
        created_at TEXT NOT NULL,
        finished_at TEXT,
        writer TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        hash TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX resets_sent ON resets (id) WHERE status = 'sent';
    PRAGMA user_version = 1;
";

/// Opens the trail for writing, creating it for its owner's eyes alone.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let name = || path.display().to_string();
    let created = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    created.map_err(|source| OpenError::Io { path: name(), source })?;
    let store = |source| OpenError::Store { path: name(), source };
    let connection = Connection::open(path).map_err(store)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(store)?;
    // Full sync: a commit that returned survives a power cut.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(store)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(store)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(store)?;
    match found {
        0 => connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;")).map_err(store)?,
        VERSION => {}
        found => return Err(OpenError::Version { path: name(), found }),
    }
    Ok(connection)
}

/// Opens the trail for reading, beside whoever writes it.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// The last record of every chain, oldest first.
pub(super) fn heads(connection: &Connection) -> Result<Vec<Head>, rusqlite::Error> {
    let mut statement = connection.prepare(
        "SELECT writer, sequence, hash FROM records
         WHERE position IN (SELECT max(position) FROM records GROUP BY writer) ORDER BY position",
    )?;
    let head = |row: &Row<'_>| {
        Ok(Head { writer: row.get(0)?, sequence: row.get::<_, i64>(1)? as u64, hash: row.get(2)? })
    };
    statement.query_map([], head)?.collect()
}

/// The resets that have an intent and no outcome.
pub(super) fn open_resets(connection: &Connection) -> Result<Vec<ResetId>, rusqlite::Error> {
    let mut statement = connection.prepare("SELECT id FROM resets WHERE status = 'sent' ORDER BY id")?;
    statement.query_map([], |row| parsed(row, 0))?.collect()
}

/// One record, and what it changes in the projection.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    position: &Position,
    record: &str,
    projection: &Projection,
) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT INTO records (writer, sequence, hash, record) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![position.writer, position.sequence as i64, position.hash, record])?;
    match projection {
        Projection::None => Ok(()),
        Projection::Open(reset) => {
            let mut statement = transaction.prepare_cached(
                "INSERT INTO resets (id, instance, team, status, request_id, reason, ticket, policies, created_at,
                                     writer, sequence, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?;
            let policies = serde_json::to_string(&reset.policies).expect("a list of texts");
            statement.execute(params![
                reset.id.to_string(),
                reset.instance.as_str(),
                reset.team.as_str(),
                reset.status.as_str(),
                reset.request_id.as_str(),
                reset.reason,
                reset.ticket,
                policies,
                rfc3339(reset.created_at),
                position.writer,
                position.sequence as i64,
                position.hash,
            ])?;
            Ok(())
        }
        Projection::Close { id, outcome, at } => {
            let mut statement = transaction.prepare_cached(
                "UPDATE resets SET status = ?2, upstream_code = ?3, upstream_request_id = ?4, finished_at = ?5
                 WHERE id = ?1",
            )?;
            statement.execute(params![
                id.to_string(),
                outcome.status().as_str(),
                outcome.upstream_code(),
                outcome.upstream_request_id(),
                rfc3339(*at),
            ])?;
            Ok(())
        }
    }
}

/// The reset of this id.
pub(super) fn reset(connection: &Connection, id: ResetId) -> Result<Option<Reset>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT id, instance, team, status, request_id, upstream_request_id, upstream_code, reason, ticket,
                    policies, created_at, finished_at, writer, sequence, hash
             FROM resets WHERE id = ?1",
        )?
        .query_row([id.to_string()], |row| {
            let status: String = row.get(3)?;
            let policies: String = row.get(9)?;
            let finished: Option<String> = row.get(11)?;
            Ok(Reset {
                id: parsed(row, 0)?,
                instance: parsed(row, 1)?,
                team: parsed(row, 2)?,
                status: Status::from_name(&status).ok_or_else(|| unreadable(3))?,
                request_id: parsed(row, 4)?,
                upstream_request_id: row.get(5)?,
                upstream_code: row.get(6)?,
                reason: row.get(7)?,
                ticket: row.get(8)?,
                policies: serde_json::from_str(&policies).map_err(|_| unreadable(9))?,
                created_at: parsed(row, 10)?,
                finished_at: finished.map(|text| text.parse::<Timestamp>()).transpose().map_err(|_| unreadable(11))?,
                receipt: Position { writer: row.get(12)?, sequence: row.get::<_, i64>(13)? as u64, hash: row.get(14)? },
            })
        })
        .optional()
}

fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> Result<T, rusqlite::Error> {
    row.get::<_, String>(column)?.parse().map_err(|_| unreadable(column))
}

/// The store holds what this program does not write.
fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(
        column,
        "not as zengate writes it".to_owned(),
        rusqlite::types::Type::Text,
    )
}
