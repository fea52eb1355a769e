use std::fmt::{self, Display, Formatter, Write};

use crate::audit::Position;

/// A place where the trail does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub writer: String,
    pub sequence: u64,
    pub what: What,
}

/// What is wrong there. The texts are stable: `docs/audit.md` lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Missing,
    NoPlace,
    Changed,
    Moved,
    DoesNotFollow,
    NoRecord,
    BehindTheEnd,
    /// `pruned` names another record than the one before it.
    NotThePruned,
    PutBack,
    NoCheckpoint,
    OtherCheckpoint,
    BadSignature,
    UnknownKey(String),
    Unclosed,
    /// A prune or a restore that no signature covers.
    Unvouched,
    Lacking(Lack, Named),
    /// The intent's row of the table `resets` is not there.
    NoRow,
    /// These columns of it say otherwise.
    OtherRow(Vec<&'static str>),
    UnreadableRow(String),
    RowOfNothing(String),
    NotAReset,
    /// An outcome of which no intent is on record, nor can have been pruned.
    NoIntent,
    /// Its reset began at this place already.
    Again(Position),
}

/// How a record that was there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// All from here on are missing too: its chain ends with this sequence.
    CutOff(u64),
    Gone,
    /// There are later ones.
    Removed,
    /// There is another at its place.
    Another,
}

/// What names a record that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A start or a restored record in the store.
    Record {
        kind: &'static str,
        writer: String,
        sequence: u64,
    },
    /// A checkpoint from outside, and how many others of its writer lack theirs in the same way.
    Checkpoint {
        time: String,
        others: u64,
    },
    Receipt,
    /// The list of the chains as this verification began.
    Beginning,
}

/// What a verification tells as it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Finding(Finding),
    /// What is wrong with the store itself; a finding too.
    Store(String),
    /// A backup was put back: what came after it and before this record may be missing.
    Restored {
        writer: String,
        sequence: u64,
        time: String,
        reason: String,
    },
    /// This record is missing, and was declared to be.
    Declared {
        writer: String,
        sequence: u64,
        time: String,
        reason: String,
        named: Named,
    },
    /// So many records of an open chain stand behind its last checkpoint.
    Open {
        writer: String,
        records: u64,
    },
    /// So many checkpoints of the store are signed by this key.
    Signed {
        key: String,
        checkpoints: u64,
    },
}

/// A text of anybody's, on one line and without commands to a terminal.
struct Plain<'t>(&'t str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| f.write_char(if c.is_control() { '\u{fffd}' } else { c }))
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "writer {}, sequence {}: {}", Plain(&self.writer), self.sequence, self.what)
    }
}

impl Display for What {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Missing => "records before it are missing",
            Self::NoPlace => "it has no place in a chain",
            Self::Changed => "its bytes do not have the hash beside them: it was changed",
            Self::Moved => "its bytes name another place: it was moved",
            Self::DoesNotFollow => "it does not follow the record before it",
            Self::NoRecord => "its bytes are not a record",
            Self::BehindTheEnd => "it stands behind the end of its chain",
            Self::NotThePruned => "it does not follow the record that was pruned before it",
            Self::PutBack => "it was pruned, and is here",
            Self::NoCheckpoint => "it holds no checkpoint",
            Self::OtherCheckpoint => "its checkpoint is not of the record before it",
            Self::BadSignature => "the signature of its checkpoint is wrong",
            Self::UnknownKey(key) => {
                return write!(f, "its checkpoint is signed by {}, a key that is not known", Plain(key));
            }
            Self::Unclosed => "no checkpoint follows it: the end of its chain is missing",
            Self::Unvouched => "no checkpoint vouches for it",
            Self::Lacking(lack, named) => return write!(f, "{lack} (named by {named})"),
            Self::NoRow => "the table resets lacks its reset",
            Self::OtherRow(columns) => {
                return write!(f, "the table resets says otherwise of its reset: {}", columns.join(", "));
            }
            Self::UnreadableRow(why) => {
                return write!(f, "the table resets cannot be read of its reset: {}", Plain(why));
            }
            Self::RowOfNothing(id) => {
                return write!(f, "the table resets has the reset {}, which does not begin here", Plain(id));
            }
            Self::NotAReset => "it does not say what it should of a reset",
            Self::NoIntent => "its reset has no intent",
            Self::Again(Position { writer, sequence, .. }) => {
                return write!(f, "its reset began already: writer {}, sequence {sequence}", Plain(writer));
            }
        };
        f.write_str(text)
    }
}

