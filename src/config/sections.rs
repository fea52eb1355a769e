use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretSlice};

use super::upstream;
use super::{Config, PostgresUrl, Reader, Table, issuers};
use crate::domain::TicketPattern;

/// `[server]`: what callers reach.
#[derive(Debug, Clone)]
pub struct Server {
    /// `server.listen`, default `127.0.0.1:8080`; port 0 takes any free one.
    pub listen: SocketAddr,
    /// `server.workers`, threads that serve callers; default: the cores of the machine.
    pub workers: usize,
    /// `server.trusted_proxies`, networks whose `X-Forwarded-For` and `X-Request-Id` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `server.drain_seconds`, default 5: how long a stop serves on, not ready any more, before it begins to end.
    pub drain: Duration,
    /// `server.shutdown_seconds`, default 30: longest wait, after that, for resets in flight at a stop.
    pub shutdown: Duration,
    /// `server.max_connections`, default 10,000: most connections of callers, shared evenly among the workers.
    pub max_connections: usize,
    pub waits: Waits,
    /// `[server.tls]`; without it callers are served over plain HTTP.
    pub tls: Option<ServerTls>,
}

/// How long a caller is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// `server.head_seconds`, default 5: for the head of a request.
    pub head: Duration,
    /// `server.body_seconds`, default 10: for all of its body.
    pub body: Duration,
    /// `server.send_seconds`, default 30: until a caller took a buffer full of an answer.
    pub send: Duration,
    /// `server.idle_seconds`, default 5: for a further request on a connection.
    pub idle: Duration,
}

/// `[server.tls]`: PEM files, read again when they change.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// `server.tls.certificate_file`: the certificate that callers see, then its chain.
    pub certificate_file: PathBuf,
    /// `server.tls.key_file`: its private key.
    pub key_file: PathBuf,
}

/// `[operations]`: what Prometheus and Kubernetes reach.
#[derive(Debug, Clone)]
pub struct Operations {
    /// `operations.listen`, default `127.0.0.1:9464`.
    pub listen: SocketAddr,
}

/// Bytes of a secret file: wiped when dropped, never printed.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// Copies the bytes into a place of their exact size: one that shrinks would leave a copy behind.
    pub fn new(bytes: &[u8]) -> Self {
        Self(SecretSlice::new(bytes.into()))
    }

    /// The bytes themselves, for keying a MAC.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

/// For seeing that a file has changed; it is never a caller's that is compared.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `[policies]`
#[derive(Debug, Clone)]
pub struct Policies {
    /// `policies.dir`, default `policies`.
    pub dir: PathBuf,
    /// `policies.shadow_dir`: a candidate folder that decides beside and is never obeyed; none.
    pub shadow_dir: Option<PathBuf>,
    /// `policies.time_zone`, default `UTC`: whose clock policies read, an IANA name.
    pub time_zone: TimeZone,
}

/// `[tokens]`
#[derive(Debug, Clone, Copy)]
pub struct Tokens {
    /// `tokens.cache_capacity`, default 100,000: most verified tokens remembered; 0 turns it off.
    pub cache_capacity: u64,
}

/// `requests` in each period, at most `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub requests: NonZeroU32,
    pub period: Duration,
    pub burst: NonZeroU32,
}

impl Quota {
    /// For a default: none of the numbers is 0.
    pub const fn new(requests: u32, seconds: u64, burst: u32) -> Self {
        match (NonZeroU32::new(requests), NonZeroU32::new(burst)) {
            (Some(requests), Some(burst)) => Self { requests, period: Duration::from_secs(seconds), burst },
            _ => panic!("a quota of none"),
        }
    }

    /// As governor counts them.
    pub fn cells(&self) -> governor::Quota {
        let interval = self.period / self.requests.get();
        let cells = governor::Quota::with_period(interval).expect("an interval is at least a microsecond");
        cells.allow_burst(self.burst)
    }

    /// A quota is whole: where `key` stands, all three numbers must.
    pub fn read(table: &mut Table<'_>, key: &str, default: &Self) -> Option<Self> {
        if !table.has(key) {
            return Some(*default);
        }
        let mut inner = table.table(key);
        let requests = inner.integer("requests", None, 1..=10_000_000);
        let period = inner.integer("period_seconds", None, 1..=31_536_000);
        let burst = inner.integer("burst", None, 1..=1_000_000);
        let (requests, period, burst) = (requests?, period?, burst?);
        // The state of a quota counts whole microseconds, and must hold all of a burst.
        if requests > period * 1_000_000 {
            inner.fault("requests", "must be at most one a microsecond");
            return None;
        }
        if u128::from(period) * u128::from(burst) / u128::from(requests) > LONGEST_REFILL {
            inner.fault(
                "burst",
                "must be there again within a year: burst × period_seconds / requests ≤ 31536000",
            );
            return None;
        }
        let number = |n: u64| u32::try_from(n).ok().and_then(NonZeroU32::new);
        Some(Self { requests: number(requests)?, period: Duration::from_secs(period), burst: number(burst)? })
    }
}

