//! The second sink: every record once more, as a line of its own, at least once. It reads the store behind the writer,
//! so that it can be slow or broken without a reset waiting for it.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::store::{Source, StoreError, Stored};
use super::writer::Writer;
use super::{OpenError, Position};
use crate::config::AuditSink;
use crate::metrics::Metrics;

/// Records that are read and written at a time.
const BATCH: usize = 500;
/// Pause before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Pause between two looks for chains of writers that have gone.
const LOOK: Duration = Duration::from_secs(30);

/// Wakes the sink: the writer's chain has grown to here.
pub(super) type Wake = SyncSender<Position>;

/// The handle of the thread that writes it.
pub(super) struct Sink {
    wake: Wake,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What wakes a sink, and what it waits on. One place: whoever finds it taken has been heard already.
pub(super) fn bell() -> (Wake, Receiver<Position>) {
    sync_channel(1)
}

impl Sink {
    pub(super) fn start(
        to: &AuditSink,
        (wake, woken): (Wake, Receiver<Position>),
        source: Arc<dyn Source>,
        writer: Writer,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Sink { source };
        let sent = source
            .exported()
            .map_err(|source| OpenError::Store { trail: "of the sink".to_owned(), source })?;
        let output = match to {
            AuditSink::Stdout => Output::Stdout,
            // A folder that is not there is told at the start, not hours later.
            AuditSink::File(path) => {
                Output::File { path: path.clone(), open: Some(opened(path).map_err(failed)?) }
            }
        };
        let mut thread = Thread { output, source, writer, sent, metrics, failing: false };
        let run = move || thread.run(&woken);
        let spawned = std::thread::Builder::new().name("audit-sink".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { wake, thread: Mutex::new(Some(spawned)) })
    }

    /// Writes what the store has by now, once, and ends.
    pub(super) fn stop(&self) {
        let thread = self.thread.lock().expect("nothing panics while it holds the lock").take();
        let Some(thread) = thread else { return };
        let end = Position { writer: String::new(), sequence: 0, hash: String::new() };
        // It may sleep on an error: then it is not waited for, and goes on from there at the next start.
        _ = self.wake.send(end);
        _ = thread.join();
    }
}

struct Thread {
    output: Output,
    source: Arc<dyn Source>,
    writer: Writer,
    /// The last record of each writer that is written.
    sent: BTreeMap<String, u64>,
    metrics: Arc<Metrics>,
    failing: bool,
}

impl Thread {
    fn run(&mut self, woken: &Receiver<Position>) {
        let mut looked: Option<Instant> = None;
        let mut head: Option<Position> = None;
        loop {
            let due = looked.is_none_or(|looked| looked.elapsed() >= LOOK);
            let written = if due {
                self.write_all()
            } else {
                head.iter().try_for_each(|head| self.write(&head.writer))
            };
            if written.is_ok() && due {
                looked = Some(Instant::now());
            }
            self.told(&written, head.as_ref());
            let pause = if written.is_ok() { LOOK } else { RETRY };
            match woken.recv_timeout(pause) {
                Ok(end) if end.writer.is_empty() => {
                    _ = self.write_all();
                    return;
                }
                Ok(grown) => head = Some(grown),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Every chain that no other process writes.
    fn write_all(&mut self) -> Result<(), SinkError> {
        let chains = self.source.chains()?;
        chains.into_iter().filter(|chain| !chain.live).try_for_each(|chain| self.write(&chain.last.writer))
    }

    /// All of one chain that is not written yet.
    fn write(&mut self, writer: &str) -> Result<(), SinkError> {
        loop {
            let sent = self.sent.get(writer).copied().unwrap_or_default();
            let batch = self.source.since(writer, sent, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            let sequence = last.position.sequence;
            self.output.write(&batch)?;
            self.sent.insert(writer.to_owned(), sequence);
            self.writer.exported(writer.to_owned(), sequence);
        }
    }

    /// One line a change, not one a failure.
    fn told(&mut self, written: &Result<(), SinkError>, head: Option<&Position>) {
        if let Some(head) = head {
            let sent = self.sent.get(&head.writer).copied().unwrap_or_default();
            self.metrics.sink_behind(head.sequence.saturating_sub(sent));
        }
        match written {
            Ok(()) if self.failing => tracing::info!("the audit sink can be written again"),
            Err(why) if !self.failing => {
                tracing::error!("the audit sink cannot be written, and is tried again every second: {why}");
            }
            _ => {}
        }
        self.failing = written.is_err();
        if self.failing {
            self.metrics.sink_failed();
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SinkError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Output(#[from] io::Error),
}

enum Output {
    Stdout,
    File { path: PathBuf, open: Option<File> },
}

impl Output {
    fn write(&mut self, records: &[Stored]) -> io::Result<()> {
        let mut lines = String::new();
        for stored in records {
            lines.push_str(&stored.record);
            lines.push('\n');
        }
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush())
            }
            Self::File { path, open } => {
                // A rotation has moved the old one away, or a failure may have left half a line.
                let mut file = match open.take().filter(|file| is_at(file, path)) {
                    Some(file) => file,
                    None => opened(path)?,
                };
                file.write_all(lines.as_bytes()).and_then(|()| file.sync_data())?;
                *open = Some(file);
                Ok(())
            }
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let (ours, there) = (file.metadata().map(identity), std::fs::metadata(path).map(identity));
    ours.is_ok_and(|ours| there.is_ok_and(|there| ours == there))
}

/// Appends behind a whole line: what was torn by a full disk is ended first.
fn opened(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path)?;
    if !file.metadata()?.is_file() {
        // A pipe without a reader would hold the gateway's stop up.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