impl Display for Lack {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff(end) => write!(f, "it was cut off: its chain ends with sequence {end}"),
            Self::Gone => f.write_str("its whole chain is gone"),
            Self::Removed => f.write_str("it was removed"),
            Self::Another => f.write_str("it is not the record that was there"),
        }
    }
}

impl Display for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { kind, writer, sequence } => {
                write!(f, "the {kind} record of writer {}, sequence {sequence}", Plain(writer))
            }
            Self::Checkpoint { time, others: 0 } => write!(f, "the checkpoint of {}", Plain(time)),
            Self::Checkpoint { time, others } => {
                write!(f, "the checkpoint of {} and {others} more", Plain(time))
            }
            Self::Receipt => f.write_str("a receipt"),
            Self::Beginning => f.write_str("the list of chains as this began"),
        }
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(finding) => finding.fmt(f),
            Self::Store(why) => write!(f, "the store itself: {}", Plain(why)),
            Self::Restored { writer, sequence, time, reason } => {
                let (writer, reason) = (Plain(writer), Plain(reason));
                write!(f, "writer {writer}, sequence {sequence}: restored at {}: {reason}", Plain(time))
            }
            Self::Declared { writer, sequence, time, reason, named } => {
                let (writer, time, reason) = (Plain(writer), Plain(time), Plain(reason));
                write!(
                    f,
                    "writer {writer}, sequence {sequence}: declared: restored at {time}: {reason} (named by {named})"
                )
            }
            Self::Open { writer, records: 1 } => {
                write!(f, "writer {}: 1 record stands behind its last checkpoint", Plain(writer))
            }
            Self::Open { writer, records } => {
                write!(f, "writer {}: {records} records stand behind its last checkpoint", Plain(writer))
            }
            Self::Signed { key, checkpoints: 1 } => write!(f, "key {}: signed 1 checkpoint", Plain(key)),
            Self::Signed { key, checkpoints } => {
                write!(f, "key {}: signed {checkpoints} checkpoints", Plain(key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_stands_in_the_docs() {
        let docs = include_str!("../../../docs/audit.md");
        let lacking = |lack| What::Lacking(lack, Named::Receipt);
        let whats = [
            What::Missing,
            What::NoPlace,
            What::Changed,
            What::Moved,
            What::DoesNotFollow,
            What::NoRecord,
            What::BehindTheEnd,
            What::NotThePruned,
            What::PutBack,
            What::NoCheckpoint,
            What::OtherCheckpoint,
            What::BadSignature,
            What::UnknownKey("KEY".to_owned()),
            What::Unclosed,
            What::Unvouched,
            lacking(Lack::CutOff(8)),
            lacking(Lack::Gone),
            lacking(Lack::Removed),
            lacking(Lack::Another),
            What::NoRow,
            What::OtherRow(vec!["COLUMNS"]),
            What::UnreadableRow("…".to_owned()),
            What::RowOfNothing("ID".to_owned()),
            What::NotAReset,
            What::NoIntent,
            What::Again(Position { writer: "W".to_owned(), sequence: 9, hash: String::new() }),
        ];
        for what in whats {
            let text = what.to_string().replace('8', "M").replace('9', "N").replace("a receipt", "NAMED");
            assert!(docs.contains(&format!("| `{text}` |")), "{text}");
        }
    }
}
