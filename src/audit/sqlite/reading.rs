use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::schema;
use crate::audit::claim::Claimed;
use crate::audit::store::{
    ChainEnds, Filter, OpenError, Order, Place, Shelf, Source, StoreError, Stored, Stretch,
};
use crate::audit::{Kind, Position, Reset};
use crate::domain::{ResetId, Status, rfc3339};

/// A connection that reads beside whoever writes.
pub(in crate::audit) struct Reading(Mutex<Connection>);

/// Of the table `resets`, in the order of [`reset_of`].
pub(super) const COLUMNS: &str = "id, instance, team, status, request_id, upstream_request_id, upstream_code, \
                                  reason, ticket, policies, created_at, finished_at, writer, sequence, hash, sealed_password, \
                                  batch, cause";

impl Reading {
    pub(in crate::audit) fn open(path: &Path) -> Result<Self, OpenError> {
        schema::open_read_only(path).map(|connection| Self(Mutex::new(connection)))
    }

    /// A statement that panicked has left nothing half done.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Reading {
    fn reset(&self, id: ResetId) -> Result<Option<Reset>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM resets WHERE id = ?1"))?;
        Ok(statement.query_row([id.to_string()], reset_of).optional()?)
    }

    fn batch(&self, id: ResetId) -> Result<Vec<Reset>, StoreError> {
        let connection = self.connection();
        let items = format!("SELECT {COLUMNS} FROM resets WHERE batch = ?1 ORDER BY id");
        let mut statement = connection.prepare_cached(&items)?;
        let resets = statement.query_map([id.to_string()], reset_of)?;
        Ok(resets.collect::<Result<_, _>>()?)
    }

    fn claimed(&self, caller: &str, key: &str, since: Timestamp) -> Result<Option<Claimed>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS}, fingerprint, target FROM (
                SELECT fingerprint, target FROM idempotency_keys
                WHERE caller = ?1 AND key = ?2 AND created_at >= ?3
            ) LEFT JOIN resets ON id = target"
        ))?;
        let claimed = statement.query_row(params![caller, key, rfc3339(since)], |row| {
            let there: Option<String> = row.get(0)?;
            let reset = there.map(|_| reset_of(row)).transpose()?;
            Ok(Claimed { fingerprint: row.get(18)?, target: parsed(row, 19)?, reset })
        });
        Ok(claimed.optional()?)
    }

    fn resets_after(&self, id: Option<ResetId>, limit: usize) -> Result<Vec<Reset>, StoreError> {
        let connection = self.connection();
        let next = format!("SELECT {COLUMNS} FROM resets WHERE id > ?1 ORDER BY id LIMIT ?2");
        let mut statement = connection.prepare_cached(&next)?;
        let after = id.map_or_else(String::new, |id| id.to_string());
        let resets = statement.query_map(params![after, limit as i64], reset_of)?;
        Ok(resets.collect::<Result<_, _>>()?)
    }

    fn history(&self, stretch: &Stretch, limit: usize) -> Result<Vec<Reset>, StoreError> {
        let (sql, values) = history(stretch, limit);
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&sql)?;
        let values = rusqlite::params_from_iter(values.iter().map(|value| &**value));
        let resets = statement.query_map(values, reset_of)?;
        Ok(resets.collect::<Result<_, _>>()?)
    }

    fn chains(&self) -> Result<Vec<ChainEnds>, StoreError> {
        let connection = self.connection();
        // From one writer's name to the next: a scan of all records would take as long as there are many.
        let mut statement = connection.prepare_cached(
            "WITH RECURSIVE writers (writer) AS (
                SELECT (SELECT min(writer) FROM records)
                UNION ALL
                SELECT (SELECT min(writer) FROM records WHERE writer > writers.writer)
                FROM writers WHERE writers.writer IS NOT NULL
            )
            SELECT writer,
                (SELECT min(sequence) FROM records WHERE records.writer = writers.writer),
                sequence, hash
            FROM writers JOIN records USING (writer)
            WHERE sequence = (SELECT max(sequence) FROM records WHERE records.writer = writers.writer)
            ORDER BY writer",
        )?;
        let ends = statement.query_map([], |row| {
            let last =
                Position { writer: row.get(0)?, sequence: row.get::<_, i64>(2)? as u64, hash: row.get(3)? };
            Ok(ChainEnds { first: row.get::<_, i64>(1)? as u64, last, live: false })
        })?;
        Ok(ends.collect::<Result<_, _>>()?)
    }

    fn since(&self, writer: &str, sequence: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT writer, sequence, hash, record FROM records WHERE writer = ?1 AND sequence > ?2
             ORDER BY sequence LIMIT ?3",
        )?;
        let records = statement.query_map(params![writer, sequence as i64, limit as i64], stored)?;
        Ok(records.collect::<Result<_, _>>()?)
    }

    fn page(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut query = Query::default();
        query.equal("kind", filter.kind.map(|kind| kind.as_str().to_owned()));
        if !matches!(filter.kind, None | Some(Kind::Intent | Kind::Outcome | Kind::Refused)) {
            // SQLite takes a partial index only where its condition stands in the query, word for word.
            query.conditions.push("kind NOT IN ('intent', 'outcome', 'refused')".to_owned());
        }
        query.equal("team", filter.team.as_ref().map(ToString::to_string));
        query.equal("instance", filter.instance.as_ref().map(ToString::to_string));
        query.equal("user", filter.user.clone());
        query.equal("reset", filter.reset.map(|id| id.to_string()));
        query.equal("request", filter.request.as_ref().map(|id| id.as_str().to_owned()));
        query.equal("writer", filter.writer.clone());
        query.compare("time", ">=", filter.since.map(rfc3339));
        query.compare("time", "<", filter.until.map(rfc3339));
        let (beyond, direction) = match order {
            Order::NewestFirst => ("<", "DESC"),
            Order::OldestFirst => (">", "ASC"),
        };
        if let Some(Place { time, writer, sequence }) = after {
            query.conditions.push(format!("(time, writer, sequence) {beyond} (?, ?, ?)"));
            query.values.extend([
                Box::new(time.clone()) as Box<dyn ToSql>,
                Box::new(writer.clone()),
                Box::new(*sequence as i64),
            ]);
        }
        query.values.push(Box::new(limit as i64));
        let sql = format!(
            "SELECT writer, sequence, hash, record FROM records WHERE {} \
             ORDER BY time {direction}, writer {direction}, sequence {direction} LIMIT ?",
            if query.conditions.is_empty() { "true".to_owned() } else { query.conditions.join(" AND ") }
        );
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&sql)?;
        let values = rusqlite::params_from_iter(query.values.iter().map(|value| &**value));
        let records = statement.query_map(values, stored)?;
        Ok(records.collect::<Result<_, _>>()?)
    }

    fn unsound(&self) -> Result<Vec<String>, StoreError> {
        Ok(schema::unsound(&self.connection(), "integrity_check(20)")?)
    }

    fn one_writes(&self) -> bool {
        true
    }

    fn exported(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT writer, sequence FROM exported")?;
        let exported = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
        Ok(exported.collect::<Result<_, _>>()?)
    }
}

