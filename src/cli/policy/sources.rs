use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::app;
use crate::cli::{Failure, file, load};
use crate::config::{Config, read_file};
use crate::http::{Client, Endpoint};
use crate::inventory::{self, Attributes};

/// Longest saved inventory, in bytes: some 100,000 instances with all that Zenlayer tells.
const LONGEST: usize = 256 << 20;

/// Where a command takes the policies and the instances from.
#[derive(clap::Args)]
pub(super) struct Sources {
    /// The policies folder; default: the one that the configuration names
    #[arg(value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
    /// The instances, as DescribeInstances answers; default: Zenlayer is asked, if a configuration is read, which is
    /// the one that --config gives, or the default one when no DIR is given
    #[arg(long, value_name = "FILE")]
    pub(super) inventory: Option<PathBuf>,
}

/// The sources, with the configuration behind them if one is read.
pub(super) struct Opened<'s> {
    sources: &'s Sources,
    config: Option<Config>,
    folder: PathBuf,
}

impl Sources {
    /// Reads the configuration if `--config` gives one, or if nothing else names the folder.
    pub(super) fn open(&self, config: Option<&Path>) -> Result<Opened<'_>, Failure> {
        match (&self.folder, config) {
            (Some(folder), None) => Ok(Opened { sources: self, config: None, folder: folder.clone() }),
            (_, config) => Ok(self.under(load(file(config))?)),
        }
    }

    /// The sources under a configuration.
    pub(super) fn under(&self, config: Config) -> Opened<'_> {
        let folder = self.folder.as_ref().unwrap_or(&config.policies.dir).clone();
        Opened { sources: self, folder, config: Some(config) }
    }
}

impl Opened<'_> {
    /// The policies folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The instances, of the file or of Zenlayer; None when nothing says where they are.
    pub(super) fn instances(&self) -> Result<Option<Vec<Attributes>>, Failure> {
        match (&self.sources.inventory, &self.config) {
            (Some(file), _) => saved(file).map(Some),
            (None, Some(config)) => live(config).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Whose clock policies read; UTC without a configuration.
    pub(super) fn time_zone(&self) -> TimeZone {
        self.config.as_ref().map_or(TimeZone::UTC, |config| config.policies.time_zone.clone())
    }
}

/// The instances of a file.
fn saved(file: &Path) -> Result<Vec<Attributes>, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::Finding(format!("--inventory {}: {e}", file.display()));
    let json = read_file(file, LONGEST).map_err(|e| failed(&e))?;
    if json.starts_with("\u{feff}".as_bytes()) {
        return Err(failed(&"begins with a byte order mark: save it without"));
    }
    inventory::saved(&json).map_err(|e| failed(&e))
}

/// The instances that Zenlayer tells of now.
pub(super) fn live(config: &Config) -> Result<Vec<Attributes>, Failure> {
    let failed = |e: &dyn std::fmt::Display| {
        Failure::Finding(format!(
            "Zenlayer does not tell its instances: {e}; --inventory FILE takes them from a file instead"
        ))
    };
    let endpoint = Endpoint::new(&config.upstream, Arc::default()).map_err(|e| failed(&e))?;
    app::block_on(async { inventory::all(&Client::new(Arc::new(endpoint))).await }).map_err(|e| failed(&e))
}
