//! What somebody kept outside of the store: checkpoints and receipts, in whatever files they lie.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::audit::{Checkpoint, Position};

/// Longest line of a file with checkpoints, in bytes.
const LONGEST: u64 = 16 << 20;

/// A file to hold the trail against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// Any text with checkpoints in it: a log, records, a note.
    Checkpoints(PathBuf),
    /// Receipts in JSON, alone or in answers, one or many; `-` is stdin.
    Receipts(PathBuf),
}

/// Why a file is no witness.
#[derive(Debug, thiserror::Error)]
pub enum WitnessFault {
    #[error("{} cannot be read: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{} holds no checkpoint: one begins with `zengate-checkpoint-v1`", file.display())]
    NoCheckpoint { file: PathBuf },
    #[error("{} holds no receipt: one is JSON with `writer`, `sequence` and `hash`", file.display())]
    NoReceipt { file: PathBuf },
    #[error("{} is not JSON: {source}", file.display())]
    NoJson { file: PathBuf, source: serde_json::Error },
}

/// Gives every checkpoint in the file, line by line.
pub(super) fn checkpoints<E: From<WitnessFault>>(
    file: &Path,
    mut each: impl FnMut(Checkpoint) -> Result<(), E>,
) -> Result<(), E> {
    let unreadable = |source| WitnessFault::Unreadable { file: file.to_owned(), source };
    let mut text = BufReader::new(File::open(file).map_err(unreadable)?);
    let (mut line, mut found) = (Vec::new(), false);
    loop {
        line.clear();
        let read = (&mut text).take(LONGEST).read_until(b'\n', &mut line).map_err(unreadable)?;
        if read as u64 == LONGEST {
            let long = format!("a line is longer than {} MiB", LONGEST >> 20);
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, long)).into());
        }
        for checkpoint in Checkpoint::all_in(&String::from_utf8_lossy(&line)) {
            found = true;
            each(checkpoint)?;
        }
        if read == 0 {
            let none = || WitnessFault::NoCheckpoint { file: file.to_owned() };
            return if found { Ok(()) } else { Err(none().into()) };
        }
    }
}

/// Gives every receipt in the file, value by value.
pub(super) fn receipts<E: From<WitnessFault>>(
    file: &Path,
    mut each: impl FnMut(Position) -> Result<(), E>,
) -> Result<(), E> {
    let unreadable = |source| WitnessFault::Unreadable { file: file.to_owned(), source };
    let text: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(file).map_err(unreadable)?),
    };
    let mut found = false;
    for value in serde_json::Deserializer::from_reader(BufReader::new(text)).into_iter::<Value>() {
        let value = value.map_err(|source| WitnessFault::NoJson { file: file.to_owned(), source })?;
        let mut within = Vec::new();
        collect(&value, &mut within);
        found |= !within.is_empty();
        within.into_iter().try_for_each(&mut each)?;
    }
    let none = || WitnessFault::NoReceipt { file: file.to_owned() };
    if found { Ok(()) } else { Err(none().into()) }
}

/// The value itself, or whatever stands in it. JSON's own bound keeps it from going deep.
fn collect(value: &Value, found: &mut Vec<Position>) {
    match value {
        Value::Object(fields) => match Position::deserialize(value) {
            Ok(position) => found.push(position),
            Err(_) => fields.values().for_each(|value| collect(value, found)),
        },
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_found_alone_in_answers_in_lists_and_in_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("receipts");
        let one = r#"{"writer":"w","sequence":1,"hash":"aa"}"#;
        for (row, text, count) in [
            ("alone", one.to_owned(), 1),
            ("an answer", format!(r#"{{"id":"x","status":"accepted","receipt":{one}}}"#), 1),
            ("a list", format!(r#"[{one},{{"receipt":{one}}}]"#), 2),
            ("lines", format!("{one}\n{one}\n\n{{\"receipt\":{one}}}\n"), 3),
            ("an answer of many", format!(r#"{{"results":[{{"receipt":{one}}}]}}"#), 1),
        ] {
            std::fs::write(&file, text).expect("written");
            let mut found = Vec::new();
            let read = receipts::<WitnessFault>(&file, |position| {
                found.push(position);
                Ok(())
            });
            read.unwrap_or_else(|e| panic!("{row}: {e}"));
            assert_eq!(found.len(), count, "{row}");
        }
        for (row, text, expected) in [
            ("empty", "", "holds no receipt"),
            ("another thing", r#"{"writer":"w"}"#, "holds no receipt"),
            ("no JSON", "writer w", "is not JSON"),
        ] {
            std::fs::write(&file, text).expect("written");
            let fault = receipts::<WitnessFault>(&file, |_| Ok(())).expect_err(row).to_string();
            assert!(fault.contains(expected), "{row}: {fault}");
        }
        std::fs::write(&file, "no checkpoint").expect("written");
        let fault = checkpoints::<WitnessFault>(&file, |_| Ok(())).expect_err("none").to_string();
        assert!(fault.contains("holds no checkpoint"), "{fault}");
    }
}