/// Both bounds are always given, so that each shelf has one statement, and no plan begins at the newest reset of all.
/// The index is named since SQLite, left to choose, reads all of a team's resets for the few of one status.
fn history(Stretch { shelf, since, before }: &Stretch, limit: usize) -> (String, Vec<Box<dyn ToSql>>) {
    let mut query = Query::default();
    let index = match shelf {
        Shelf::All => "resets_by_time",
        Shelf::Status(status) => {
            query.equal("status", Some(status.as_str().to_owned()));
            "resets_by_status"
        }
        Shelf::Team(team) => {
            query.equal("team", Some(team.to_string()));
            "resets_by_team"
        }
        Shelf::TeamAndStatus(team, status) => {
            query.equal("team", Some(team.to_string()));
            query.equal("status", Some(status.as_str().to_owned()));
            "resets_by_team_and_status"
        }
        Shelf::Instance(instance) => {
            query.equal("instance", Some(instance.to_string()));
            "resets_by_instance"
        }
    };
    query.compare("created_at", ">=", Some(since.map_or_else(String::new, rfc3339)));
    // No time is written with a tilde, which is more than any digit; and no id is empty.
    let (at, id) = before.map_or_else(
        || ("~".to_owned(), String::new()),
        |(at, id)| (rfc3339(at), id.map_or_else(String::new, |id| id.to_string())),
    );
    query.conditions.push("(created_at, id) < (?, ?)".to_owned());
    query.values.extend([Box::new(at) as Box<dyn ToSql>, Box::new(id), Box::new(limit as i64)]);
    let conditions = query.conditions.join(" AND ");
    let sql = format!(
        "SELECT {COLUMNS} FROM resets INDEXED BY {index} WHERE {conditions} \
         ORDER BY created_at DESC, id DESC LIMIT ?"
    );
    (sql, query.values)
}

