//! For tests: settings of a Redis that a test started, and what it looks at.

use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server_of_tests::Redis as Server;
use crate::config::{OnRedisLoss, RedisLimits, RedisUrl};
use crate::metrics::Metrics;

/// Settings, and the folder that their URL is in.
pub(crate) struct Setup {
    pub(crate) settings: RedisLimits,
    pub(crate) folder: TempDir,
}

pub(crate) fn setup(url: &str) -> Setup {
    let folder = tempfile::tempdir().expect("a folder");
    let url_file = folder.path().join("url");
    std::fs::write(&url_file, url).expect("written");
    let settings = RedisLimits {
        url: RedisUrl::read(&url_file).unwrap_or_else(|fault| panic!("{fault}")),
        url_file,
        ca: None,
        // The machine of a test may be busy.
        timeout: Duration::from_millis(500),
        prefix: Server::prefix(),
        replicas: NonZeroU32::new(3).expect("three"),
        on_loss: OnRedisLoss::Closed,
    };
    Setup { settings, folder }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime").block_on(future)
}

pub(crate) fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text = String::from_utf8(metrics.encode()).expect("text");
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}
