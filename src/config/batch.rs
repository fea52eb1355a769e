use std::time::Duration;

use super::Table;
use super::sections::seconds;

/// `[batch]`: calls that reset several instances.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// `batch.concurrency`, default 4: most resets of one batch that are under way at a time.
    pub concurrency: usize,
    /// `batch.max_running`, default 16: most batches at a time; a further one is refused with 503.
    pub max_running: usize,
    /// `batch.deadline_seconds`, default 60: when a batch that tells generated passwords is answered at the latest.
    pub deadline: Duration,
    /// `batch.longest_seconds`, default 600: how long any other batch goes on trying.
    pub longest: Duration,
}

pub(super) fn read(mut table: Table<'_>) -> Option<Batch> {
    let concurrency = table.integer("concurrency", Some(4), 1..=64);
    let max_running = table.integer("max_running", Some(16), 1..=1000);
    let deadline = seconds(&mut table, "deadline_seconds", 60, 5..=600);
    let longest = seconds(&mut table, "longest_seconds", 600, 5..=86_400);
    Some(Batch {
        concurrency: concurrency? as usize,
        max_running: max_running? as usize,
        deadline: deadline?,
        longest: longest?,
    })
}
