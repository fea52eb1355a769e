use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::files::Files;
use super::reading::{COLUMNS, reset_of};
use super::schema;
use crate::audit::claim::Claim;
use crate::audit::lock::Lock;
use crate::audit::store::{OpenError, Projection, Resets, Row, Store, StoreError};
use crate::audit::{Position, Reset};
use crate::domain::rfc3339;

/// The connection of the one writer, and its lock.
pub(in crate::audit) struct Writing {
    connection: Connection,
    files: Files,
    /// The record that was kept last, by whomever.
    last: Option<Position>,
    _lock: Lock,
}

impl Writing {
    pub(in crate::audit) fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = Lock::take(path)?;
        let connection = schema::open(path)?;
        let store = |error: rusqlite::Error| {
            let trail = path.display().to_string();
            OpenError::Store { trail, source: error.into() }
        };
        let last = newest(&connection).map_err(store)?;
        Ok(Self { connection, files: Files::new(path), last, _lock: lock })
    }

    fn write(&mut self) -> Result<Transaction<'_>, rusqlite::Error> {
        self.connection.transaction_with_behavior(TransactionBehavior::Immediate)
    }

    fn kept(&mut self, rows: &[Row<'_>]) {
        if let Some(row) = rows.last() {
            self.last = Some(row.position.clone());
        }
    }
}

