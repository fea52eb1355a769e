use std::io;

use actix_web::web::Bytes;
use serde::Serialize;
use zeroize::Zeroizing;

/// Room that most bodies fit in.
const USUAL: usize = 1024;

/// Bytes that are wiped when dropped, and leave no copy behind as they grow.
pub(super) struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(USUAL)))
    }

    pub(super) fn extend(&mut self, more: &[u8]) {
        let Self(bytes) = self;
        let length = bytes.len() + more.len();
        if length > bytes.capacity() {
            // A vector that grows leaves a copy behind: make room, and let the old place be wiped.
            let mut roomier = Zeroizing::new(Vec::with_capacity((2 * bytes.capacity()).max(length)));
            roomier.extend_from_slice(bytes);
            *bytes = roomier;
        }
        bytes.extend_from_slice(more);
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for Wiped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.extend(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of an answer that may hold a password: wiped once it is sent, or never will be.
pub(super) fn json(answer: &impl Serialize) -> Bytes {
    let mut bytes = Wiped::new();
    serde_json::to_writer(&mut bytes, answer).expect("an answer holds only texts, numbers and lists");
    Bytes::from_owner(bytes.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_outgrows_its_room_is_whole() {
        let text = "x".repeat(10 * USUAL);
        assert_eq!(json(&[&text]), format!("[\"{text}\"]"));
        let mut bytes = Wiped::new();
        for chunk in text.as_bytes().chunks(7) {
            bytes.extend(chunk);
        }
        assert_eq!(bytes.as_slice(), text.as_bytes());
    }
}