/// Conditions, and the values of their places.
#[derive(Default)]
struct Query {
    conditions: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Query {
    fn equal(&mut self, column: &str, value: Option<String>) {
        self.compare(column, "=", value);
    }

    fn compare(&mut self, column: &str, operator: &str, value: Option<String>) {
        if let Some(value) = value {
            self.conditions.push(format!("{column} {operator} ?"));
            self.values.push(Box::new(value));
        }
    }
}

fn stored(row: &Row<'_>) -> Result<Stored, rusqlite::Error> {
    let position =
        Position { writer: row.get(0)?, sequence: row.get::<_, i64>(1)? as u64, hash: row.get(2)? };
    Ok(Stored { position, record: row.get(3)? })
}

pub(super) fn reset_of(row: &Row<'_>) -> Result<Reset, rusqlite::Error> {
    let status: String = row.get(3)?;
    let policies: String = row.get(9)?;
    let finished: Option<String> = row.get(11)?;
    let finished = finished.map(|text| text.parse::<Timestamp>()).transpose();
    let batch: Option<String> = row.get(16)?;
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
        finished_at: finished.map_err(|_| unreadable(11))?,
        receipt: Position {
            writer: row.get(12)?,
            sequence: row.get::<_, i64>(13)? as u64,
            hash: row.get(14)?,
        },
        sealed_password: row.get(15)?,
        batch: batch.map(|id| id.parse().map_err(|_| unreadable(16))).transpose()?,
        cause: row.get(17)?,
    })
}

fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> Result<T, rusqlite::Error> {
    row.get::<_, String>(column)?.parse().map_err(|_| unreadable(column))
}

/// The store holds what this program does not write.
fn unreadable(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "not as zengate writes it".to_owned(), Type::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TeamName;

    /// How SQLite goes about it.
    fn plan(stretch: &Stretch) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = schema::open(&folder.path().join("trail.db")).expect("a store");
        let (sql, values) = history(stretch, 50);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a query");
        let values = rusqlite::params_from_iter(values.iter().map(|value| &**value));
        let steps = statement.query_map(values, |row| row.get::<_, String>(3)).expect("a plan");
        steps.collect::<Result<Vec<_>, _>>().expect("a plan").join("; ")
    }

    #[test]
    fn every_stretch_is_found_by_its_index_alone() {
        let (team, at) = ("payments".parse::<TeamName>().expect("a name"), Timestamp::UNIX_EPOCH);
        for (shelf, index) in [
            (Shelf::All, "resets_by_time ("),
            (Shelf::Status(Status::Rejected), "resets_by_status (status=? AND "),
            (Shelf::Team(team.clone()), "resets_by_team (team=? AND "),
            (
                Shelf::TeamAndStatus(team, Status::Rejected),
                "resets_by_team_and_status (team=? AND status=? AND ",
            ),
            (Shelf::Instance("pay-1".parse().expect("an id")), "resets_by_instance (instance=? AND "),
        ] {
            let bounds = "created_at>? AND (created_at,id)<(?,?))";
            let expected = format!("SEARCH resets USING INDEX {index}{bounds}");
            for since in [None, Some(at)] {
                for before in [None, Some((at, None)), Some((at, Some(ResetId::generate())))] {
                    let stretch = Stretch { shelf: shelf.clone(), since, before };
                    assert_eq!(plan(&stretch), expected, "nor is anything sorted: {stretch:?}");
                }
            }
        }
    }
}
