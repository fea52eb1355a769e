use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::runtime::Runtime;
use super::schema::{self, VERSION};
use super::session::{Server, Session};
use super::{Settings, late};
use crate::audit::claim::Claimed;
use crate::audit::store::{
    ChainEnds, Filter, OpenError, Order, Place, Shelf, Source, StoreError, Stored, Stretch,
};
use crate::audit::{Position, Reset};
use crate::domain::{ResetId, Status, rfc3339};

/// Longest list of records, however slow: nobody's reset waits for it.
const LIST: Duration = Duration::from_secs(30);

/// Of the table `resets`, in the order of [`reset_of`].
pub(super) const COLUMNS: &str = "id, instance, team, status, request_id, upstream_request_id, upstream_code, \
                                  reason, ticket, policies, created_at, finished_at, writer, sequence, hash, \
                                  sealed_password, batch, cause";

/// Connections that read beside whoever writes.
pub(in crate::audit) struct Reading {
    server: Server,
    runtime: Runtime,
    idle: Mutex<Vec<Session>>,
    places: Semaphore,
    timeout: Duration,
}

type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);

impl Reading {
    pub(in crate::audit) fn open(settings: &Settings<'_>) -> Result<Self, OpenError> {
        let trail = settings.url.to_string();
        let runtime = Runtime::new().map_err(|source| OpenError::Io { trail: trail.clone(), source })?;
        // A list may take longer than what a reset waits for.
        let server = Server::new(settings, LIST.max(settings.timeout));
        let found = runtime.wait_within(Some(settings.timeout), async {
            let session = server.connect().await?;
            let found = schema::found(&session.client).await?;
            Ok((session, found))
        });
        let found = found.unwrap_or_else(|| Err(late(settings.timeout)));
        let (session, found) = found.map_err(|source| OpenError::Store { trail: trail.clone(), source })?;
        if found.too_new() {
            return Err(OpenError::Version { trail, needs: found.oldest_writer, has: VERSION });
        }
        // Only a writer migrates.
        if found.version < VERSION {
            let older = "it holds no trail of this version: `zengate serve` makes it".to_owned();
            return Err(OpenError::Store { trail, source: StoreError::Unavailable(older) });
        }
        Ok(Self {
            server,
            runtime,
            idle: Mutex::new(vec![session]),
            places: Semaphore::new(settings.connections),
            timeout: settings.timeout,
        })
    }

    /// The rows of one query, of a single snapshot.
    fn rows(&self, within: Duration, sql: &str, values: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        let whole = async {
            let _place = self.places.acquire().await.expect("nobody closes it");
            // One that broke while nobody used it is replaced, and costs no error.
            while let Some(session) = self.take() {
                if let Some(rows) = self.ask(session, sql, values).await? {
                    return Ok(rows);
                }
            }
            let session = self.server.connect().await?;
            match self.ask(session, sql, values).await? {
                Some(rows) => Ok(rows),
                None => Err(StoreError::Unavailable("the connection broke".to_owned())),
            }
        };
        self.runtime.wait_within(Some(within), whole).unwrap_or_else(|| Err(late(within)))
    }

