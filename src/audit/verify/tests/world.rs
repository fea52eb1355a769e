//! Trails in real files, and what somebody with the file but without the key can do to them.

use std::path::PathBuf;

use rusqlite::{Connection, params};
use serde_json::Value;

use crate::audit::tests::{EFFORT, Fixture, accepted};
use crate::audit::verify::{Progress, Told, Verified, Witness};
use crate::audit::{Position, PublicKeys, Reader, Trail, record};
use crate::config;
use crate::http::Target;

pub(super) struct World {
    pub(super) fixture: Fixture,
    pub(super) settings: config::Audit,
    /// In the order of their starts.
    pub(super) writers: Vec<String>,
}

impl World {
    pub(super) fn new() -> Self {
        let fixture = Fixture::new();
        // start, intent, outcome, checkpoint, …
        let settings = config::Audit { checkpoint_records: 3, ..config::Audit::sqlite(&fixture.path()) };
        Self { fixture, settings, writers: Vec::new() }
    }

    /// Chain A: start, intent, outcome, checkpoint, intent, outcome, stop, checkpoint.
    /// Chain B: start, intent, outcome, checkpoint, stop, checkpoint.
    pub(super) async fn two_chains() -> Self {
        let mut world = Self::new();
        world.writer(&["ins-1", "ins-2"]).await;
        world.writer(&["ins-3"]).await;
        world
    }

    pub(super) fn trail(&mut self) -> Trail {
        let trail =
            Trail::start(&self.settings, self.fixture.metrics.clone()).unwrap_or_else(|e| panic!("{e}"));
        self.see();
        trail
    }

    /// A writer that resets these, one after the other, and stops.
    pub(super) async fn writer(&mut self, instances: &[&str]) {
        let trail = self.trail();
        for instance in instances {
            reset(&self.fixture, &trail, instance).await;
        }
        trail.stop();
    }

    /// Learns the writers' names.
    pub(super) fn see(&mut self) {
        let chains = Reader::open(&self.settings).expect("readable").chains().expect("readable");
        for chain in chains {
            if !self.writers.contains(&chain.last.writer) {
                self.writers.push(chain.last.writer);
            }
        }
    }

    /// The file, without what keeps mistakes away.
    pub(super) fn file(&self) -> File {
        let file = Connection::open(self.fixture.path()).expect("opened");
        let lift = "DROP TRIGGER IF EXISTS records_are_never_updated; DROP TRIGGER IF EXISTS records_are_never_deleted";
        file.execute_batch(lift).expect("dropped");
        file.execute_batch("PRAGMA synchronous = OFF").expect("set");
        File { file, writers: self.writers.clone() }
    }

    pub(super) fn keys(&self) -> PublicKeys {
        PublicKeys::of_signing_key(&self.settings.signing_key_file).expect("a key")
    }

    /// All that is told, with A, B, … for the writers.
    pub(super) fn told(&self, keys: &PublicKeys, witnesses: &[Witness]) -> (Verified, Vec<String>) {
        let reader = Reader::open(&self.settings).expect("readable");
        let mut told = Vec::new();
        let mut each = |line: Told| told.push(self.named(&line.to_string()));
        let progress: &Progress<'_> = &|_, done, of| assert!(done <= of, "{done} of {of}");
        let verified = reader.verify(keys, witnesses, &mut each, progress).unwrap_or_else(|e| panic!("{e}"));
        (verified, told)
    }

    /// The findings alone.
    pub(super) fn found(&self, witnesses: &[Witness]) -> Vec<String> {
        let (verified, told) = self.told(&self.keys(), witnesses);
        let notes = ["key ", "writer A: ", "writer B: ", "writer C: "];
        let found: Vec<_> = told
            .into_iter()
            .filter(|line| {
                let note = notes.iter().any(|note| line.starts_with(note));
                !note && !line.contains(": restored at ") && !line.contains(": declared: ")
            })
            .collect();
        assert_eq!(verified.findings, found.len() as u64, "{found:?}");
        found
    }

    fn named(&self, line: &str) -> String {
        let letters = ["A", "B", "C", "D"];
        self.writers
            .iter()
            .zip(letters)
            .fold(line.to_owned(), |line, (writer, letter)| line.replace(writer, letter))
    }

    pub(super) fn position(&self, letter: char, sequence: u64) -> Position {
        self.file().position(letter, sequence)
    }

    /// The checkpoint's text in this record, and its time.
    pub(super) fn checkpoint(&self, letter: char, sequence: u64) -> (String, String) {
        let record: Value = serde_json::from_str(&self.file().record(letter, sequence)).expect("JSON");
        let text = record["checkpoint"].as_str().expect("a checkpoint").to_owned();
        let time = text.split(' ').nth(4).expect("a time").to_owned();
        (text, time)
    }

    pub(super) fn kept(&self, name: &str, text: &str) -> PathBuf {
        let file = self.fixture.folder.path().join(name);
        std::fs::write(&file, text).expect("written");
        file
    }

