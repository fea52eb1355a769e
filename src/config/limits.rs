use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{Quota, RedisUrl, Table};

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    /// `limits.max_keys`, default 1,000,000: most charged quotas (teams and resting instances) held at a time in this
    /// process.
    pub max_keys: usize,
    /// `limits.failed_authentications`, default 600 in 60 s, 200 at once: of one client network (IPv4 /32,
    /// IPv6 /64).
    pub failed_authentications: Quota,
    /// `limits.store`, default `local`. None: the charged quotas are counted in this process.
    pub redis: Option<RedisLimits>,
}

/// `limits.store = "redis"`: one count of the charged quotas for several replicas.
#[derive(Debug, Clone)]
pub struct RedisLimits {
    pub url: RedisUrl,
    /// `limits.redis_url_file`: where the URL was read from, and is read again before each connect.
    pub url_file: PathBuf,
    /// `limits.redis_ca_file`, PEM: the authorities to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// `limits.redis_timeout_milliseconds`, default 50: longest wait for one answer.
    pub timeout: Duration,
    /// `limits.prefix`, default `zengate:`, before the name of every key.
    pub prefix: String,
    /// `limits.replicas`, required: the most that run at once.
    pub replicas: NonZeroU32,
    pub on_loss: OnRedisLoss,
}

/// `limits.on_redis_loss`: what becomes of resets while Redis cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRedisLoss {
    /// `closed`, the default: they are refused.
    Closed,
    /// `local`: each replica counts its part of the quotas.
    Local,
}

const OF_REDIS: [&str; 6] =
    ["redis_url_file", "redis_ca_file", "redis_timeout_milliseconds", "prefix", "on_redis_loss", "replicas"];

pub(super) fn read(mut table: Table<'_>) -> Option<Limits> {
    let by_redis = table.choice("store", "local", &[("local", false), ("redis", true)]);
    let redis = match by_redis {
        Some(true) => redis(&mut table).map(Some),
        _ => {
            for key in OF_REDIS {
                if table.has(key) && by_redis.is_some() {
                    table.fault(key, "is for limits.store = \"redis\" alone");
                }
                table.discard(key);
            }
            Some(None)
        }
    };
    let max_keys = table.integer("max_keys", Some(1_000_000), 1_000..=100_000_000);
    let failed = Quota::read(&mut table, "failed_authentications", &Quota::new(600, 60, 200));
    Some(Limits { max_keys: max_keys? as usize, failed_authentications: failed?, redis: redis? })
}

fn redis(table: &mut Table<'_>) -> Option<RedisLimits> {
    let url_file = table.path("redis_url_file", None);
    let url = url_file.as_deref().and_then(|file| {
        RedisUrl::read(file).map_err(|fault| table.fault("redis_url_file", fault.to_string())).ok()
    });
    let ca = table.optional_file("redis_ca_file");
    if let Some(Some(pem)) = &ca
        && let Err(what) = authorities(pem)
    {
        table.fault("redis_ca_file", what);
    }
    let milliseconds = table.integer("redis_timeout_milliseconds", Some(50), 5..=1000);
    let prefix = prefix(table);
    let replicas = table.integer("replicas", None, 1..=1000);
    let on_loss = table.choice(
        "on_redis_loss",
        "closed",
        &[("closed", OnRedisLoss::Closed), ("local", OnRedisLoss::Local)],
    );
    Some(RedisLimits {
        url: url?,
        url_file: url_file?,
        ca: ca?,
        timeout: Duration::from_millis(milliseconds?),
        prefix: prefix?,
        replicas: NonZeroU32::new(u32::try_from(replicas?).ok()?)?,
        on_loss: on_loss?,
    })
}

fn prefix(table: &mut Table<'_>) -> Option<String> {
    let prefix = table.string("prefix", Some("zengate:"))?;
    // Braces would say which part of a key places it in a cluster.
    let good = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}');
    if !prefix.bytes().all(good) || !(1..=64).contains(&prefix.len()) {
        table.fault("prefix", "must be 1 to 64 printable ASCII characters without spaces and braces");
        return None;
    }
    Some(prefix)
}

fn authorities(pem: &[u8]) -> Result<(), &'static str> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| "is not PEM")?).map_err(|_| "holds a certificate that is none")?;
    }
    if roots.is_empty() { Err("holds no certificate") } else { Ok(()) }
}