    /// None: the connection is closed.
    async fn ask(
        &self,
        session: Session,
        sql: &str,
        values: &[Parameter<'_>],
    ) -> Result<Option<Vec<Row>>, StoreError> {
        match session.client.query_typed(sql, values).await {
            Ok(rows) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
                Ok(Some(rows))
            }
            Err(_) if session.client.is_closed() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn take(&self) -> Option<Session> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Source for Reading {
    fn reset(&self, id: ResetId) -> Result<Option<Reset>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM resets WHERE id = $1");
        let rows = self.rows(self.timeout, &sql, &[(&id.to_string(), Type::TEXT)])?;
        rows.first().map(reset_of).transpose()
    }

    fn batch(&self, id: ResetId) -> Result<Vec<Reset>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM resets WHERE batch = $1 ORDER BY id");
        let rows = self.rows(self.timeout, &sql, &[(&id.to_string(), Type::TEXT)])?;
        rows.iter().map(reset_of).collect()
    }

    fn claimed(&self, caller: &str, key: &str, since: Timestamp) -> Result<Option<Claimed>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, fingerprint, target FROM (
                SELECT fingerprint, target FROM idempotency_keys
                WHERE caller = $1 AND key = $2 AND created_at >= $3
            ) AS held LEFT JOIN resets ON id = target"
        );
        let since = rfc3339(since);
        let values = [(&caller as _, Type::TEXT), (&key as _, Type::TEXT), (&since as _, Type::TEXT)];
        let rows = self.rows(self.timeout, &sql, &values)?;
        let claimed = rows.first().map(|row| {
            let there: Option<String> = row.try_get(0)?;
            let reset = there.map(|_| reset_of(row)).transpose()?;
            Ok(Claimed { fingerprint: row.try_get(18)?, target: parsed(row, 19)?, reset })
        });
        claimed.transpose()
    }

    fn resets_after(&self, id: Option<ResetId>, limit: usize) -> Result<Vec<Reset>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM resets WHERE id > $1 ORDER BY id LIMIT $2");
        let after = id.map_or_else(String::new, |id| id.to_string());
        let rows = self.rows(LIST, &sql, &[(&after, Type::TEXT), (&(limit as i64), Type::INT8)])?;
        rows.iter().map(reset_of).collect()
    }

    fn history(&self, stretch: &Stretch, limit: usize) -> Result<Vec<Reset>, StoreError> {
        let (sql, query) = history(stretch, limit);
        self.rows(LIST, &sql, &query.parameters())?.iter().map(reset_of).collect()
    }

    fn chains(&self) -> Result<Vec<ChainEnds>, StoreError> {
        // From one writer's name to the next: a scan of all records would take as long as there are many.
        let sql = "WITH RECURSIVE names (writer) AS (
                SELECT (SELECT min(writer) FROM records)
                UNION ALL
                SELECT (SELECT min(writer) FROM records WHERE records.writer > names.writer)
                FROM names WHERE names.writer IS NOT NULL
            )
            SELECT names.writer,
                (SELECT min(sequence) FROM records WHERE records.writer = names.writer),
                last.sequence, last.hash,
                coalesce(NOT writers.gone AND writers.lease_until >= clock_timestamp(), false)
            FROM names
                CROSS JOIN LATERAL (SELECT sequence, hash FROM records WHERE records.writer = names.writer
                    ORDER BY sequence DESC LIMIT 1) AS last
                LEFT JOIN writers ON writers.writer = names.writer
            ORDER BY names.writer";
        let ends = self.rows(LIST, sql, &[])?;
        let ends = ends.iter().map(|row| {
            let last = Position {
                writer: row.try_get(0)?,
                sequence: row.try_get::<_, i64>(2)? as u64,
                hash: row.try_get(3)?,
            };
            Ok(ChainEnds { first: row.try_get::<_, i64>(1)? as u64, last, live: row.try_get(4)? })
        });
        ends.collect()
    }

    fn since(&self, writer: &str, sequence: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let sql = "SELECT writer, sequence, hash, record FROM records WHERE writer = $1 AND sequence > $2
             ORDER BY sequence LIMIT $3";
        let (sequence, limit) = (sequence as i64, limit as i64);
        let rows =
            self.rows(LIST, sql, &[(&writer, Type::TEXT), (&sequence, Type::INT8), (&limit, Type::INT8)])?;
        rows.iter().map(stored).collect()
    }

    fn page(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut query = Query::default();
        query.compare("kind", "=", filter.kind.map(|kind| kind.as_str().to_owned()));
        query.compare("team", "=", filter.team.as_ref().map(ToString::to_string));
        query.compare("instance", "=", filter.instance.as_ref().map(ToString::to_string));
        query.compare("\"user\"", "=", filter.user.clone());
        query.compare("reset", "=", filter.reset.map(|id| id.to_string()));
        query.compare("request", "=", filter.request.as_ref().map(|id| id.as_str().to_owned()));
        query.compare("writer", "=", filter.writer.clone());
        query.compare("\"time\"", ">=", filter.since.map(rfc3339));
        query.compare("\"time\"", "<", filter.until.map(rfc3339));
        let (beyond, direction) = match order {
            Order::NewestFirst => ("<", "DESC"),
            Order::OldestFirst => (">", "ASC"),
        };
        if let Some(Place { time, writer, sequence }) = after {
            let (time, writer) = (query.text(time.clone()), query.text(writer.clone()));
            let sequence = query.number(*sequence as i64);
            query
                .conditions
                .push(format!("(\"time\", writer, sequence) {beyond} ({time}, {writer}, {sequence})"));
        }
        let limit = query.number(limit as i64);
        let sql = format!(
            "SELECT writer, sequence, hash, record FROM records WHERE {} \
             ORDER BY \"time\" {direction}, writer {direction}, sequence {direction} LIMIT {limit}",
            query.conditions()
        );
        self.rows(LIST, &sql, &query.parameters())?.iter().map(stored).collect()
    }

    fn exported(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = self.rows(LIST, "SELECT writer, sequence FROM exported", &[])?;
        let exported = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)? as u64)));
        exported.collect()
    }
}

