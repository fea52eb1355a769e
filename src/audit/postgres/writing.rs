use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::future::{join, join3, join5, try_join, try_join3, try_join4};
use jiff::Timestamp;
use tokio_postgres::Statement;
use tokio_postgres::types::{ToSql, Type};

use super::reading::{COLUMNS, reset_of};
use super::runtime::Runtime;
use super::schema::{self, VERSION};
use super::session::{Server, Session};
use super::{Settings, late};
use crate::audit::claim::Claim;
use crate::audit::store::{OpenError, Projection, Resets, Row, Store, StoreError};
use crate::audit::{Position, Reset};
use crate::domain::{Outcome, ResetId, Status, rfc3339};

/// Pause after a server did not answer in time: whoever asks in it is told at once.
const PAUSE: Duration = Duration::from_millis(400);
/// Longest start, with a schema that is brought up to date.
const LONGEST_START: Duration = Duration::from_secs(600);
/// Resets of one statement.
const BATCH: usize = 500;

/// The connection of this process's writer.
pub(in crate::audit) struct Writing {
    server: Server,
    runtime: Runtime,
    /// None before the first, and after whatever went wrong.
    session: Option<Prepared>,
    lease: Duration,
    timeout: Duration,
    /// Until when nothing is tried.
    pause: Option<Instant>,
    /// Writers whose lease had run out at the last look. Only who has not renewed it by the next is gone: after an
    /// outage all leases have run out, and each writer needs a moment to say that it lives.
    suspects: HashSet<String>,
    /// Orphans that were handed out, and have no outcome yet.
    handed: HashSet<ResetId>,
}

/// A session that knows what is asked again and again.
struct Prepared {
    session: Session,
    lease: Statement,
    records: Statement,
    opens: Statement,
    sends: Statement,
    closes: Statement,
    exported: Statement,
    keys: KeyStatements,
}

/// Of idempotency keys.
struct KeyStatements {
    expire: Statement,
    claim: Statement,
    release: Statement,
}

/// It locks the writer's row, until the transaction ends. No row is changed where others have declared it gone.
const LEASE: &str = "INSERT INTO writers (writer, started, lease_until)
    VALUES ($1, clock_timestamp(), clock_timestamp() + make_interval(secs => $2))
    ON CONFLICT (writer) DO UPDATE SET lease_until = excluded.lease_until WHERE NOT writers.gone";
/// Where one is dropped, by a trigger that another has planted, nothing of the transaction happens.
const RECORDS: &str = "WITH kept AS (
        INSERT INTO records (writer, sequence, hash, record)
        SELECT $1, sequence, hash, record
        FROM unnest($2::bigint[], $3::text[], $4::text[]) AS row (sequence, hash, record) RETURNING 1)
    SELECT 1 / (CASE WHEN count(*) = cardinality($2::bigint[]) THEN 1 ELSE 0 END) FROM kept";
/// Where one of them is not queued any more, nothing of the transaction happens: others have told that it was not sent.
const SENDS: &str = "WITH sent AS (
        UPDATE resets SET status = 'sent', policies = row.policies, writer = $1,
            sequence = row.sequence, hash = row.hash, sealed_password = row.sealed_password
        FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])
            AS row (id, policies, sequence, hash, sealed_password)
        WHERE resets.id = row.id AND resets.status = 'queued' RETURNING 1)
    SELECT 1 / (CASE WHEN count(*) = cardinality($2::text[]) THEN 1 ELSE 0 END) FROM sent";
/// What is not known never takes the place of what is, nor a writer that is gone of any outcome, whoever comes last.
const CLOSES: &str = "UPDATE resets SET status = row.status, upstream_code = row.upstream_code,
        upstream_request_id = row.upstream_request_id, finished_at = row.finished_at, cause = row.cause
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[])
        AS row (id, status, upstream_code, upstream_request_id, finished_at, cause, gone)
    WHERE resets.id = row.id AND (resets.status IN ('queued', 'sent')
        OR (NOT row.gone AND (row.status <> 'unknown' OR resets.status = 'unknown')))";
/// What has expired is claimed anew.
const EXPIRE: &str = "DELETE FROM idempotency_keys AS held
    USING unnest($1::text[], $2::text[], $3::text[]) AS row (caller, key, expired)
    WHERE held.caller = row.caller AND held.key = row.key AND held.created_at < row.expired";
