use std::fmt;

use super::IdempotencyKey;

/// A key with the request that it stands for.
#[derive(Debug, Clone)]
pub struct Keyed {
    pub key: IdempotencyKey,
    pub fingerprint: Fingerprint,
}

/// Tells one request from another without keeping it: a MAC (HMAC-SHA256) over all that makes it what it is. Of the
/// same request by the key before too, while keys are changed.
#[derive(Clone)]
pub struct Fingerprint {
    current: [u8; 32],
    previous: Option<[u8; 32]>,
}

impl Fingerprint {
    pub fn new(current: [u8; 32], previous: Option<[u8; 32]>) -> Self {
        Self { current, previous }
    }

    /// As the store keeps it: by the present key, hexadecimal.
    pub fn kept(&self) -> String {
        hex::encode(self.current)
    }

    /// Whether what the store kept is of the same request, by either key.
    pub fn is_of(&self, kept: &str) -> bool {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .any(|mac| hex::encode(mac) == kept)
    }
}

/// Of the same request, though a key may have come into force between the two.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.is_of(&other.kept()) || other.is_of(&self.kept())
    }
}

/// With the key at hand a password could be guessed by it.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_either_key_and_no_other() {
        let [old, new, other] = [1, 2, 3].map(|byte| [byte; 32]);
        let before = Fingerprint::new(old, None);
        let amid = Fingerprint::new(new, Some(old));
        assert!(amid.is_of(&before.kept()) && amid.is_of(&amid.kept()));
        assert!(!before.is_of(&amid.kept()), "who has the old key alone cannot tell");
        assert_eq!(before, amid, "two of one process may have come under either");
        assert_eq!(amid, before, "in any order");
        assert!(!amid.is_of(&hex::encode(other)) && amid != Fingerprint::new(other, None));
        assert_eq!(format!("{amid:?}"), "[redacted]");
    }
}
