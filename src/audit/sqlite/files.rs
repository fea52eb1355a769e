//! Whether the files are still those that were opened. SQLite does not ask: it writes on into files that were taken
//! away or replaced, and behind the end of a log that was cut, and what it writes there is gone with the process.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::audit::store::StoreError;

/// The first four bytes of a log that SQLite began (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>); the
/// last bit says in which order its checksums take bytes.
const MAGIC: u32 = 0x377f_0682;

/// Bytes of a log before its first frame, and of a frame before its page.
const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// The database and its log.
pub(super) struct Files {
    pub(super) database: Watched,
    log: Watched,
    /// As long as the log was at the last look. SQLite begins it anew at its first byte, and never makes it shorter.
    length: u64,
    cut: bool,
}

pub(super) struct Watched {
    pub(super) path: PathBuf,
    /// Device and inode; None while it is not there yet.
    identity: Option<(u64, u64)>,
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        Self { identity: there(&path).as_ref().map(identity), path }
    }

    /// What is there, if it is what was opened.
    fn check(&mut self) -> Result<Option<Metadata>, StoreError> {
        let found = there(&self.path);
        match (self.identity, found.as_ref().map(identity)) {
            (None, now) => self.identity = now,
            (Some(opened), Some(now)) if opened == now => {}
            (Some(_), now) => {
                let what = if now.is_some() { "replaced" } else { "taken away" };
                return Err(StoreError::Damaged(format!(
                    "{} was {what} while it was open",
                    self.path.display()
                )));
            }
        }
        Ok(found)
    }
}