const CLAIM_KEYS: &str = "INSERT INTO idempotency_keys (caller, key, fingerprint, target, created_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])";
const RELEASE: &str = "DELETE FROM idempotency_keys WHERE target = ANY ($1::text[])";
const EXPORTED: &str = "INSERT INTO exported (writer, sequence)
    SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (writer) DO UPDATE SET sequence = greatest(exported.sequence, excluded.sequence)";

fn opens() -> String {
    format!(
        "INSERT INTO resets ({COLUMNS}) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[],
            $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
            $13::text[], $14::bigint[], $15::text[], $16::text[], $17::text[], $18::text[])"
    )
}

impl Writing {
    pub(in crate::audit) fn open(settings: &Settings<'_>) -> Result<Self, OpenError> {
        let trail = settings.url.to_string();
        let runtime = Runtime::new().map_err(|source| OpenError::Io { trail: trail.clone(), source })?;
        let server = Server::new(settings, settings.timeout);
        let found = runtime.wait_within(Some(LONGEST_START), async {
            let mut session = server.connect().await?;
            let found = schema::migrate(&mut session.client).await?;
            let fsync: String = session.client.query_one("SHOW fsync", &[]).await?.get(0);
            if fsync != "on" {
                tracing::warn!(
                    "PostgreSQL runs with fsync = {fsync}: a power cut may cost records of the trail"
                );
            }
            Ok(found)
        });
        let found = found.unwrap_or_else(|| Err(late(LONGEST_START)));
        let found = found.map_err(|source| OpenError::Store { trail: trail.clone(), source })?;
        if found.too_new() {
            return Err(OpenError::Version { trail, needs: found.oldest_writer, has: VERSION });
        }
        Ok(Self {
            server,
            runtime,
            session: None,
            lease: settings.lease,
            timeout: settings.timeout,
            pause: None,
            suspects: HashSet::new(),
            handed: HashSet::new(),
        })
    }

    /// One transaction, for no longer than `within`, on a connection that is made anew where there is none. `work`
    /// commits. After whatever goes wrong the connection is dropped, and what was begun with it.
    fn run<T>(
        &mut self,
        begin: Begin<'_>,
        within: Option<Duration>,
        work: impl AsyncFnOnce(&Prepared) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.pause.is_some_and(|until| Instant::now() < until) {
            return Err(late(self.timeout));
        }
        let (session, server, lease) = (self.session.take(), &self.server, self.lease);
        let whole = async {
            let session = Prepared::begun(session, server, begin, lease).await?;
            let done = work(&session).await?;
            Ok::<_, StoreError>((session, done))
        };
        let (session, done) = match self.runtime.wait_within(within, whole) {
            Some(done) => done?,
            None => {
                self.pause = Some(Instant::now() + PAUSE);
                return Err(late(self.timeout));
            }
        };
        self.session = Some(session);
        Ok(done)
    }
}

