//! A password -> what only its recipient can read: compact JWE (RFC 7516) under the public key that the caller gave.

mod jwk;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::agreement::{self, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kdf::{SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use zeroize::Zeroizing;

use crate::domain::Password;

pub use jwk::{KeyFault, MEMBERS};

/// A public key that passwords can be sealed to: RSA of 2048 to 4096 bits, or P-256. What is sealed
/// to it has at most 1,000 characters.
#[derive(Debug, Clone)]
pub struct RecipientKey {
    kind: Kind,
    /// The key's own name, given back in the header.
    id: Option<String>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// `RSA-OAEP-256` (RFC 7518, section 4.3).
    Rsa(OaepKey),
    /// `ECDH-ES` on P-256 (RFC 7518, section 4.6): the point, uncompressed.
    P256(Vec<u8>),
}

/// The library's own is not `Clone`; its parts are.
type OaepKey = std::sync::Arc<OaepPublicEncryptingKey>;

/// The library would not do its part, which it does for every key that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be sealed")]
pub struct Unsealed;

impl From<Unspecified> for Unsealed {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl RecipientKey {
    /// Compact JWE of the password, anew under a key of its own each time.
    pub fn seal(&self, password: &Password) -> Result<String, Unsealed> {
        self.seal_text(password.expose())
    }

    fn seal_text(&self, secret: &str) -> Result<String, Unsealed> {
        match &self.kind {
            Kind::Rsa(key) => {
                let mut content_key = Zeroizing::new([0_u8; 32]);
                aws_lc_rs::rand::fill(content_key.as_mut_slice())?;
                let mut room = vec![0; key.ciphertext_size()];
                let wrapped =
                    key.encrypt(&OAEP_SHA256_MGF1SHA256, content_key.as_slice(), &mut room, None)?;
                compact(&self.header(json!({"alg": "RSA-OAEP-256"})), wrapped, &content_key, secret)
            }
            Kind::P256(point) => {
                let ephemeral = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())?;
                let public = ephemeral.compute_public_key()?;
                // Uncompressed: 0x04, then x and y of 32 bytes each.
                let coordinate =
                    |part: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&public.as_ref()[part]);
                let epk =
                    json!({"kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65)});
                let header = self.header(json!({"alg": "ECDH-ES", "epk": epk}));
                let theirs = UnparsedPublicKey::new(&ECDH_P256, point);
                let content_key = agreement::agree_ephemeral(ephemeral, theirs, Unsealed, derive)?;
                compact(&header, &[], &content_key, secret)
            }
        }
    }

