use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use super::Failure;

/// Many lines to stdout.
pub(super) struct Lines {
    out: BufWriter<StdoutLock<'static>>,
    failed: Option<io::Error>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { out: BufWriter::new(io::stdout().lock()), failed: None }
    }

    /// Whether more can be told.
    pub(super) fn put(&mut self, line: impl Display) -> bool {
        let written = writeln!(self.out, "{line}");
        self.good(written)
    }

    /// What was put is with whoever reads it. Whether more can be told.
    pub(super) fn flush(&mut self) -> bool {
        let flushed = self.out.flush();
        self.good(flushed)
    }

    fn good(&mut self, done: io::Result<()>) -> bool {
        self.failed = self.failed.take().or(done.err());
        self.failed.is_none()
    }

    /// Whoever reads may have gone (`| head`): that is not an error of ours.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        self.flush();
        match self.failed.take() {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::finding(error)),
            _ => Ok(()),
        }
    }
}