/// How a transaction begins.
#[derive(Clone, Copy)]
enum Begin<'w> {
    /// With this writer's lease renewed: for whatever it writes.
    Writer(&'w str),
    /// After this writer's transactions: what is then not there will not come.
    After(&'w str),
    Plain,
}

impl Prepared {
    async fn new(session: Session) -> Result<Self, StoreError> {
        let client = &session.client;
        // Each statement goes by a key, however large the tables were when it was planned.
        client.batch_execute("SET enable_seqscan = off").await?;
        let opens = opens();
        let of_resets = try_join3(client.prepare(&opens), client.prepare(SENDS), client.prepare(CLOSES));
        let keys = try_join3(client.prepare(EXPIRE), client.prepare(CLAIM_KEYS), client.prepare(RELEASE));
        let beside = try_join3(client.prepare(LEASE), client.prepare(RECORDS), client.prepare(EXPORTED));
        let ((opens, sends, closes), (expire, claim, release), (lease, records, exported)) =
            try_join3(of_resets, keys, beside).await?;
        let keys = KeyStatements { expire, claim, release };
        Ok(Self { session, lease, records, opens, sends, closes, exported, keys })
    }

    /// A session with a transaction begun. One that broke while nobody used it is replaced, and costs no error.
    async fn begun(
        present: Option<Self>,
        server: &Server,
        begin: Begin<'_>,
        lease: Duration,
    ) -> Result<Self, StoreError> {
        if let Some(session) = present
            && let Ok(held) = session.begin(begin, lease).await
        {
            return if held { Ok(session) } else { Err(StoreError::Fenced) };
        }
        let session = Self::new(server.connect().await?).await?;
        if session.begin(begin, lease).await? { Ok(session) } else { Err(StoreError::Fenced) }
    }

    /// False: others have declared the writer gone. One round trip.
    async fn begin(&self, begin: Begin<'_>, lease: Duration) -> Result<bool, tokio_postgres::Error> {
        let client = &self.session.client;
        let held = async {
            match begin {
                Begin::Writer(writer) => {
                    Ok(client.execute(&self.lease, &[&writer, &lease.as_secs_f64()]).await? > 0)
                }
                Begin::After(writer) => {
                    let lock = "SELECT FROM writers WHERE writer = $1 FOR UPDATE";
                    client.execute_typed(lock, &[(&writer, Type::TEXT)]).await.map(|_| true)
                }
                Begin::Plain => Ok(true),
            }
        };
        // What is polled first is sent first.
        let begun = client.batch_execute("BEGIN; SET LOCAL synchronous_commit = on");
        try_join(begun, held).await.map(|((), held)| held)
    }

    async fn commit(&self) -> Result<(), tokio_postgres::Error> {
        self.session.client.batch_execute("COMMIT").await
    }

    /// Writes the rows, and commits with them. One round trip: where a statement fails, the commit behind it is none.
    /// The server's own timeout must not end the commit first: it would then say that it is done, though it was not
    /// replicated. It counts from the commit, and ours from the transaction's begin.
    async fn write(
        &self,
        rows: &[Row<'_>],
        exported: &BTreeMap<String, u64>,
    ) -> Result<(), tokio_postgres::Error> {
        let client = &self.session.client;
        let (opened, closed) = (opened(rows), closed(rows));
        let records = async {
            let Some(first) = rows.first() else { return Ok(0) };
            let sequences: Vec<_> = rows.iter().map(|row| row.position.sequence as i64).collect();
            let hashes: Vec<_> = rows.iter().map(|row| row.position.hash.as_str()).collect();
            let texts: Vec<_> = rows.iter().map(|row| row.record.as_str()).collect();
            client.execute(&self.records, &[&first.position.writer, &sequences, &hashes, &texts]).await
        };
        let exports = async {
            if exported.is_empty() {
                return Ok(0);
            }
            let (writers, sequences): (Vec<_>, Vec<_>) =
                exported.iter().map(|(writer, sequence)| (writer.as_str(), *sequence as i64)).unzip();
            client.execute(&self.exported, &[&writers, &sequences]).await
        };
        // The keys last: whoever waits for another's has little to do behind it.
        let beside = async { join(exports, self.keep_keys(rows)).await };
        // All of them, and told in their order: what follows on a failure fails too, and says nothing of why.
        let of_resets = async { join(self.open(&opened), self.send(rows)).await };
        let (records, (opens, sends), closes, (exports, keys), commit) =
            join5(records, of_resets, self.close(&closed), beside, self.commit()).await;
        records.and(opens).and(sends).and(closes).and(exports).and(keys).and(commit)
    }

    /// Claims, then releases: what of a group claims a key that it also releases comes before. In one order, so that two
    /// processes never wait for each other.
    async fn keep_keys(&self, rows: &[Row<'_>]) -> Result<u64, tokio_postgres::Error> {
        let client = &self.session.client;
        let (claims, releases) = (claimed(rows), released(rows));
        let column = |of: fn(&Claim) -> String| claims.values().map(|claim| of(claim)).collect::<Vec<_>>();
        let (callers, keys) = (column(|claim| claim.caller.clone()), column(|claim| claim.key.clone()));
        let expired = column(|claim| rfc3339(claim.expired));
        let fingerprints = column(|claim| claim.fingerprint.clone());
        let (targets, times) = (column(|claim| claim.target.to_string()), column(|claim| rfc3339(claim.at)));
        let expire = async {
            match claims.is_empty() {
                true => Ok(0),
                false => client.execute(&self.keys.expire, &[&callers, &keys, &expired]).await,
            }
        };
        let claim = async {
            let values: [&(dyn ToSql + Sync); 5] = [&callers, &keys, &fingerprints, &targets, &times];
            match claims.is_empty() {
                true => Ok(0),
                false => client.execute(&self.keys.claim, &values).await,
            }
        };
        let release = async {
            match releases.is_empty() {
                true => Ok(0),
                false => client.execute(&self.keys.release, &[&releases]).await,
            }
        };
        let (expired, claimed, released) = join3(expire, claim, release).await;
        expired.and(claimed).and(released)
    }

    async fn open(&self, resets: &[Reset]) -> Result<u64, tokio_postgres::Error> {
        if resets.is_empty() {
            return Ok(0);
        }
        let column = |of: fn(&Reset) -> String| resets.iter().map(of).collect::<Vec<_>>();
        let optional = |of: fn(&Reset) -> Option<String>| resets.iter().map(of).collect::<Vec<_>>();
        let policies = column(policies);
        let sequences: Vec<_> = resets.iter().map(|reset| reset.receipt.sequence as i64).collect();
        let client = &self.session.client;
        client
            .execute(
                &self.opens,
                &[
                    &column(|reset| reset.id.to_string()),
                    &column(|reset| reset.instance.to_string()),
                    &column(|reset| reset.team.to_string()),
                    &column(|reset| reset.status.as_str().to_owned()),
                    &column(|reset| reset.request_id.to_string()),
                    &optional(|reset| reset.upstream_request_id.clone()),
                    &optional(|reset| reset.upstream_code.clone()),
                    &optional(|reset| reset.reason.clone()),
                    &optional(|reset| reset.ticket.clone()),
                    &policies,
                    &column(|reset| rfc3339(reset.created_at)),
                    &optional(|reset| reset.finished_at.map(rfc3339)),
                    &column(|reset| reset.receipt.writer.clone()),
                    &sequences,
                    &column(|reset| reset.receipt.hash.clone()),
                    &optional(|reset| reset.sealed_password.clone()),
                    &optional(|reset| reset.batch.map(|id| id.to_string())),
                    &optional(|reset| reset.cause.clone()),
                ],
            )
            .await
    }

    async fn send(&self, rows: &[Row<'_>]) -> Result<u64, tokio_postgres::Error> {
        let sent = rows.iter().filter_map(|row| match row.projection {
            Projection::Send(reset) => Some((&row.position, reset)),
            _ => None,
        });
        let sent: Vec<(&Position, &Box<Reset>)> = sent.collect();
        let Some((first, _)) = sent.first() else { return Ok(0) };
        let ids: Vec<_> = sent.iter().map(|(_, reset)| reset.id.to_string()).collect();
        let policies: Vec<_> = sent.iter().map(|(_, reset)| policies(reset)).collect();
        let sequences: Vec<_> = sent.iter().map(|(position, _)| position.sequence as i64).collect();
        let hashes: Vec<_> = sent.iter().map(|(position, _)| position.hash.as_str()).collect();
        let sealed: Vec<_> = sent.iter().map(|(_, reset)| reset.sealed_password.as_deref()).collect();
        let client = &self.session.client;
        client.execute(&self.sends, &[&first.writer, &ids, &policies, &sequences, &hashes, &sealed]).await
    }

    async fn close(&self, closes: &BTreeMap<String, Close<'_>>) -> Result<u64, tokio_postgres::Error> {
        if closes.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = closes.keys().collect();
        let statuses: Vec<_> = closes.values().map(|close| close.outcome.status().as_str()).collect();
        let codes: Vec<_> = closes.values().map(|close| close.outcome.upstream_code()).collect();
        let requests: Vec<_> = closes.values().map(|close| close.outcome.upstream_request_id()).collect();
        let times: Vec<_> = closes.values().map(|close| rfc3339(close.at)).collect();
        let causes: Vec<_> = closes.values().map(|close| close.cause).collect();
        let gone: Vec<_> = closes.values().map(|close| close.gone).collect();
        let client = &self.session.client;
        client.execute(&self.closes, &[&ids, &statuses, &codes, &requests, &times, &causes, &gone]).await
    }
}

fn policies(reset: &Reset) -> String {
    serde_json::to_string(&reset.policies).expect("a list of texts")
}

/// What rows claim. Two of one key in a group are not kept: the store tells, and they are written one by one.
fn claimed<'r>(rows: &[Row<'r>]) -> BTreeMap<(&'r str, &'r str, String), &'r Claim> {
    let claims = rows.iter().filter_map(|row| row.claim);
    claims.map(|claim| ((&*claim.caller, &*claim.key, claim.target.to_string()), claim)).collect()
}

/// What rows release.
fn released(rows: &[Row<'_>]) -> Vec<String> {
    let released = rows.iter().filter_map(|row| match row.projection {
        Projection::Close { releases, .. } => releases.map(|target| target.to_string()),
        Projection::None | Projection::Open(_) | Projection::Send(_) => None,
    });
    released.collect()
}

/// The resets that rows begin.
fn opened(rows: &[Row<'_>]) -> Vec<Reset> {
    let opened = rows.iter().filter_map(|row| match row.projection {
        Projection::Open(reset) => Some(Reset { receipt: row.position.clone(), ..(**reset).clone() }),
        Projection::None | Projection::Send(_) | Projection::Close { .. } => None,
    });
    opened.collect()
}

struct Close<'r> {
    outcome: &'r Outcome,
    at: Timestamp,
    cause: Option<&'static str>,
    gone: bool,
}

impl Close<'_> {
    /// As the statement has it: what is known before what is not, a writer that is gone last.
    fn rank(&self) -> (bool, bool) {
        (self.outcome.status() != Status::Unknown, !self.gone)
    }
}

/// What rows close, by the resets' ids: one statement changes each once, and two processes go in the same order.
fn closed<'r>(rows: &[Row<'r>]) -> BTreeMap<String, Close<'r>> {
    let mut closed = BTreeMap::new();
    for row in rows {
        let Projection::Close { id, outcome, at, cause, gone, .. } = row.projection else { continue };
        let close = Close { outcome, at: *at, cause: *cause, gone: *gone };
        match closed.entry(id.to_string()) {
            Entry::Vacant(entry) => _ = entry.insert(close),
            Entry::Occupied(mut entry) => {
                if close.rank() >= entry.get().rank() {
                    entry.insert(close);
                }
            }
        }
    }
    closed
}

