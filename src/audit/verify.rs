use std::fmt;

use serde::Deserialize;

use super::read::{ReadError, Reader};
use super::record;

/// A place where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub writer: String,
    pub sequence: u64,
    pub what: &'static str,
}

/// What a walk along every chain found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub records: u64,
    pub chains: u64,
    pub findings: Vec<Finding>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "writer {}, sequence {}: {}", self.writer, self.sequence, self.what)
    }
}

/// The place that a record's own bytes claim.
#[derive(Deserialize)]
struct Claimed {
    writer: String,
    sequence: u64,
    previous: String,
}

impl Reader {
    /// Walks every chain from its first record and recomputes every hash. A tail that was cut off whole leaves
    /// no trace here: that takes a receipt or a later chain's `start`, which names the heads it saw.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        let mut verified = Verified::default();
        for chain in self.chains()? {
            verified.chains += 1;
            let mut at = (0, "0".repeat(64));
            self.each_since(&chain.last.writer, 0, |stored| {
                verified.records += 1;
                let super::Position { writer, sequence, hash } = stored.position;
                let (last, previous) = std::mem::replace(&mut at, (sequence, hash.clone()));
                let mut find =
                    |what| verified.findings.push(Finding { writer: writer.clone(), sequence, what });
                if sequence != last + 1 {
                    find("records before it are missing");
                }
                if record::hash(&stored.record) != hash {
                    find("its bytes do not have the hash beside them: it was changed");
                }
                match serde_json::from_str::<Claimed>(&stored.record) {
                    Ok(claimed) if claimed.writer != writer || claimed.sequence != sequence => {
                        find("its bytes name another place: it was moved");
                    }
                    Ok(claimed) if sequence == last + 1 && claimed.previous != previous => {
                        find("it does not follow the record before it");
                    }
                    Ok(_) => {}
                    Err(_) => find("its bytes are not a record"),
                }
                true
            })?;
        }
        Ok(verified)
    }
}