/// `[inventory]`: what is known of the account's instances.
#[derive(Debug, Clone, Copy)]
pub struct Inventory {
    /// `inventory.max_age_seconds`, default 60: oldest attributes that a reset is decided on.
    pub max_age: Duration,
    /// `inventory.refresh_seconds`, default a third of `max_age_seconds`: pause between two refreshes.
    pub refresh: Duration,
    /// `inventory.lookups`, default 600 in 60 s, 100 at once: instances looked up one by one, of all callers.
    pub lookups: Quota,
    /// `inventory.caller_lookups`, default 60 in 60 s, 30 at once: instances that one user asks about and that are
    /// not there, or not its own to view.
    pub caller_lookups: Quota,
}

/// Longest time, in seconds, in which a spent burst is all there again.
const LONGEST_REFILL: u128 = 31_536_000;

/// `[audit]`: where the trail is kept, and how it is proved.
#[derive(Debug, Clone)]
pub struct Audit {
    pub store: AuditStore,
    /// `audit.signing_key_file`, the Ed25519 key of checkpoints; default: `audit.path` with `.signing-key` behind it.
    /// Required with PostgreSQL.
    pub signing_key_file: PathBuf,
    /// Whether a key that is not there is made: only where the file was not named.
    pub make_signing_key: bool,
    /// `audit.checkpoint_records`, default 1000: most records from one checkpoint to the next.
    pub checkpoint_records: u64,
    /// `audit.checkpoint_seconds`, default 60: longest time from a record to a checkpoint.
    pub checkpoint_interval: Duration,
    /// `audit.timeout_seconds`, default 5: longest wait for an intent to be durable; past it the reset is refused.
    pub timeout: Duration,
    /// `audit.reserve_mib`, default 64: with less free space, refusals are recorded once a caller and minute. Of
    /// SQLite alone.
    pub reserve_bytes: u64,
    /// `audit.sink`, default `none`: where every record is written once more, as JSON Lines.
    pub sink: Option<AuditSink>,
}

/// The second sink of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// `stdout`, between the log's lines.
    Stdout,
    /// `file`: `audit.sink_file`, opened anew when it was moved away.
    File(PathBuf),
}

impl Audit {
    /// A trail in this SQLite file, all else by default.
    pub fn sqlite(path: &Path) -> Self {
        Self {
            store: AuditStore::Sqlite { path: path.to_owned() },
            signing_key_file: beside(path),
            make_signing_key: true,
            checkpoint_records: 1000,
            checkpoint_interval: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            reserve_bytes: 64 << 20,
            sink: None,
        }
    }
}

#[cfg(test)]
impl Audit {
    /// A trail in the PostgreSQL that this file names, all else by default but for short waits.
    pub fn postgres(url_file: &Path) -> Self {
        let url = PostgresUrl::read(url_file).unwrap_or_else(|fault| panic!("{fault}"));
        let (connections, lease) = (4, Duration::from_secs(3));
        Self {
            store: AuditStore::Postgres { url, url_file: url_file.to_owned(), connections, lease },
            timeout: Duration::from_millis(1500),
            reserve_bytes: 0,
            ..Self::sqlite(url_file)
        }
    }
}

/// Where the key of a trail's checkpoints lies unless it is named.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".signing-key");
    PathBuf::from(name)
}

/// What keeps the trail (`audit.store`).
#[derive(Debug, Clone)]
pub enum AuditStore {
    /// `sqlite`, the default.
    Sqlite {
        /// `audit.path`, default `zengate.db`; the writer's lock lies beside it.
        path: PathBuf,
    },
    /// `postgres`: one trail for several replicas.
    Postgres {
        url: PostgresUrl,
        /// `audit.url_file`: where the URL was read from, and is read again before each connect.
        url_file: PathBuf,
        /// `audit.connections`, default 4: most connections that read, beside the one that writes.
        connections: usize,
        /// `audit.lease_seconds`, default 15: a writer that was not heard of for so long may be declared gone.
        lease: Duration,
    },
}

/// `[generated]`: the passwords that are made up here.
#[derive(Debug, Clone, Copy)]
pub struct Generated {
    /// `generated.exclude_look_alikes`, default false: none of `0`, `O`, `1`, `l`, `I` in them.
    pub exclude_look_alikes: bool,
}