impl Store for Writing {
    fn append(&mut self, rows: &[Row<'_>], exported: &BTreeMap<String, u64>) -> Result<(), StoreError> {
        let begin = rows.first().map_or(Begin::Plain, |row| Begin::Writer(&row.position.writer));
        self.run(begin, Some(self.timeout), async |session| Ok(session.write(rows, exported).await?))
    }

    fn head(&mut self, writer: &str) -> Result<Option<Position>, StoreError> {
        self.run(Begin::After(writer), Some(self.timeout), async |session| {
            let last = "SELECT sequence, hash FROM records WHERE writer = $1 ORDER BY sequence DESC LIMIT 1";
            let client = &session.session.client;
            let values = [(&writer as _, Type::TEXT)];
            let (row, ()) = try_join(client.query_typed_opt(last, &values), session.commit()).await?;
            Ok(row.map(|row| {
                let (sequence, hash) = (row.get::<_, i64>(0) as u64, row.get(1));
                Position { writer: writer.to_owned(), sequence, hash }
            }))
        })
    }

    fn renew(&mut self, writer: &str) -> Result<(), StoreError> {
        self.run(Begin::Writer(writer), Some(self.timeout), async |session| Ok(session.commit().await?))
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.lease)
    }

    /// Declares gone whoever did not renew its lease, and claims what these left open. The claim of one that is gone
    /// itself is void.
    fn orphans(&mut self, writer: &str) -> Result<Vec<Reset>, StoreError> {
        let suspects: Vec<String> = self.suspects.iter().cloned().collect();
        let (late, mut orphans) = self.run(Begin::Writer(writer), Some(self.timeout), async |session| {
            let client = &session.session.client;
            let texts = [(&writer as _, Type::TEXT)];
            let gone = [(&suspects as _, Type::TEXT_ARRAY)];
            let claim = format!("{CLAIM} RETURNING {COLUMNS}");
            let (_, late, claimed, ()) = try_join4(
                client.execute_typed(GONE, &gone),
                client.query_typed(LATE, &texts),
                client.query_typed(&claim, &texts),
                session.commit(),
            )
            .await?;
            let late: HashSet<String> = late.iter().map(|row| row.get(0)).collect();
            let claimed = claimed.iter().map(reset_of).collect::<Result<Vec<_>, _>>()?;
            Ok((late, claimed))
        })?;
        self.suspects = late;
        let open: HashSet<_> = orphans.iter().map(|reset| reset.id).collect();
        orphans.retain(|reset| !self.handed.contains(&reset.id));
        orphans.sort_by_key(|reset| reset.id.to_string());
        self.handed = open;
        Ok(orphans)
    }