impl Drop for Writing {
    /// What stands in SQLite's log goes into the file itself, which readers that outlive the writer could not do: a
    /// trail that nobody writes is one file, whole.
    fn drop(&mut self) {
        if self.files.cut() {
            _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            return;
        }
        // Nothing is lost if it cannot be done: the log stays beside the file.
        _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

impl Store for Writing {
    fn append(&mut self, rows: &[Row<'_>], exported: &BTreeMap<String, u64>) -> Result<(), StoreError> {
        let last = &self.last;
        self.files.before(|path| {
            let fresh = schema::open_read_only(path).ok();
            fresh.is_some_and(|fresh| newest(&fresh).is_ok_and(|newest| newest == *last))
        })?;
        let transaction = self.write()?;
        insert(&transaction, rows)?;
        for (writer, sequence) in exported {
            let upsert = "INSERT INTO exported VALUES (?1, ?2) ON CONFLICT DO UPDATE SET sequence = ?2";
            transaction.prepare_cached(upsert)?.execute(params![writer, *sequence as i64])?;
        }
        transaction.commit()?;
        self.kept(rows);
        self.files.after()
    }

    fn head(&mut self, writer: &str) -> Result<Option<Position>, StoreError> {
        let last = "SELECT sequence, hash FROM records WHERE writer = ?1 ORDER BY sequence DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(last)?;
        let head = statement.query_row([writer], |row| {
            let (sequence, hash) = (row.get::<_, i64>(0)? as u64, row.get(1)?);
            Ok(Position { writer: writer.to_owned(), sequence, hash })
        });
        Ok(head.optional()?)
    }

    fn renew(&mut self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn lease(&self) -> Option<Duration> {
        None
    }

    /// Whoever holds the lock is the only writer there is.
    fn orphans(&mut self, _: &str) -> Result<Vec<Reset>, StoreError> {
        let open = format!("SELECT {COLUMNS} FROM resets WHERE status IN ('sent', 'queued') ORDER BY id");
        let mut statement = self.connection.prepare(&open)?;
        let resets = statement.query_map([], reset_of)?;
        Ok(resets.collect::<Result<_, _>>()?)
    }

    fn remove(&mut self, up_to: &[Position], rows: &[Row<'_>]) -> Result<u64, StoreError> {
        let transaction = self.write()?;
        transaction.execute_batch("DROP TRIGGER IF EXISTS records_are_never_deleted")?;
        let mut removed = 0;
        for Position { writer, sequence, .. } in up_to {
            let place = params![writer, *sequence as i64];
            transaction.execute("DELETE FROM resets WHERE writer = ?1 AND sequence <= ?2", place)?;
            removed +=
                transaction.execute("DELETE FROM records WHERE writer = ?1 AND sequence <= ?2", place)?;
        }
        transaction.execute_batch(
            "CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records
                BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;",
        )?;
        insert(&transaction, rows)?;
        transaction.commit()?;
        self.kept(rows);
        // The file keeps its size otherwise. It may take long, and is not needed for what was promised.
        self.connection.execute_batch("VACUUM")?;
        Ok(removed as u64)
    }

    fn replace_projection(&mut self, resets: &mut Resets<'_>) -> Result<(), StoreError> {
        let transaction = self.write()?;
        transaction.execute("DELETE FROM resets", [])?;
        for reset in resets {
            open_reset(&transaction, &reset?)?;
        }
        Ok(transaction.commit()?)
    }

    fn expire_keys(&mut self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        let delete = "DELETE FROM idempotency_keys WHERE (caller, key) IN
            (SELECT caller, key FROM idempotency_keys WHERE created_at < ?1 LIMIT ?2)";
        Ok(self.connection.prepare_cached(delete)?.execute(params![rfc3339(before), most as i64])?)
    }

    fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.files.database.path).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The record that was kept last.
fn newest(connection: &Connection) -> Result<Option<Position>, rusqlite::Error> {
    let newest = "SELECT writer, sequence, hash FROM records ORDER BY position DESC LIMIT 1";
    let position = |row: &rusqlite::Row<'_>| {
        let (writer, sequence, hash) = (row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?);
        Ok(Position { writer, sequence, hash })
    };
    connection.query_row(newest, [], position).optional()
}

fn insert(transaction: &Transaction<'_>, rows: &[Row<'_>]) -> Result<(), StoreError> {
    for Row { position, record, projection, claim } in rows {
        let kept = transaction
            .prepare_cached("INSERT INTO records (writer, sequence, hash, record) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![position.writer, position.sequence as i64, position.hash, record])?;
        if kept != 1 {
            // By a trigger that another has planted.
            return Err(StoreError::Damaged("it drops what is written to it".to_owned()));
        }
        if let Some(claim) = claim {
            claim_key(transaction, claim)?;
        }
        match projection {
            Projection::None => {}
            Projection::Open(reset) => {
                open_reset(transaction, &Reset { receipt: position.clone(), ..(**reset).clone() })?;
            }
            Projection::Send(reset) => {
                let send =
                    "UPDATE resets SET status = ?2, policies = ?3, writer = ?4, sequence = ?5, hash = ?6,
                            sealed_password = ?7 WHERE id = ?1 AND status = 'queued'";
                let sent = transaction.prepare_cached(send)?.execute(params![
                    reset.id.to_string(),
                    reset.status.as_str(),
                    policies(reset),
                    position.writer,
                    position.sequence as i64,
                    position.hash,
                    reset.sealed_password,
                ])?;
                if sent == 0 {
                    let told = "others have told that it was not sent";
                    return Err(StoreError::Refused(format!("{} is not queued any more: {told}", reset.id)));
                }
            }
            Projection::Close { id, outcome, at, cause, gone, releases } => {
                // What is not known never takes the place of what is, nor a writer that is gone of any outcome,
                // whoever comes last.
                let close = "UPDATE resets SET status = ?2, upstream_code = ?3, upstream_request_id = ?4,
                             finished_at = ?5, cause = ?6
                             WHERE id = ?1 AND (status IN ('queued', 'sent')
                                 OR (NOT ?7 AND (?2 <> 'unknown' OR status = 'unknown')))";
                transaction.prepare_cached(close)?.execute(params![
                    id.to_string(),
                    outcome.status().as_str(),
                    outcome.upstream_code(),
                    outcome.upstream_request_id(),
                    rfc3339(*at),
                    cause,
                    gone,
                ])?;
                if let Some(target) = releases {
                    let release = "DELETE FROM idempotency_keys WHERE target = ?1";
                    transaction.prepare_cached(release)?.execute([target.to_string()])?;
                }
            }
        }
    }
    Ok(())
}

/// One that has expired is claimed anew.
fn claim_key(transaction: &Transaction<'_>, claim: &Claim) -> Result<(), StoreError> {
    let upsert = "INSERT INTO idempotency_keys (caller, key, fingerprint, target, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT DO UPDATE SET fingerprint = ?3, target = ?4, created_at = ?5 WHERE created_at < ?6";
    let claimed = transaction.prepare_cached(upsert)?.execute(params![
        claim.caller,
        claim.key,
        claim.fingerprint,
        claim.target.to_string(),
        rfc3339(claim.at),
        rfc3339(claim.expired),
    ])?;
    if claimed == 0 { Err(StoreError::Claimed) } else { Ok(()) }
}

fn open_reset(transaction: &Transaction<'_>, reset: &Reset) -> Result<(), StoreError> {
    let insert = format!(
        "INSERT INTO resets ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
    );
    transaction.prepare_cached(&insert)?.execute(params![
        reset.id.to_string(),
        reset.instance.as_str(),
        reset.team.as_str(),
        reset.status.as_str(),
        reset.request_id.as_str(),
        reset.upstream_request_id,
        reset.upstream_code,
        reset.reason,
        reset.ticket,
        policies(reset),
        rfc3339(reset.created_at),
        reset.finished_at.map(rfc3339),
        reset.receipt.writer,
        reset.receipt.sequence as i64,
        reset.receipt.hash,
        reset.sealed_password,
        reset.batch.map(|id| id.to_string()),
        reset.cause,
    ])?;
    Ok(())
}

fn policies(reset: &Reset) -> String {
    serde_json::to_string(&reset.policies).expect("a list of texts")
}