/// Each shelf has an index of one text, its key: no other yields its order or its bounds. Were the parts compared by
/// themselves, PostgreSQL might go through everybody's resets in the order of time to find one team's.
fn history(Stretch { shelf, since, before }: &Stretch, limit: usize) -> (String, Query) {
    let (parts, common) = match shelf {
        Shelf::All => ("", String::new()),
        Shelf::Status(status) => ("status || ' ' || ", format!("{} ", status.as_str())),
        Shelf::Team(team) => ("team || ' ' || ", format!("{team} ")),
        Shelf::TeamAndStatus(team, status) => {
            ("team || ' ' || status || ' ' || ", format!("{team} {} ", status.as_str()))
        }
        Shelf::Instance(instance) => ("instance || ' ' || ", format!("{instance} ")),
    };
    // No time begins with a tilde, which is more than any digit; and a time alone is less than with an id.
    let before = match before {
        None => "~".to_owned(),
        Some((at, None)) => rfc3339(*at),
        Some((at, Some(id))) => format!("{} {id}", rfc3339(*at)),
    };
    let key = format!("{parts}created_at || ' ' || id");
    let mut query = Query::default();
    query.compare(&key, ">=", Some(format!("{common}{}", since.map_or_else(String::new, rfc3339))));
    query.compare(&key, "<", Some(format!("{common}{before}")));
    let limit = query.number(limit as i64);
    let conditions = query.conditions();
    let sql = format!("SELECT {COLUMNS} FROM resets WHERE {conditions} ORDER BY {key} DESC LIMIT {limit}");
    (sql, query)
}

/// Conditions, and the values of their places.
#[derive(Default)]
struct Query {
    conditions: Vec<String>,
    values: Vec<(Box<dyn ToSql + Sync>, Type)>,
}

impl Query {
    fn compare(&mut self, column: &str, operator: &str, value: Option<String>) {
        if let Some(value) = value {
            let place = self.text(value);
            self.conditions.push(format!("{column} {operator} {place}"));
        }
    }

    /// All of them.
    fn conditions(&self) -> String {
        if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" AND ") }
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.values.iter().map(|(value, kind)| (&**value, kind.clone())).collect()
    }

    fn text(&mut self, value: String) -> String {
        self.values.push((Box::new(value), Type::TEXT));
        format!("${}", self.values.len())
    }

    fn number(&mut self, value: i64) -> String {
        self.values.push((Box::new(value), Type::INT8));
        format!("${}", self.values.len())
    }
}

fn stored(row: &Row) -> Result<Stored, StoreError> {
    let position = Position {
        writer: row.try_get(0)?,
        sequence: row.try_get::<_, i64>(1)? as u64,
        hash: row.try_get(2)?,
    };
    Ok(Stored { position, record: row.try_get(3)? })
}

pub(super) fn reset_of(row: &Row) -> Result<Reset, StoreError> {
    let finished: Option<String> = row.try_get(11)?;
    let policies: String = row.try_get(9)?;
    let status: String = row.try_get(3)?;
    let batch: Option<String> = row.try_get(16)?;
    Ok(Reset {
        id: parsed(row, 0)?,
        instance: parsed(row, 1)?,
        team: parsed(row, 2)?,
        status: Status::from_name(&status).ok_or_else(|| unreadable("status"))?,
        request_id: parsed(row, 4)?,
        upstream_request_id: row.try_get(5)?,
        upstream_code: row.try_get(6)?,
        reason: row.try_get(7)?,
        ticket: row.try_get(8)?,
        policies: serde_json::from_str(&policies).map_err(|_| unreadable("policies"))?,
        created_at: parsed(row, 10)?,
        finished_at: finished.map(|text| text.parse()).transpose().map_err(|_| unreadable("finished_at"))?,
        receipt: Position {
            writer: row.try_get(12)?,
            sequence: row.try_get::<_, i64>(13)? as u64,
            hash: row.try_get(14)?,
        },
        sealed_password: row.try_get(15)?,
        batch: batch.map(|id| id.parse().map_err(|_| unreadable("batch"))).transpose()?,
        cause: row.try_get(17)?,
    })
}