    /// Takes as long as it takes; other writers go on beside it.
    fn remove(&mut self, up_to: &[Position], rows: &[Row<'_>]) -> Result<u64, StoreError> {
        let begin = rows.first().map_or(Begin::Plain, |row| Begin::Writer(&row.position.writer));
        self.run(begin, None, async |session| {
            let client = &session.session.client;
            client.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL zengate.pruning = 'on'").await?;
            let mut removed = 0;
            for Position { writer, sequence, .. } in up_to {
                let sequence = *sequence as i64;
                let place = [(writer as _, Type::TEXT), (&sequence as _, Type::INT8)];
                let resets = "DELETE FROM resets WHERE writer = $1 AND sequence <= $2";
                let records = "DELETE FROM records WHERE writer = $1 AND sequence <= $2";
                client.execute_typed(resets, &place).await?;
                removed += client.execute_typed(records, &place).await?;
            }
            session.write(rows, &BTreeMap::new()).await?;
            Ok(removed)
        })
    }

    /// No reset begins or ends meanwhile: what writes them waits for this, or gives up.
    fn replace_projection(&mut self, resets: &mut Resets<'_>) -> Result<(), StoreError> {
        self.run(Begin::Plain, None, async |session| {
            let client = &session.session.client;
            client
                .batch_execute(
                    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
                     LOCK TABLE resets IN EXCLUSIVE MODE; DELETE FROM resets",
                )
                .await?;
            loop {
                let batch: Vec<_> = resets.take(BATCH).collect::<Result<_, _>>()?;
                session.open(&batch).await?;
                if batch.len() < BATCH {
                    return Ok(session.commit().await?);
                }
            }
        })
    }

    /// What another forgets, or claims anew, is passed over.
    fn expire_keys(&mut self, before: Timestamp, most: usize) -> Result<usize, StoreError> {
        self.run(Begin::Plain, Some(self.timeout), async |session| {
            let delete = "DELETE FROM idempotency_keys WHERE (caller, key) IN (
                SELECT caller, key FROM idempotency_keys WHERE created_at < $1
                ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
            let client = &session.session.client;
            let (before, most) = (rfc3339(before), most as i64);
            let values = [(&before as _, Type::TEXT), (&most as _, Type::INT8)];
            let (expired, ()) = try_join(client.execute_typed(delete, &values), session.commit()).await?;
            Ok(usize::try_from(expired).unwrap_or(usize::MAX))
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// Whoever is amid a transaction lives, and is passed over.
const GONE: &str = "UPDATE writers SET gone = true WHERE writer IN (
    SELECT writer FROM writers WHERE writer = ANY ($1) AND NOT gone AND lease_until < clock_timestamp()
    FOR UPDATE SKIP LOCKED)";
const LATE: &str = "SELECT writer FROM writers
    WHERE NOT gone AND lease_until < clock_timestamp() AND writer <> $1";
const CLAIM: &str = "UPDATE resets SET closer = $1 WHERE id IN (
    SELECT id FROM resets JOIN writers USING (writer)
    WHERE status IN ('sent', 'queued') AND writers.gone AND (closer IS NULL OR closer = $1
        OR EXISTS (SELECT FROM writers AS closers WHERE closers.writer = resets.closer AND closers.gone))
    FOR UPDATE OF resets SKIP LOCKED)";
