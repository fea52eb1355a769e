use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Seals the position after which a page goes on. It may be at something that the caller may not know of, so a cursor
/// is encrypted; it grants nothing: filters and permission come from each request.
pub struct Cursors(RandomizedNonceKey);

impl Cursors {
    /// Replicas that share the account's secret understand each other's cursors.
    pub fn new(secret: &[u8]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&secret, b"zengate: cursors, version 1");
        Self(RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).expect("the key has 32 bytes"))
    }

    /// A cursor at `position` of the list `of`.
    pub(super) fn seal(&self, of: &str, position: &str) -> String {
        // All of one length: that of a position would show through.
        let mut sealed = vec![b' '; position.len().next_multiple_of(64)];
        sealed[..position.len()].copy_from_slice(position.as_bytes());
        let nonce = self.0.seal_in_place_append_tag(Aad::from(of), &mut sealed);
        let nonce = nonce.expect("a position is short, and the system has randomness");
        URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// The position; None of what is no cursor of this list.
    pub(super) fn open(&self, of: &str, cursor: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let position = self.0.open_in_place(nonce, Aad::from(of), &mut sealed).ok()?;
        Some(std::str::from_utf8(position).ok()?.trim_end_matches(' ').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_for_its_list_and_shows_nothing() {
        let cursors = Cursors::new(b"secret");
        let cursor = cursors.seal("instances", "ins-secret-1");
        assert_eq!(cursors.open("instances", &cursor).as_deref(), Some("ins-secret-1"));
        assert_eq!(Cursors::new(b"secret").open("instances", &cursor).as_deref(), Some("ins-secret-1"));
        assert_eq!(cursors.open("resets", &cursor), None, "of another list");
        assert_eq!(Cursors::new(b"other").open("instances", &cursor), None, "under another secret");
        for place in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(cursors.open("instances", &changed), None, "{place}: {changed}");
        }
        for text in ["", "AAAA", "ins-secret-1", &"A".repeat(200), "!", "\u{e9}"] {
            assert_eq!(cursors.open("instances", text), None, "{text:?}");
        }
        assert_eq!(cursor.len(), cursors.seal("instances", "i").len(), "nor does its length");
        let raw = URL_SAFE_NO_PAD.decode(&cursor).expect("base64url");
        assert!(!raw.windows(4).any(|part| part == b"secr"), "the position does not show");
    }
}
