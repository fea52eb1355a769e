//! One TOML file and the environment, read once into types; every fault is reported together.
//!
//! `docs/configuration.md` is the reference. A `ZENGATE__TABLE__KEY` variable overrides any key; other
//! names that begin with `ZENGATE_` are left alone, since Kubernetes itself injects such.

mod batch;
mod cors;
mod file;
mod idempotency;
mod issuers;
mod limits;
mod postgres;
mod reader;
mod redis;
mod sections;
mod upstream;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use batch::Batch;
pub use cors::{Cors, OriginFault, WebOrigin};
pub use file::{create_secret, read_file, read_text};
pub use idempotency::Idempotency;
pub use issuers::{FetchUrl, Fetching, Issuer, KeySource, SignatureAlgorithm, TeamPattern, check_secret};
pub use limits::{Limits, OnRedisLoss, RedisLimits};
pub use postgres::{PostgresTls, PostgresUrl};
pub use reader::{Fault, Reader, Table, without_line_end};
pub use redis::RedisUrl;
pub use sections::{
    Audit, AuditSink, AuditStore, Generated, Inventory, Operations, Policies, Quota, Secret, Server,
    ServerTls, Telemetry, Tickets, Tokens, Waits,
};
pub use upstream::{AccessKey, Budget, KeyFiles, SignedHeader, Upstream};
pub use url::{Host, UrlFault};

use crate::domain::IssuerName;

/// Everything that an operator sets.
#[derive(Debug)]
pub struct Config {
    pub server: Server,
    pub operations: Operations,
    pub issuers: BTreeMap<IssuerName, Issuer>,
    pub upstream: Upstream,
    pub policies: Policies,
    pub tokens: Tokens,
    pub limits: Limits,
    pub inventory: Inventory,
    pub audit: Audit,
    pub idempotency: Idempotency,
    pub telemetry: Telemetry,
    pub cors: Cors,
    pub generated: Generated,
    pub batch: Batch,
    pub tickets: Tickets,
    effective: toml::Table,
}

/// Where `ZENGATE__…` variables come from; tests give a map.
pub trait Env {
    /// All variables, as name and value.
    fn variables(&self) -> Vec<(String, String)>;
}

/// The environment of this process. A variable that is not Unicode cannot be one of ours.
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn variables(&self) -> Vec<(String, String)> {
        std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect()
    }
}

impl Env for BTreeMap<String, String> {
    fn variables(&self) -> Vec<(String, String)> {
        self.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// All that is wrong with a configuration, one line a fault.
#[derive(Debug, thiserror::Error)]
pub struct Faults {
    /// The file that was read.
    pub file: PathBuf,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.faults.len() == 1 { "fault" } else { "faults" };
        write!(f, "{}: {} {many}", self.file.display(), self.faults.len())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl Config {
    /// Reads `file` and the overrides in `env`.
    pub fn load(file: &Path, env: &impl Env) -> Result<Self, Faults> {
        let mut reader =
            Reader::open(file, env).map_err(|fault| Faults { file: file.to_owned(), faults: vec![fault] })?;
        let sections = sections::read(&mut reader);
        let (effective, faults) = reader.finish();
        match sections {
            Some(sections) if faults.is_empty() => Ok(Self { effective, ..sections }),
            _ => Err(Faults { file: file.to_owned(), faults }),
        }
    }

    /// The effective settings as TOML. Secrets are named by file, so none is in it.
    pub fn show(&self) -> String {
        self.effective.to_string()
    }
}

#[cfg(test)]
mod tests;
