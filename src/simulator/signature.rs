//! ZC2-HMAC-SHA256, verified from the received bytes as Zenlayer's page "Signature Algorithm v2" describes it.

#[cfg(test)]
mod tests;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::message::{Field, Request};
use super::refusal::{Code, Refusal};

const METHOD: &str = "ZC2-HMAC-SHA256";
/// Signed whatever the request's path is.
const CANONICAL_URI: &str = "/";
const LEEWAY_SECONDS: u64 = 300;

/// An account's access key, ready to compute with.
pub struct AccessKey {
    id: String,
    keyed: Hmac<Sha256>,
}

impl AccessKey {
    pub fn new(id: String, password: &str) -> Self {
        let keyed = Hmac::new_from_slice(password.as_bytes()).expect("HMAC takes keys of every length");
        Self { id, keyed }
    }

    /// Refuses what was not signed with this key within five minutes of `now`.
    pub fn verify(&self, request: &Request<'_>, now: Timestamp) -> Result<(), Refusal> {
        let claim = Claim::read(request)?;
        if claim.access_key_id != self.id {
            return Err(Code::InvalidAuthorization.refuse("The access key id does not exist."));
        }
        let seconds =
            unix_time(claim.timestamp).ok_or_else(|| malformed("X-ZC-Timestamp is no UNIX time."))?;
        if now.as_second().abs_diff(seconds) > LEEWAY_SECONDS {
            return Err(Code::SignatureExpired.refuse("The signature has expired."));
        }
        let mut mac = self.keyed.clone();
        mac.update(METHOD.as_bytes());
        mac.update(b"\n");
        mac.update(claim.timestamp.as_bytes());
        mac.update(b"\n");
        mac.update(hex::encode(Sha256::digest(canonical(request, claim.signed_headers)?)).as_bytes());
        mac.verify_slice(&claim.signature).map_err(|_| mismatch("The signature does not match the request."))
    }
}

/// What the headers say of the signature.
struct Claim<'m> {
    access_key_id: &'m str,
    timestamp: &'m str,
    signed_headers: &'m str,
    signature: [u8; 32],
}

impl<'m> Claim<'m> {
    fn read(request: &Request<'m>) -> Result<Self, Refusal> {
        let needed =
            |name| request.text(name).ok_or_else(|| malformed("A header of the signature is missing."));
        if needed("x-zc-signature-method")? != METHOD {
            return Err(malformed("X-ZC-Signature-Method is not ZC2-HMAC-SHA256."));
        }
        let timestamp = needed("x-zc-timestamp")?;
        let (access_key_id, signed_headers, signature) = take_apart(needed("authorization")?)
            .ok_or_else(|| malformed("Authorization is not made as the signature method demands."))?;
        if !is_good_list(signed_headers) {
            return Err(malformed(
                "SignedHeaders must be sorted, in lower case, with content-type and host.",
            ));
        }
        Ok(Self { access_key_id, timestamp, signed_headers, signature })
    }
}

/// `ZC2-HMAC-SHA256 Credential=<id>, SignedHeaders=<list>, Signature=<64 lower-case hex digits>`.
fn take_apart(authorization: &str) -> Option<(&str, &str, [u8; 32])> {
    let rest = authorization.strip_prefix(METHOD)?.strip_prefix(" Credential=")?;
    let (access_key_id, rest) = rest.split_once(", SignedHeaders=")?;
    let (signed_headers, digits) = rest.split_once(", Signature=")?;
    if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    let mut signature = [0; 32];
    hex::decode_to_slice(digits, &mut signature).ok()?;
    Some((access_key_id, signed_headers, signature))
}

/// Digits only: `parse` would also take a sign.
fn unix_time(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_good_list(signed_headers: &str) -> bool {
    let names = || signed_headers.split(';');
    names().is_sorted_by(|a, b| a < b)
        && names().all(|name| !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()))
        && ["content-type", "host"].iter().all(|needed| names().any(|name| name == *needed))
}

fn canonical(request: &Request<'_>, signed_headers: &str) -> Result<Vec<u8>, Refusal> {
    let mut canonical = Vec::with_capacity(256);
    // The query is always empty, hence two line ends.
    for part in [request.method, "\n", CANONICAL_URI, "\n\n"] {
        canonical.extend_from_slice(part.as_bytes());
    }
    for name in signed_headers.split(';') {
        let Field::Once(value) = request.field(name) else {
            return Err(mismatch("A signed header is not there exactly once."));
        };
        canonical.extend_from_slice(name.as_bytes());
        canonical.push(b':');
        lower_case(value, &mut canonical);
        canonical.push(b'\n');
    }
    canonical.push(b'\n');
    canonical.extend_from_slice(signed_headers.as_bytes());
    canonical.push(b'\n');
    canonical.extend_from_slice(hex::encode(Sha256::digest(request.body)).as_bytes());
    Ok(canonical)
}

fn lower_case(value: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(value) {
        Ok(text) if !text.is_ascii() => out.extend_from_slice(text.to_lowercase().as_bytes()),
        _ => out.extend(value.iter().map(u8::to_ascii_lowercase)),
    }
}

fn malformed(message: &'static str) -> Refusal {
    Code::InvalidAuthorization.refuse(message)
}

fn mismatch(message: &'static str) -> Refusal {
    Code::SignatureFailure.refuse(message)
}