fn there(path: &Path) -> Option<Metadata> {
    std::fs::metadata(path).ok()
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Files {
    pub(super) fn new(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let (database, log) = (Watched::new(path.to_owned()), Watched::new(log.into()));
        let length = there(&log.path).map_or(0, |log| log.len());
        Self { database, log, length, cut: false }
    }

    /// Before a commit. Another program may have emptied the log into the database, which is no damage: `whole` looks,
    /// past all that this writer remembers, whether what was committed is there.
    pub(super) fn before(&mut self, whole: impl FnOnce(&Path) -> bool) -> Result<(), StoreError> {
        let length = self.check()?;
        if length < self.length && (length > 0 || !whole(&self.database.path)) {
            return Err(self.was_cut());
        }
        self.length = self.length.min(length);
        Ok(())
    }

    /// After one: what was taken away or cut before it does not hold it.
    pub(super) fn after(&mut self) -> Result<(), StoreError> {
        let length = self.check()?;
        if length > 0 && !self.log_is_whole() {
            return Err(self.was_cut());
        }
        self.length = length;
        Ok(())
    }

    /// Whether nothing of the log may come into the database any more: SQLite would take its holes for pages.
    pub(super) fn cut(&self) -> bool {
        self.cut
    }

    /// How long the log is.
    fn check(&mut self) -> Result<u64, StoreError> {
        self.database.check()?;
        Ok(self.log.check()?.map_or(0, |log| log.len()))
    }

    /// Whether it begins as a log does, and goes on: what was cut off while a commit wrote is a hole behind it, which the
    /// last frame of before then lies in, and each frame begins with the number of its page, which is never 0.
    fn log_is_whole(&self) -> bool {
        let Ok(log) = File::open(&self.log.path) else { return false };
        let number = |at| {
            let mut bytes = [0; 4];
            log.read_exact_at(&mut bytes, at).map(|()| u32::from_be_bytes(bytes))
        };
        let (Ok(magic), Ok(page)) = (number(0), number(8)) else { return false };
        // A commit that failed may have left a part of one more behind.
        let frame = FRAME_HEADER + u64::from(page);
        let before = (self.length.saturating_sub(HEADER) / frame).checked_sub(1);
        let held = before.is_none_or(|n| number(HEADER + n * frame).is_ok_and(|page| page > 0));
        magic & !1 == MAGIC && held
    }

    fn was_cut(&mut self) -> StoreError {
        self.cut = true;
        StoreError::Damaged(format!("{} was cut while it was open", self.log.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::OpenOptions;
    use std::path::PathBuf;

    use rusqlite::Connection;

    use super::*;
    use crate::audit::record::Chain;
    use crate::audit::store::{self, Projection, Row, Store, StoreError};
    use crate::config;

    struct Written {
        folder: tempfile::TempDir,
        store: Option<Box<dyn Store>>,
        chain: Chain,
    }

    impl Written {
        /// One record in the file itself, and more in its log.
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let chain = Chain::new("w1".to_owned());
            let mut new = Self { store: Some(opened(folder.path())), folder, chain };
            new.append().expect("kept");
            new.store = None;
            new.store = Some(opened(new.folder.path()));
            (0..5).for_each(|_| new.append().expect("kept"));
            new
        }

        fn append(&mut self) -> Result<(), StoreError> {
            let mut chain = self.chain.clone();
            let (position, record) = chain.append(r#""kind":"refused","time":"2026-11-24T12:00:00.000Z"}"#);
            let row = Row { position, record, projection: &Projection::None, claim: None };
            self.store.as_mut().expect("open").append(&[row], &BTreeMap::new())?;
            self.chain = chain;
            Ok(())
        }

        fn log(&self) -> PathBuf {
            self.folder.path().join("trail.db-wal")
        }

        fn cut(&self, length: u64) {
            OpenOptions::new().write(true).open(self.log()).expect("there").set_len(length).expect("cut");
        }

        /// Ends the store as its process does, and tells how many records there then are.
        fn left(self) -> i64 {
            drop(self.store);
            let file = Connection::open(self.folder.path().join("trail.db")).expect("opened");
            let whole: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("read");
            assert_eq!(whole, "ok");
            file.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).expect("counted")
        }
    }

    fn opened(folder: &Path) -> Box<dyn Store> {
        let settings = config::Audit::sqlite(&folder.join("trail.db"));
        store::open(&settings).unwrap_or_else(|error| panic!("{error}"))
    }

    fn damaged(result: Result<(), StoreError>, why: &str) {
        let error = result.expect_err("refused");
        assert!(matches!(&error, StoreError::Damaged(told) if told.contains(why)), "{error}");
    }

    #[test]
    fn a_log_that_was_cut_under_the_writer_takes_no_record_and_spoils_no_file() {
        for (row, part) in [("whole", 0), ("to its head", 32), ("in half", 12_000)] {
            let mut written = Written::new();
            written.cut(part);
            damaged(written.append(), "was cut");
            damaged(written.append(), "was cut");
            let left = written.left();
            assert!((1..6).contains(&left), "{row}: {left}");
        }
    }

    #[test]
    fn a_log_that_was_taken_away_or_replaced_takes_no_record_and_none_is_lost_by_an_orderly_end() {
        for (row, why) in [("removed", "taken away"), ("replaced", "replaced")] {
            let mut written = Written::new();
            std::fs::remove_file(written.log()).expect("removed");
            if row == "replaced" {
                std::fs::write(written.log(), "").expect("written");
            }
            damaged(written.append(), why);
            assert_eq!(written.left(), 6, "{row}");
        }
    }

    #[test]
    fn a_log_that_another_program_has_emptied_into_the_file_is_no_damage() {
        let mut written = Written::new();
        let other = Connection::open(written.folder.path().join("trail.db")).expect("opened");
        let empty = "PRAGMA wal_checkpoint(TRUNCATE)";
        for _ in 0..2 {
            other.query_row(empty, [], |row| row.get::<_, i64>(0)).expect("emptied");
            assert_eq!(std::fs::metadata(written.log()).expect("there").len(), 0);
            written.append().expect("kept");
            written.append().expect("kept");
        }
        drop(other);
        assert_eq!(written.left(), 10);
    }

    /// As when it is cut while a commit writes, which then goes on behind the hole.
    #[test]
    fn a_log_that_was_cut_and_has_grown_again_is_known_by_its_hole() {
        let mut written = Written::new();
        let mut files = Files::new(&written.folder.path().join("trail.db"));
        files.after().expect("whole");
        let log = OpenOptions::new().write(true).open(written.log()).expect("opened");
        let length = log.metadata().expect("there").len();
        written.append().expect("kept");
        files.before(|_| true).expect("it is longer than before");
        files.after().expect("whole");
        log.set_len(length / 4).expect("cut");
        log.set_len(4 * length).expect("grown");
        files.before(|_| true).expect("it is longer than before");
        damaged(files.after(), "was cut");
    }
}
