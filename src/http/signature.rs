//! ZC2-HMAC-SHA256, Zenlayer's request signature (Zenlayer Cloud API 2.0, "Signature Algorithm v2").
//!
//! It covers the `content-type` and `host` headers, the body and the time, and further headers where
//! `upstream.signed_headers` names them; never the path. What it does not cover is a constant of the configuration,
//! never a caller's.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// An access key made ready: the key schedule is computed once.
pub struct Signer {
    access_key_id: String,
    key: Hmac<Sha256>,
}

impl Signer {
    /// `access_key_password` is the secret half of the key.
    pub fn new(access_key_id: &str, access_key_password: &[u8]) -> Self {
        let key = Hmac::new_from_slice(access_key_password).expect("HMAC takes a key of any length");
        Self { access_key_id: access_key_id.to_owned(), key }
    }

    /// The `Authorization` header of a request with these headers and body, at `timestamp` (UNIX seconds).
    /// The headers' names are in lower case and in the order of ASCII.
    pub fn authorization(&self, timestamp: i64, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut canonical = Sha256::new();
        // Zenlayer signs the constant "/" and an empty query, whatever the request's path.
        canonical.update("POST\n/\n\n");
        for (name, value) in headers {
            canonical.update(name);
            canonical.update(":");
            canonical.update(value.trim().to_ascii_lowercase());
            canonical.update("\n");
        }
        canonical.update("\n");
        for (place, (name, _)) in headers.iter().enumerate() {
            canonical.update(if place == 0 { "" } else { ";" });
            canonical.update(name);
        }
        canonical.update("\n");
        canonical.update(hex_digest(&Sha256::digest(body)));

        let mut mac = self.key.clone();
        mac.update(b"ZC2-HMAC-SHA256\n");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b"\n");
        mac.update(&hex_digest(&canonical.finalize()));
        let signature = hex_digest(&mac.finalize().into_bytes());

        let mut header = String::with_capacity(200 + self.access_key_id.len());
        header.push_str("ZC2-HMAC-SHA256 Credential=");
        header.push_str(&self.access_key_id);
        for (place, (name, _)) in headers.iter().enumerate() {
            header.push_str(if place == 0 { ", SignedHeaders=" } else { ";" });
            header.push_str(name);
        }
        header.push_str(", Signature=");
        header.push_str(std::str::from_utf8(&signature).expect("hexadecimal digits are ASCII"));
        header
    }
}

fn hex_digest(digest: &[u8]) -> [u8; 64] {
    let mut text = [0; 64];
    hex::encode_to_slice(digest, &mut text).expect("a SHA-256 digest is 64 digits");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("host", "h")];

    #[derive(Deserialize)]
    struct Vector {
        note: String,
        timestamp: i64,
        access_key_id: String,
        access_key_password: String,
        host: String,
        content_type: String,
        body: String,
        authorization: String,
    }

    #[test]
    fn every_recorded_request_is_signed_alike() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../tests/signature-vectors.json"))
            .expect("the vectors are JSON");
        assert_eq!(vectors.len(), 6);
        for v in vectors {
            let signer = Signer::new(&v.access_key_id, v.access_key_password.as_bytes());
            let headers = [("content-type", v.content_type.as_str()), ("host", v.host.as_str())];
            let header = signer.authorization(v.timestamp, &headers, v.body.as_bytes());
            assert_eq!(header, v.authorization, "{} at {}", v.note, v.timestamp);
        }
    }

    proptest! {
        #[test]
        fn any_changed_byte_changes_the_signature(body in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, flip in 1u8..) {
            let signer = Signer::new("id", b"key");
            let mut other = body.clone();
            other[at.index(body.len())] ^= flip;
            prop_assert_ne!(
                signer.authorization(1, &HEADERS, &body),
                signer.authorization(1, &HEADERS, &other)
            );
        }
    }
}