    pub(super) fn receipt(&self, position: &Position) -> Witness {
        let text = serde_json::to_string(position).expect("JSON");
        Witness::Receipts(self.kept("receipt", &text))
    }

    pub(super) fn checkpoints(&self, text: &str) -> Witness {
        Witness::Checkpoints(self.kept("log", text))
    }

    /// A backup, as SQLite makes one.
    pub(super) fn copy(&self) -> PathBuf {
        let copy = self.fixture.folder.path().join("copy.db");
        let vacuum = format!("VACUUM INTO '{}'", copy.display());
        Connection::open(self.fixture.path()).expect("opened").execute(&vacuum, []).expect("copied");
        copy
    }

    pub(super) fn put_back(&self, copy: &std::path::Path) {
        for behind in ["-wal", "-shm"] {
            let mut name = self.fixture.path().into_os_string();
            name.push(behind);
            _ = std::fs::remove_file(name);
        }
        std::fs::copy(copy, self.fixture.path()).expect("copied");
    }
}

pub(super) async fn reset(fixture: &Fixture, trail: &Trail, instance: &str) -> Position {
    let intent = trail.open(fixture.permit(instance), &Target::for_test()).await.expect("opened");
    trail.close(intent, accepted(), EFFORT).await.reset().receipt.clone()
}

pub(super) struct File {
    file: Connection,
    writers: Vec<String>,
}

/// Who tampers puts back what would tell of it.
impl Drop for File {
    fn drop(&mut self) {
        for (name, what) in [("updated", "UPDATE"), ("deleted", "DELETE")] {
            let made = format!(
                "CREATE TRIGGER IF NOT EXISTS records_are_never_{name} BEFORE {what} ON records
                    BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;"
            );
            // A test may have taken the table away.
            _ = self.file.execute_batch(&made);
        }
    }
}

impl File {
    pub(super) fn writer(&self, letter: char) -> &str {
        &self.writers[letter as usize - 'A' as usize]
    }

    /// A and B stand for the writers' names.
    pub(super) fn sql(&self, sql: &str) {
        let letters = ["'A'", "'B'", "'C'"];
        let named = self
            .writers
            .iter()
            .zip(letters)
            .fold(sql.to_owned(), |sql, (writer, letter)| sql.replace(letter, &format!("'{writer}'")));
        self.file.execute_batch(&named).unwrap_or_else(|e| panic!("{named}: {e}"));
    }

    pub(super) fn record(&self, letter: char, sequence: u64) -> String {
        let select = "SELECT record FROM records WHERE writer = ?1 AND sequence = ?2";
        let at = params![self.writer(letter), sequence as i64];
        self.file.query_row(select, at, |row| row.get(0)).expect("a record")
    }

    pub(super) fn position(&self, letter: char, sequence: u64) -> Position {
        let hash = record::hash(&self.record(letter, sequence));
        Position { writer: self.writer(letter).to_owned(), sequence, hash }
    }

    pub(super) fn put(&self, letter: char, sequence: u64, hash: &str, record: &str) {
        let put = "INSERT INTO records (writer, sequence, hash, record) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET hash = ?3, record = ?4";
        let row = params![self.writer(letter), sequence as i64, hash, record];
        self.file.execute(put, row).expect("put");
    }

    /// Another text with its own hash.
    pub(super) fn edit(&self, letter: char, sequence: u64, from: &str, to: &str) {
        let record = self.record(letter, sequence);
        let edited = record.replace(from, to);
        assert_ne!(edited, record, "{from} is in {record}");
        self.put(letter, sequence, &record::hash(&edited), &edited);
    }

    /// Makes every link from here to the end of the chain fit again.
    pub(super) fn relink(&self, letter: char, mut sequence: u64) {
        let end: i64 = self
            .file
            .query_row("SELECT max(sequence) FROM records WHERE writer = ?1", [self.writer(letter)], |row| {
                row.get(0)
            })
            .expect("a chain");
        while sequence <= end as u64 {
            let mut fields: serde_json::Value =
                serde_json::from_str(&self.record(letter, sequence)).expect("JSON");
            let previous = fields["previous"].as_str().expect("a hash").to_owned();
            let named = fields["sequence"].take();
            let before = match sequence {
                1 => "0".repeat(64),
                _ => self.position(letter, sequence - 1).hash,
            };
            let record = self.record(letter, sequence).replacen(&previous, &before, 1).replacen(
                &format!("\"sequence\":{named},"),
                &format!("\"sequence\":{sequence},"),
                1,
            );
            self.put(letter, sequence, &record::hash(&record), &record);
            sequence += 1;
        }
    }

    /// Makes the rows of the chain's intents name their hashes.
    pub(super) fn rehash_rows(&self) {
        self.sql(
            "UPDATE resets SET hash = (SELECT hash FROM records
             WHERE records.writer = resets.writer AND records.sequence = resets.sequence)",
        );
    }
}
