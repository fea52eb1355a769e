use std::sync::Arc;

use aws_lc_rs::rsa::{OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Kind, RecipientKey};

/// Why nothing can be sealed to a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("`{0}` is a private part: send the public key alone, and take this one for stolen.")]
    Private(&'static str),
    #[error("`kty` must be `RSA`, or `EC` with the curve `P-256`.")]
    Type,
    #[error("`crv` must be `P-256`.")]
    Curve,
    #[error("`use` must be `enc`, or absent.")]
    Use,
    #[error("`key_ops` must name what a public key does for encryption: `{0}`.")]
    Operations(&'static str),
    #[error("`alg` must be `{0}`, or absent.")]
    Algorithm(&'static str),
    #[error("`{0}` is required: base64url without padding.")]
    Member(&'static str),
    #[error("`kid` must be a text of 1 to 128 visible ASCII characters, neither `\"` nor `\\` among them.")]
    Id,
    #[error("An RSA key must have 2048 to 4096 bits; this one has {0}.")]
    Size(usize),
    #[error("`e` must be an odd number from 3 to 4294967295: 65537 is usual (`AQAB`).")]
    Exponent,
    #[error("It is no key that can be encrypted to.")]
    Unusable,
}

/// Members of a JWK that only its owner may know (RFC 7518, section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Members that are looked at. Of any other the name is enough.
pub const MEMBERS: [&str; 10] = ["kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y"];

impl RecipientKey {
    /// Takes a JSON Web Key (RFC 7517). What it does not need to know is left alone.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyFault> {
        if let Some(part) = PRIVATE.into_iter().find(|part| jwk.contains_key(*part)) {
            return Err(KeyFault::Private(part));
        }
        let id = match jwk.get("kid") {
            None => None,
            Some(Value::String(id)) if (1..=128).contains(&id.len()) && id.bytes().all(is_plain) => {
                Some(id.clone())
            }
            Some(_) => return Err(KeyFault::Id),
        };
        if jwk.get("use").is_some_and(|used| used != "enc") {
            return Err(KeyFault::Use);
        }
        let kind = match jwk.get("kty").and_then(Value::as_str) {
            Some("RSA") => rsa(jwk)?,
            Some("EC") => p256(jwk)?,
            _ => return Err(KeyFault::Type),
        };
        let key = Self { kind, id };
        // Tried once: a point off the curve, say, is found out here and not after a reset.
        key.seal_text("").map_err(|_| KeyFault::Unusable)?;
        Ok(key)
    }
}

/// Visible, and one character in JSON too: what is sealed must fit a record with the name in it.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

fn rsa(jwk: &Map<String, Value>) -> Result<Kind, KeyFault> {
    check_purpose(jwk, "RSA-OAEP-256", &["encrypt", "wrapKey"], "wrapKey")?;
    let trimmed = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let (n, e) = (trimmed(member(jwk, "n")?), trimmed(member(jwk, "e")?));
    let bits = n.first().map_or(0, |first| 8 * n.len() - first.leading_zeros() as usize);
    if !(2048..=4096).contains(&bits) {
        return Err(KeyFault::Size(bits));
    }
    let exponent = e.iter().try_fold(0_u32, |sum, byte| sum.checked_mul(256)?.checked_add(u32::from(*byte)));
    if !exponent.is_some_and(|e| e >= 3 && e % 2 == 1) {
        return Err(KeyFault::Exponent);
    }
    let components = PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
    let key: PublicEncryptingKey = components.try_into().map_err(|_| KeyFault::Unusable)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| KeyFault::Unusable)?;
    Ok(Kind::Rsa(Arc::new(key)))
}

fn p256(jwk: &Map<String, Value>) -> Result<Kind, KeyFault> {
    if jwk.get("crv").and_then(Value::as_str) != Some("P-256") {
        return Err(KeyFault::Curve);
    }
    check_purpose(jwk, "ECDH-ES", &["deriveKey", "deriveBits"], "deriveKey")?;
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = member(jwk, name)?;
        if coordinate.len() != 32 {
            return Err(KeyFault::Member(name));
        }
        point.extend(coordinate);
    }
    Ok(Kind::P256(point))
}