/// `[tickets]`
#[derive(Debug, Clone)]
pub struct Tickets {
    /// `tickets.pattern`, none by default: what every ticket must look like.
    pub pattern: Option<TicketPattern>,
}

/// `[telemetry]`
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// `telemetry.log`, default `info`: a level, or directives of tracing-subscriber's `EnvFilter`.
    pub log: String,
}

pub(super) fn read(reader: &mut Reader) -> Option<Config> {
    let server = server(reader.table("server"));
    let operations = operations(reader.table("operations"));
    let issuers = issuers::read(reader.table("issuers"));
    let upstream = upstream::read(reader.table("upstream"));
    let policies = policies(reader.table("policies"));
    let tokens = reader.table("tokens").integer("cache_capacity", Some(100_000), 0..=10_000_000);
    let limits = super::limits::read(reader.table("limits"));
    let inventory = inventory(reader.table("inventory"));
    let audit = audit(reader.table("audit"));
    let idempotency = super::idempotency::read(reader.table("idempotency"), audit.as_ref());
    let cors = super::cors::read(reader.table("cors"));
    let look_alikes = reader.table("generated").boolean("exclude_look_alikes", false);
    let batch = super::batch::read(reader.table("batch"));
    let tickets = tickets(reader.table("tickets"));
    let telemetry = reader.table("telemetry").string("log", Some("info")).map(|log| Telemetry { log });
    Some(Config {
        server: server?,
        operations: operations?,
        issuers: issuers?,
        upstream: upstream?,
        policies: policies?,
        tokens: Tokens { cache_capacity: tokens? },
        limits: limits?,
        inventory: inventory?,
        audit: audit?,
        idempotency: idempotency?,
        telemetry: telemetry?,
        cors: cors?,
        generated: Generated { exclude_look_alikes: look_alikes? },
        batch: batch?,
        tickets: tickets?,
        effective: toml::Table::new(),
    })
}

fn server(mut table: Table<'_>) -> Option<Server> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let listen = table.parse("listen", Some("127.0.0.1:8080"));
    let workers = table.integer("workers", Some(cores.min(256)), 1..=256);
    let trusted_proxies = table.list("trusted_proxies", Some(&[]));
    let drain = seconds(&mut table, "drain_seconds", 5, 0..=300);
    let shutdown = seconds(&mut table, "shutdown_seconds", 30, 1..=600);
    let max_connections = table.integer("max_connections", Some(10_000), 1..=1_000_000);
    let head = seconds(&mut table, "head_seconds", 5, 1..=60);
    let body = seconds(&mut table, "body_seconds", 10, 1..=60);
    let send = seconds(&mut table, "send_seconds", 30, 1..=600);
    let idle = seconds(&mut table, "idle_seconds", 5, 1..=600);
    let tls = if table.has("tls") { server_tls(table.table("tls")).map(Some) } else { Some(None) };
    Some(Server {
        listen: listen?,
        workers: workers? as usize,
        trusted_proxies: trusted_proxies?,
        drain: drain?,
        shutdown: shutdown?,
        max_connections: max_connections? as usize,
        waits: Waits { head: head?, body: body?, send: send?, idle: idle? },
        tls: tls?,
    })
}

/// Whole where it stands: half of it must not end in plain HTTP.
fn server_tls(mut table: Table<'_>) -> Option<ServerTls> {
    let certificate_file = table.path("certificate_file", None);
    let key_file = table.path("key_file", None);
    Some(ServerTls { certificate_file: certificate_file?, key_file: key_file? })
}

fn tickets(mut table: Table<'_>) -> Option<Tickets> {
    if !table.has("pattern") {
        return Some(Tickets { pattern: None });
    }
    table.parse("pattern", None).map(|pattern| Tickets { pattern: Some(pattern) })
}

fn operations(mut table: Table<'_>) -> Option<Operations> {
    table.parse("listen", Some("127.0.0.1:9464")).map(|listen| Operations { listen })
}

fn policies(mut table: Table<'_>) -> Option<Policies> {
    let dir = table.path("dir", Some("policies"));
    let shadow_dir =
        if table.has("shadow_dir") { table.path("shadow_dir", None).map(Some) } else { Some(None) };
    let name = table.string("time_zone", Some("UTC"))?;
    let time_zone = match TimeZone::get(&name) {
        Ok(zone) => zone,
        Err(_) => {
            table.fault("time_zone", format!("{name:?}: must be an IANA name such as \"Europe/Berlin\""));
            return None;
        }
    };
    Some(Policies { dir: dir?, shadow_dir: shadow_dir?, time_zone })
}