fn parsed<T: FromStr>(row: &Row, column: usize) -> Result<T, StoreError> {
    let text: Result<String, Error> = row.try_get(column);
    text?.parse().map_err(|_| unreadable(row.columns()[column].name()))
}

/// The store holds what this program does not write.
fn unreadable(column: &str) -> StoreError {
    StoreError::Unavailable(format!("the column {column} is not as zengate writes it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::postgres::server::Postgres;
    use crate::audit::store;
    use crate::config;

    /// Ten teams with a thousand resets each, a hundred of each instance, one in a hundred rejected.
    const FILL: &str = "INSERT INTO resets (id, instance, team, status, request_id, policies, created_at, writer, sequence, hash)
        SELECT gen_random_uuid(), 'pay-' || n % 100, 'team-' || n % 10,
            CASE WHEN n / 10 % 100 = 0 THEN 'rejected' ELSE 'accepted' END, 'r', '[]',
            to_char(timestamp '2026-11-24' + n * interval '1 s', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), 'w', n, 'h'
        FROM generate_series(1, 10000) AS n;";

    #[test]
    fn every_stretch_is_found_by_its_index_alone() {
        let (server, folder) = (Postgres::shared(), tempfile::tempdir().expect("a folder"));
        let (database, url) = (server.database(), folder.path().join("url"));
        std::fs::write(&url, &database).expect("written");
        let settings = config::Audit::postgres(&url);
        drop(store::open(&settings).unwrap_or_else(|error| panic!("{error}")));
        server.sql(&database, &format!("{FILL} ANALYZE resets"));
        let config::AuditStore::Postgres { url, url_file, connections, lease } = &settings.store else {
            panic!("it is PostgreSQL")
        };
        let (connections, lease, timeout) = (*connections, *lease, settings.timeout);
        let reading = Reading::open(&Settings { url, url_file, connections, lease, timeout });
        let reading = reading.unwrap_or_else(|error| panic!("{error}"));
        let team = || "team-7".parse().expect("a name");
        let at = "2026-11-24T00:50:00.000Z".parse().expect("a time");
        for (shelf, index) in [
            (Shelf::All, "resets_by_time"),
            (Shelf::Status(Status::Rejected), "resets_by_status"),
            (Shelf::Team(team()), "resets_by_team"),
            (Shelf::TeamAndStatus(team(), Status::Rejected), "resets_by_team_and_status"),
            (Shelf::Instance("pay-7".parse().expect("an id")), "resets_by_instance"),
        ] {
            let bounds = [None, Some((at, None)), Some((at, Some(ResetId::generate())))];
            for (since, before) in [None, Some(at)].into_iter().flat_map(|at| bounds.map(|b| (at, b))) {
                let stretch = Stretch { shelf: shelf.clone(), since, before };
                let (sql, query) = history(&stretch, 51);
                let rows = reading.rows(LIST, &format!("EXPLAIN (COSTS OFF) {sql}"), &query.parameters());
                let plan: Vec<String> = rows.expect("a plan").iter().map(|row| row.get(0)).collect();
                // A short one may be sorted after it is read, which is a bitmap's scan.
                let scans = plan.iter().filter(|line| line.contains("Scan") && !line.contains("Bitmap Heap"));
                let scans: Vec<_> = scans.map(|line| line.split(' ').any(|word| word == index)).collect();
                assert_eq!(scans, [true], "by {index}: {stretch:?}: {plan:#?}");
                let bounded = |line: &String| {
                    line.contains("Index Cond: ") && line.contains(">= '") && line.contains("< '")
                };
                assert!(plan.iter().any(bounded), "within both bounds: {stretch:?}: {plan:#?}");
                assert!(!plan.iter().any(|line| line.contains("Filter")), "looks at no others: {plan:#?}");
            }
        }
    }
}
