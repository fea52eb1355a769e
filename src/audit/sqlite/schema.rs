use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::audit::store::{OpenError, StoreError};

/// The schema that this program brings a file to.
const VERSION: i64 = 3;

/// Schemas, each made of the one before it. A step adds only what the program before it can write beside: columns
/// that are computed or may be null, tables, indexes. `PRAGMA user_version` is the oldest schema whose program may still
/// write.
pub(super) const STEPS: [&str; VERSION as usize] = [
    "CREATE TABLE records (
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
    PRAGMA user_version = 1;",
    // Computed from the record's own bytes: they cannot say anything else than it.
    "ALTER TABLE records ADD COLUMN time TEXT
        AS (CASE WHEN json_valid(record) THEN json_extract(record, '$.time') END) VIRTUAL;
    ALTER TABLE records ADD COLUMN kind TEXT
        AS (CASE WHEN json_valid(record) THEN json_extract(record, '$.kind') END) VIRTUAL;
    ALTER TABLE records ADD COLUMN team TEXT
        AS (CASE WHEN json_valid(record) THEN json_extract(record, '$.team') END) VIRTUAL;
    ALTER TABLE records ADD COLUMN instance TEXT
        AS (CASE WHEN json_valid(record) THEN json_extract(record, '$.instanceId') END) VIRTUAL;
    ALTER TABLE records ADD COLUMN user TEXT
        AS (CASE WHEN json_valid(record)
            THEN json_extract(record, '$.issuer') || '|' || json_extract(record, '$.subject') END) VIRTUAL;
    ALTER TABLE records ADD COLUMN reset TEXT
        AS (CASE WHEN json_valid(record) THEN json_extract(record, '$.resetId') END) VIRTUAL;
    ALTER TABLE records ADD COLUMN request TEXT
        AS (CASE WHEN json_valid(record) THEN json_extract(record, '$.requestId') END) VIRTUAL;
    CREATE INDEX records_by_time ON records (time, writer, sequence);
    CREATE INDEX records_by_kind ON records (kind, time, writer, sequence) WHERE kind NOT IN ('intent', 'outcome', 'refused');
    CREATE INDEX records_by_team ON records (team, time, writer, sequence) WHERE team IS NOT NULL;
    CREATE INDEX records_by_instance ON records (instance, time, writer, sequence) WHERE instance IS NOT NULL;
    CREATE INDEX records_by_user ON records (user, time, writer, sequence) WHERE user IS NOT NULL;
    CREATE INDEX records_by_reset ON records (reset, time, writer, sequence) WHERE reset IS NOT NULL;
    CREATE INDEX records_by_request ON records (request, time, writer, sequence) WHERE request IS NOT NULL;
    ALTER TABLE resets ADD COLUMN sealed_password TEXT;
    CREATE TABLE exported (writer TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
    INSERT INTO schema_version VALUES (2);",
    "CREATE TABLE idempotency_keys (
        caller TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        target TEXT NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (caller, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX idempotency_keys_by_target ON idempotency_keys (target);
    CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
    ALTER TABLE resets ADD COLUMN batch TEXT;
    ALTER TABLE resets ADD COLUMN cause TEXT;
    CREATE INDEX resets_by_time ON resets (created_at, id);
    CREATE INDEX resets_by_status ON resets (status, created_at, id);
    CREATE INDEX resets_by_team ON resets (team, created_at, id);
    CREATE INDEX resets_by_team_and_status ON resets (team, status, created_at, id);
    CREATE INDEX resets_by_instance ON resets (instance, created_at, id);
    CREATE INDEX resets_by_batch ON resets (batch, id) WHERE batch IS NOT NULL;
    CREATE INDEX resets_open ON resets (id) WHERE status IN ('sent', 'queued');
    INSERT INTO schema_version VALUES (3);",
];

/// Opens the file for its one writer, creating it for its owner's eyes alone, and brings its schema up to date.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let created = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    created.map_err(|source| OpenError::Io { trail: path.display().to_string(), source })?;
    let store =
        |error: rusqlite::Error| OpenError::Store { trail: path.display().to_string(), source: error.into() };
    let mut connection = Connection::open(path).map_err(store)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(store)?;
    // Full sync: a commit that returned survives a power cut.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(store)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(store)?;
    let found = version(&connection).map_err(store)?;
    let needs = oldest_writer(&connection).map_err(store)?;
    if needs > VERSION {
        return Err(OpenError::Version { trail: path.display().to_string(), needs, has: VERSION });
    }
    if found < VERSION {
        migrate(&mut connection, found).map_err(store)?;
    }
    // What is broken, and what another has planted, is told before anything is written behind it. By a connection of its
    // own: one that has read all pages would not look at them again.
    let fresh = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(store)?;
    match unsound(&fresh, "quick_check(1)").map_err(store)?.into_iter().next() {
        Some(why) => {
            let (trail, source) = (path.display().to_string(), StoreError::Damaged(why));
            Err(OpenError::Store { trail, source })
        }
        None => Ok(connection),
    }
}

/// Opens the file for reading, beside whoever writes it.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let store =
        |error: rusqlite::Error| OpenError::Store { trail: path.display().to_string(), source: error.into() };
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(store)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(store)?;
    let (found, needs) = (version(&connection).map_err(store)?, oldest_writer(&connection).map_err(store)?);
    match found {
        _ if needs > VERSION => {
            Err(OpenError::Version { trail: path.display().to_string(), needs, has: VERSION })
        }
        // Only a writer migrates.
        found if found < VERSION => Err(OpenError::Store {
            trail: path.display().to_string(),
            source: StoreError::Unavailable(
                "it was written by an older zengate: `zengate serve` brings it up to date".to_owned(),
            ),
        }),
        _ => Ok(connection),
    }
}