    fn header(&self, mut header: serde_json::Value) -> String {
        header["enc"] = json!("A256GCM");
        if let Some(id) = &self.id {
            header["kid"] = json!(id);
        }
        URL_SAFE_NO_PAD.encode(header.to_string())
    }
}

/// Concat KDF (NIST SP 800-56A, as RFC 7518 section 4.6.2 feeds it): the algorithm, two parties without a name, and
/// the length of the key in bits.
fn derive(agreed: &[u8]) -> Result<Zeroizing<[u8; 32]>, Unsealed> {
    let algorithm = get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha256).ok_or(Unsealed)?;
    let mut info = vec![0, 0, 0, 7];
    info.extend_from_slice(b"A256GCM");
    info.extend_from_slice(&[0; 8]);
    info.extend_from_slice(&256_u32.to_be_bytes());
    let mut key = Zeroizing::new([0; 32]);
    sskdf_digest(algorithm, agreed, &info, key.as_mut_slice())?;
    Ok(key)
}

fn compact(
    header: &str,
    wrapped: &[u8],
    key: &Zeroizing<[u8; 32]>,
    secret: &str,
) -> Result<String, Unsealed> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())?;
    // Room for the tag from the start: a buffer that grows leaves a copy of what is not sealed yet behind.
    let mut sealed = Vec::with_capacity(secret.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(secret.as_bytes());
    let nonce = key.seal_in_place_append_tag(Aad::from(header), &mut sealed)?;
    let (text, tag) = sealed.split_at(secret.len());
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Ok([header, &part(wrapped), &part(nonce.as_ref()), &part(text), &part(tag)].join("."))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::agreement::PrivateKey;
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
    use serde_json::Value;

    use super::*;

    fn password() -> Password {
        Password::parse("Abcd~1234".to_owned()).expect("a password")
    }

    fn of(jwk: Value) -> RecipientKey {
        RecipientKey::from_jwk(jwk.as_object().expect("an object")).expect("a key")
    }

    fn parts(jwe: &str) -> [Vec<u8>; 5] {
        let parts: Vec<_> =
            jwe.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url")).collect();
        parts.try_into().expect("five parts")
    }

    fn open(jwe: &str, content_key: &[u8]) -> String {
        let [_, _, nonce, text, tag] = parts(jwe);
        let key = RandomizedNonceKey::new(&AES_256_GCM, content_key).expect("32 bytes");
        let nonce = aws_lc_rs::aead::Nonce::try_assume_unique_for_key(&nonce).expect("12 bytes");
        let header = jwe.split('.').next().expect("a header");
        let mut sealed = [text, tag].concat();
        let opened = key.open_in_place(nonce, Aad::from(header), &mut sealed).expect("opens");
        String::from_utf8(opened.to_vec()).expect("text")
    }

    #[test]
    fn what_is_sealed_to_an_rsa_key_opens_with_its_private_half_alone() {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("made");
        let der = private.public_key().as_der().expect("DER").as_ref().to_vec();
        // The modulus is the 256 bytes before the exponent, 02 03 01 00 01.
        let n = &der[der.len() - 5 - 256..der.len() - 5];
        let key = of(json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB", "kid": "mine"}));
        let jwe = key.seal(&password()).expect("sealed");
        assert_ne!(jwe, key.seal(&password()).expect("sealed"), "anew each time");
        let [header, wrapped, ..] = parts(&jwe);
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        assert_eq!(header, json!({"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "mine"}));
        let private = OaepPrivateDecryptingKey::new(private).expect("usable");
        let mut room = vec![0; private.min_output_size()];
        let content_key =
            private.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut room, None).expect("unwraps");
        assert_eq!(open(&jwe, content_key), "Abcd~1234");
    }

    #[test]
    fn what_is_sealed_to_a_p256_key_opens_with_its_private_half_alone() {
        let private = PrivateKey::generate(&ECDH_P256).expect("made");
        let point = private.compute_public_key().expect("has one").as_ref().to_vec();
        let coordinate = |part: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[part]);
        let key = of(json!({"kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65)}));
        let jwe = key.seal(&password()).expect("sealed");
        let [header, wrapped, ..] = parts(&jwe);
        assert!(wrapped.is_empty(), "the key is agreed upon, not wrapped");
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        let theirs = |name: &str| {
            URL_SAFE_NO_PAD.decode(header["epk"][name].as_str().expect("text")).expect("base64url")
        };
        let ephemeral = [vec![4], theirs("x"), theirs("y")].concat();
        let ephemeral = UnparsedPublicKey::new(&ECDH_P256, ephemeral);
        let content_key = agreement::agree(&private, ephemeral, Unsealed, derive).expect("agreed");
        assert_eq!(open(&jwe, content_key.as_slice()), "Abcd~1234");
    }

    #[test]
    fn the_longest_there_is_fits_a_record() {
        let mut n = vec![0xff; 512];
        n[0] = 0xc5;
        let name = "!".repeat(128);
        let key = of(json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB", "kid": name}));
        let password = Password::parse("Zz9~!@$^*-_=+aB0".to_owned()).expect("16 characters");
        let length = key.seal(&password).expect("sealed").len();
        assert!((900..=1000).contains(&length), "a text of a record has at most 1024: {length}");
    }
}