fn check_purpose(
    jwk: &Map<String, Value>,
    algorithm: &'static str,
    operations: &[&str],
    usual: &'static str,
) -> Result<(), KeyFault> {
    if jwk.get("alg").is_some_and(|alg| alg != algorithm) {
        return Err(KeyFault::Algorithm(algorithm));
    }
    let Some(named) = jwk.get("key_ops") else { return Ok(()) };
    let named = named.as_array().map(Vec::as_slice).unwrap_or_default();
    // A public key for ECDH has an empty list (W3C Web Cryptography).
    let fits = named.iter().any(|name| operations.iter().any(|known| name == known));
    let empty = named.is_empty() && algorithm == "ECDH-ES" && jwk["key_ops"].is_array();
    if fits || empty { Ok(()) } else { Err(KeyFault::Operations(usual)) }
}

fn member(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFault> {
    let text = jwk.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= 2048);
    let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.ok_or(KeyFault::Member(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0";
    const Y: &str = "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps";

    fn of(jwk: &Value) -> Option<KeyFault> {
        RecipientKey::from_jwk(jwk.as_object().expect("an object")).err()
    }

    fn rsa_n(bytes: usize) -> String {
        let mut n = vec![0xc5; bytes];
        n[bytes - 1] |= 1;
        URL_SAFE_NO_PAD.encode(n)
    }

    #[test]
    fn what_nothing_can_be_sealed_to_is_refused_and_says_why() {
        let ec = |changed: Value| {
            let mut jwk = json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y});
            jwk.as_object_mut().expect("an object").extend(changed.as_object().expect("an object").clone());
            jwk
        };
        let rsa = |bytes: usize, e: &str| json!({"kty": "RSA", "n": rsa_n(bytes), "e": e});
        for (row, jwk, fault) in [
            ("good P-256", ec(json!({})), None),
            ("good P-256 with a name", ec(json!({"kid": "k1", "use": "enc", "alg": "ECDH-ES"})), None),
            ("Web Cryptography's export", ec(json!({"key_ops": [], "ext": true})), None),
            ("good RSA", rsa(256, "AQAB"), None),
            ("nothing", json!({}), Some(KeyFault::Type)),
            ("a secret", json!({"kty": "oct", "k": "AAAA"}), Some(KeyFault::Private("k"))),
            ("its private part", ec(json!({"d": X})), Some(KeyFault::Private("d"))),
            ("another curve", ec(json!({"crv": "P-384"})), Some(KeyFault::Curve)),
            ("no curve", ec(json!({"crv": null})), Some(KeyFault::Curve)),
            ("OKP", json!({"kty": "OKP", "crv": "X25519", "x": X}), Some(KeyFault::Type)),
            ("off the curve", ec(json!({"y": X})), Some(KeyFault::Unusable)),
            ("short", ec(json!({"x": "AAAA"})), Some(KeyFault::Member("x"))),
            ("padded", ec(json!({"x": format!("{X}=")})), Some(KeyFault::Member("x"))),
            ("for signatures", ec(json!({"use": "sig"})), Some(KeyFault::Use)),
            ("to verify", ec(json!({"key_ops": ["verify"]})), Some(KeyFault::Operations("deriveKey"))),
            (
                "operations that are no list",
                ec(json!({"key_ops": {}})),
                Some(KeyFault::Operations("deriveKey")),
            ),
            ("another algorithm", ec(json!({"alg": "ECDH-ES+A256KW"})), Some(KeyFault::Algorithm("ECDH-ES"))),
            ("a name with a line end", ec(json!({"kid": "a\nb"})), Some(KeyFault::Id)),
            ("a name with a quote", ec(json!({"kid": "a\"b"})), Some(KeyFault::Id)),
            ("a name with a backslash", ec(json!({"kid": "a\\b"})), Some(KeyFault::Id)),
            ("a name that is a number", ec(json!({"kid": 1})), Some(KeyFault::Id)),
            ("weak RSA", rsa(128, "AQAB"), Some(KeyFault::Size(1024))),
            ("huge RSA", rsa(513, "AQAB"), Some(KeyFault::Size(4104))),
            ("exponent 1", rsa(256, "AQ"), Some(KeyFault::Exponent)),
            ("an even exponent", rsa(256, "AQAA"), Some(KeyFault::Exponent)),
            (
                "RSA for the older padding",
                {
                    let mut jwk = rsa(256, "AQAB");
                    jwk["alg"] = json!("RSA1_5");
                    jwk
                },
                Some(KeyFault::Algorithm("RSA-OAEP-256")),
            ),
        ] {
            assert_eq!(of(&jwk), fault, "{row}");
        }
    }

    #[test]
    fn leading_zeros_of_a_modulus_are_no_bits() {
        let mut n = vec![0; 129];
        n.extend([0xc5; 127]);
        let jwk = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB"});
        assert_eq!(of(&jwk), Some(KeyFault::Size(1016)));
    }
}