fn migrate(connection: &mut Connection, found: i64) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    for step in &STEPS[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(step)?;
    }
    transaction.commit()?;
    if found > 0 {
        tracing::info!(from = found, to = VERSION, "the trail's schema is brought up to date");
    }
    Ok(())
}

/// What is wrong with the file itself: by SQLite's own `check`, and what its schema holds or lacks against the one that
/// this program makes. Of a file of a later version only the first.
pub(super) fn unsound(connection: &Connection, check: &str) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = connection.prepare(&format!("PRAGMA {check}"))?;
    let told = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut told: Vec<String> = told.into_iter().filter(|line| line != "ok").collect();
    if version(connection)? == VERSION {
        let (made, found) = (objects(&made()?)?, objects(connection)?);
        let names = made.keys().chain(found.keys().filter(|name| !made.contains_key(*name)));
        let odd = names.filter(|name| made.get(*name) != found.get(*name));
        told.extend(odd.map(|name| match (made.get(name), found.get(name)) {
            (None, _) => format!("its schema has the {name}, which zengate did not make"),
            (_, None) => format!("its schema lacks the {name}"),
            _ => format!("its schema has another {name} than zengate makes"),
        }));
    }
    Ok(told)
}

fn made() -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_in_memory()?;
    STEPS.iter().try_for_each(|step| connection.execute_batch(step))?;
    Ok(connection)
}

/// Kind and name of each, and its text, but for how it is laid out; without what SQLite makes by itself.
fn objects(connection: &Connection) -> Result<BTreeMap<String, String>, rusqlite::Error> {
    let all =
        "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'";
    let mut statement = connection.prepare(all)?;
    let objects = statement.query_map([], |row| {
        let text: String = row.get(1)?;
        Ok((row.get(0)?, text.replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ")))
    })?;
    objects.collect()
}

/// The schema that the file has: 0 of an empty one.
fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let told = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'", [], |_| Ok(()))
        .optional()?;
    match told {
        Some(()) => connection.query_row("SELECT max(version) FROM schema_version", [], |row| row.get(0)),
        None => oldest_writer(connection),
    }
}

fn oldest_writer(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