fn inventory(mut table: Table<'_>) -> Option<Inventory> {
    let max_age = table.integer("max_age_seconds", Some(60), 1..=300);
    let third = max_age.unwrap_or(60).div_ceil(3);
    let refresh = table.integer("refresh_seconds", Some(third), 1..=300);
    let lookups = Quota::read(&mut table, "lookups", &Quota::new(600, 60, 100));
    let caller_lookups = Quota::read(&mut table, "caller_lookups", &Quota::new(60, 60, 30));
    let (max_age, refresh) = (max_age?, refresh?);
    if refresh > max_age {
        table.fault("refresh_seconds", format!("must be at most max_age_seconds, which is {max_age}"));
        return None;
    }
    Some(Inventory {
        max_age: Duration::from_secs(max_age),
        refresh: Duration::from_secs(refresh),
        lookups: lookups?,
        caller_lookups: caller_lookups?,
    })
}

fn audit(mut table: Table<'_>) -> Option<Audit> {
    let postgres = table.choice("store", "sqlite", &[("sqlite", false), ("postgres", true)]);
    let (foreign, store): (&[_], _) = match postgres {
        Some(true) => (&["path", "reserve_mib"], "sqlite"),
        _ => (&["url_file", "connections", "lease_seconds"], "postgres"),
    };
    for key in foreign.iter().filter(|_| postgres.is_some()) {
        if table.has(key) {
            table.fault(key, format!("is for audit.store = {store:?} alone"));
        }
    }
    foreign.iter().for_each(|key| table.discard(key));
    let timeout = seconds(&mut table, "timeout_seconds", 5, 1..=60);
    let make_signing_key = !table.has("signing_key_file") && postgres != Some(true);
    let (store, default_key) = if postgres == Some(true) {
        (postgres_store(&mut table, timeout), None)
    } else {
        let path = table.path("path", Some("zengate.db"));
        let key = path.as_deref().map(beside);
        (path.map(|path| AuditStore::Sqlite { path }), key)
    };
    let signing_key_file = if make_signing_key { default_key } else { table.path("signing_key_file", None) };
    let checkpoint_records = table.integer("checkpoint_records", Some(1000), 1..=1_000_000);
    let checkpoint_interval = seconds(&mut table, "checkpoint_seconds", 60, 1..=3600);
    let reserve_mib = match postgres {
        Some(true) => Some(0),
        _ => table.integer("reserve_mib", Some(64), 0..=1_048_576),
    };
    let sink = audit_sink(&mut table);
    Some(Audit {
        store: store?,
        signing_key_file: signing_key_file?,
        make_signing_key,
        checkpoint_records: checkpoint_records?,
        checkpoint_interval: checkpoint_interval?,
        timeout: timeout?,
        reserve_bytes: reserve_mib? << 20,
        sink: sink?,
    })
}

fn audit_sink(table: &mut Table<'_>) -> Option<Option<AuditSink>> {
    let to_file =
        table.choice("sink", "none", &[("none", None), ("stdout", Some(false)), ("file", Some(true))])?;
    let Some(true) = to_file else {
        if table.has("sink_file") {
            table.discard("sink_file");
            table.fault("sink_file", "is for audit.sink = \"file\"");
            return None;
        }
        return Some(to_file.map(|_| AuditSink::Stdout));
    };
    table.path("sink_file", None).map(|path| Some(AuditSink::File(path)))
}

fn postgres_store(table: &mut Table<'_>, timeout: Option<Duration>) -> Option<AuditStore> {
    let url_file = table.path("url_file", None);
    let url = url_file.as_deref().and_then(|file| {
        PostgresUrl::read(file).map_err(|fault| table.fault("url_file", fault.to_string())).ok()
    });
    let connections = table.integer("connections", Some(4), 1..=64);
    let lease = seconds(table, "lease_seconds", 15, 3..=300);
    let (lease, timeout) = (lease?, timeout?);
    // One commit that takes its time must not cost a writer its lease.
    if lease < timeout * 2 {
        table.fault("lease_seconds", "must be at least twice timeout_seconds");
        return None;
    }
    Some(AuditStore::Postgres { url: url?, url_file: url_file?, connections: connections? as usize, lease })
}

/// A text that becomes part of a header: printable ASCII.
pub(super) fn header_text(table: &mut Table<'_>, key: &str, default: Option<&str>) -> Option<String> {
    let text = table.string(key, default)?;
    let good = is_header_text(&text);
    if !good {
        table.fault(key, "must be printable ASCII without spaces and commas");
    }
    good.then_some(text)
}

pub(super) fn is_header_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}

pub(super) fn seconds(
    table: &mut Table<'_>,
    key: &str,
    default: u64,
    bounds: std::ops::RangeInclusive<u64>,
) -> Option<Duration> {
    table.integer(key, Some(default), bounds).map(Duration::from_secs)
}
