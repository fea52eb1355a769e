use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::filter::Filters;
use super::line::{Line, Widths};
use crate::app;
use crate::audit::{Filter, ReadError, Reader, Stored};
use crate::cli::lines::Lines;
use crate::cli::{Failure, stopped};

/// Pause between two looks at the chains.
const LOOK: Duration = Duration::from_millis(250);
/// Longest wait for a line that nobody reads, once it was asked to stop.
const PATIENCE: Duration = Duration::from_secs(1);

/// Show records as they are written
#[derive(clap::Args)]
pub(in crate::cli) struct Tail {
    #[command(flatten)]
    filters: Filters,
    /// Print records as JSON Lines
    #[arg(long)]
    json: bool,
    /// Where to begin
    #[arg(long, value_enum, default_value_t = From::Now)]
    from: From,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// With what is written from now on
    Now,
    /// With the first record of every chain
    Start,
}

/// How far each chain has been told.
struct Following {
    reader: Reader,
    filter: Filter,
    json: bool,
    told: BTreeMap<String, u64>,
    lines: Lines,
}

/// Until SIGINT or SIGTERM, or until nobody reads.
pub(super) fn run(arguments: &Tail, reader: Reader) -> Result<(), Failure> {
    let (filter, json, from) = (arguments.filters.filter(), arguments.json, arguments.from);
    let (stop, asked_to_stop) = channel();
    let (ended, mut end) = oneshot::channel();
    // A line that nobody takes blocks its thread, and is not to keep a signal from ending this.
    let follow = move || {
        let following = Following { reader, filter, json, told: BTreeMap::new(), lines: Lines::new() };
        // Whoever waits for it may have lost patience.
        _ = ended.send(following.run(from, &asked_to_stop));
    };
    thread::Builder::new().name("tail".to_owned()).spawn(follow).map_err(Failure::finding)?;
    app::block_on(async {
        tokio::select! {
            followed = &mut end => followed.unwrap_or_else(|gone| Err(Failure::finding(gone))),
            signal = stopped() => {
                drop(stop);
                let followed = tokio::time::timeout(PATIENCE, end).await;
                signal.and(followed.ok().and_then(Result::ok).unwrap_or(Ok(())))
            }
        }
    })
}

impl Following {
    fn run(mut self, from: From, stop: &Receiver<()>) -> Result<(), Failure> {
        let followed = self.follow(from, stop);
        self.lines.end().and(followed.map_err(Failure::finding))
    }

    fn follow(&mut self, from: From, stop: &Receiver<()>) -> Result<(), ReadError> {
        if from == From::Now {
            let ends =
                self.reader.chains()?.into_iter().map(|chain| (chain.last.writer, chain.last.sequence));
            self.told = ends.collect();
        }
        let mut more = self.json || self.lines.put(Line::head().padded(&Widths::usual()));
        while more && self.catch_up()? && self.lines.flush() {
            more = stop.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout);
        }
        Ok(())
    }

    /// Tells what each chain has grown by, in its order: a time that stands still or goes back loses nothing. Whether
    /// more can be told.
    fn catch_up(&mut self) -> Result<bool, ReadError> {
        for chain in self.reader.chains()? {
            let told = self.told.entry(chain.last.writer.clone()).or_default();
            if *told >= chain.last.sequence {
                continue;
            }
            let mut more = true;
            self.reader.each_since(&chain.last.writer, *told, |stored| {
                *told = stored.position.sequence;
                more = !self.filter.fits(&stored) || put(&stored, self.json, &mut self.lines);
                more
            })?;
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn put(stored: &Stored, json: bool, lines: &mut Lines) -> bool {
    if json { lines.put(&stored.record) } else { lines.put(Line::of(stored).padded(&Widths::usual())) }
}
