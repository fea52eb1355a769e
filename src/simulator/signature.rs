//! ZC2-HMAC-SHA256 as its receiver sees it, from the vendor's page ("Signature Algorithm v2").

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::http::Request;

/// Greatest difference between the caller's clock and ours, in seconds.
const WINDOW: u64 = 300;

/// The one access key of the simulated account.
pub(super) struct AccessKey {
    id: String,
    mac: Hmac<Sha256>,
}

/// Why a request is refused before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Authorization,
    Signature,
    Expired,
}

impl Refusal {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Authorization => "AUTHFAILURE_INVALID_AUTHORIZATION",
            Self::Signature => "AUTHFAILURE_SIGNATURE_FAILURE",
            Self::Expired => "AUTHFAILURE_SIGNATURE_EXPIRED",
        }
    }
}

impl AccessKey {
    pub(super) fn new(id: String, password: &[u8]) -> Self {
        Self { id, mac: Hmac::new_from_slice(password).expect("HMAC takes a key of any length") }
    }

    /// Checks a request as received at `now` (UNIX seconds).
    pub(super) fn verify(&self, request: &Request, now: i64) -> Result<(), Refusal> {
        let header = request.text("authorization").ok_or(Refusal::Authorization)?;
        let claimed = Claimed::parse(header).ok_or(Refusal::Authorization)?;
        if claimed.key_id != self.id || request.text("x-zc-signature-method") != Some("ZC2-HMAC-SHA256") {
            return Err(Refusal::Authorization);
        }
        let timestamp = request.text("x-zc-timestamp").ok_or(Refusal::Authorization)?;
        let seconds: i64 = timestamp.parse().map_err(|_| Refusal::Authorization)?;
        if seconds.abs_diff(now) > WINDOW {
            return Err(Refusal::Expired);
        }
        let canonical = canonical(request, claimed.signed_headers).ok_or(Refusal::Signature)?;
        let mut mac = self.mac.clone();
        mac.update(
            format!("ZC2-HMAC-SHA256\n{timestamp}\n{}", hex::encode(Sha256::digest(&canonical))).as_bytes(),
        );
        mac.verify_slice(&claimed.signature).map_err(|_| Refusal::Signature)
    }
}

struct Claimed<'h> {
    key_id: &'h str,
    signed_headers: &'h str,
    signature: Vec<u8>,
}

impl<'h> Claimed<'h> {
    fn parse(header: &'h str) -> Option<Self> {
        let rest = header.strip_prefix("ZC2-HMAC-SHA256 ")?;
        // An id may hold anything but the comma that ends it.
        let (key_id, rest) = rest.strip_prefix("Credential=")?.split_once(',')?;
        let (signed_headers, rest) = rest.trim_start().strip_prefix("SignedHeaders=")?.split_once(',')?;
        let signature = rest.trim_start().strip_prefix("Signature=")?;
        // The vendor writes lower-case digits.
        let lower = !signature.bytes().any(|b| b.is_ascii_uppercase());
        Some(Self { key_id, signed_headers, signature: hex::decode(signature).ok().filter(|_| lower)? })
    }
}

/// The canonical request over the headers that the caller says it signed: in lower case, sorted, none twice,
/// `content-type` and `host` among them, each in the request exactly once.
fn canonical(request: &Request, signed: &str) -> Option<Vec<u8>> {
    let names: Vec<&str> = signed.split(';').collect();
    let sorted = names.windows(2).all(|pair| pair[0] < pair[1]);
    let lower = !signed.bytes().any(|b| b.is_ascii_uppercase());
    if !sorted || !lower || !["content-type", "host"].iter().all(|name| names.contains(name)) {
        return None;
    }
    let mut text = format!("{}\n/\n\n", request.method).into_bytes();
    for name in &names {
        let value = request.header(name)?;
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(&value.trim_ascii().to_ascii_lowercase());
        text.push(b'\n');
    }
    text.extend_from_slice(format!("\n{signed}\n{}", hex::encode(Sha256::digest(&request.body))).as_bytes());
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn request(vector: &Value) -> Request {
        let text = |name: &str| vector[name].as_str().expect("a text").to_owned();
        let pair = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        let headers = vec![
            pair("host", text("host")),
            pair("content-type", text("content_type")),
            pair("x-zc-action", "ResetInstancePassword".to_owned()),
            pair("x-zc-signature-method", "ZC2-HMAC-SHA256".to_owned()),
            pair("x-zc-timestamp", vector["timestamp"].to_string()),
            pair("authorization", text("authorization")),
        ];
        Request { method: "POST".to_owned(), path: text("path"), headers, body: text("body").into_bytes() }
    }

    fn vectors() -> Vec<(AccessKey, Request, i64)> {
        let vectors: Vec<Value> = serde_json::from_str(include_str!("../../tests/signature-vectors.json"))
            .expect("the vectors are JSON");
        let text = |v: &Value, name: &str| v[name].as_str().expect("a text").to_owned();
        let key =
            |v: &Value| AccessKey::new(text(v, "access_key_id"), text(v, "access_key_password").as_bytes());
        vectors.iter().map(|v| (key(v), request(v), v["timestamp"].as_i64().expect("a number"))).collect()
    }

    fn set(request: &mut Request, name: &str, value: &str) {
        let header = request.headers.iter_mut().find(|(n, _)| n == name).expect("a header");
        header.1 = value.as_bytes().to_vec();
    }

    #[test]
    fn every_recorded_request_is_good() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 6);
        for (key, request, now) in vectors {
            assert_eq!(key.verify(&request, now), Ok(()), "{request:?}");
            assert_eq!(key.verify(&request, now + 300), Ok(()), "300 s late");
            assert_eq!(key.verify(&request, now - 300), Ok(()), "300 s early");
        }
    }

    #[test]
    fn one_mutant_of_each_rule_is_refused() {
        type Mutation = (&'static str, Refusal, fn(&mut Request));
        let replaced = |request: &mut Request, from: &str, to: &str| {
            let header = request.text("authorization").expect("signed").to_owned();
            assert!(header.contains(from));
            set(request, "authorization", &header.replace(from, to));
        };
        let mutations: &[Mutation] = &[
            ("a byte of the body", Refusal::Signature, |r| r.body[3] ^= 1),
            ("the body's end", Refusal::Signature, |r| r.body.push(b' ')),
            ("the host's port", Refusal::Signature, |r| set(r, "host", "127.0.0.1")),
            ("the content type", Refusal::Signature, |r| {
                set(r, "content-type", "application/json; charset=utf-8")
            }),
            ("the method", Refusal::Signature, |r| r.method = "PUT".to_owned()),
            ("a signed header twice", Refusal::Signature, |r| r.headers.push(r.headers[0].clone())),
            ("a signed header gone", Refusal::Signature, |r| r.headers.retain(|(n, _)| n != "content-type")),
            ("no authorization", Refusal::Authorization, |r| r.headers.retain(|(n, _)| n != "authorization")),
            ("two authorizations", Refusal::Authorization, |r| r.headers.push(r.headers[5].clone())),
            ("another method of signing", Refusal::Authorization, |r| {
                set(r, "x-zc-signature-method", "HMAC")
            }),
        ];
        for (key, good, now) in vectors().into_iter().skip(1) {
            assert_eq!(key.verify(&good, now), Ok(()), "what every mutant starts from");
            for (row, refusal, mutate) in mutations {
                let mut mutant = good.clone();
                mutate(&mut mutant);
                assert_eq!(key.verify(&mutant, now), Err(*refusal), "{row}");
            }
            for (row, refusal, from, to) in [
                ("header order", Refusal::Signature, "content-type;host", "host;content-type"),
                ("header case", Refusal::Signature, "content-type;host", "Content-Type;Host"),
                ("a header left out", Refusal::Signature, "content-type;host", "host"),
                (
                    "a header twice in the list",
                    Refusal::Signature,
                    "content-type;host",
                    "content-type;host;host",
                ),
                ("a header listed but not signed", Refusal::Signature, "host,", "host;x-zc-action,"),
                ("another key's id", Refusal::Authorization, "Credential=", "Credential=x"),
                ("another algorithm", Refusal::Authorization, "ZC2-", "ZC3-"),
                ("no signature", Refusal::Authorization, "Signature=", "Sig="),
            ] {
                let mut mutant = good.clone();
                replaced(&mut mutant, from, to);
                assert_eq!(key.verify(&mutant, now), Err(refusal), "{row}");
            }
            let mut other_time = good.clone();
            set(&mut other_time, "x-zc-timestamp", &(now + 1).to_string());
            assert_eq!(
                key.verify(&other_time, now),
                Err(Refusal::Signature),
                "another time than the signed one"
            );
            assert_eq!(key.verify(&good, now + 301), Err(Refusal::Expired), "301 s late");
            assert_eq!(key.verify(&good, now - 301), Err(Refusal::Expired), "301 s early");
        }
    }

    #[test]
    fn a_longer_list_of_signed_headers_is_honoured() {
        let key = AccessKey::new("id".to_owned(), b"secret");
        let sign = |action: &str| {
            let canonical = format!(
                "POST\n/\n\ncontent-type:application/json\nhost:h\nx-zc-action:{action}\n\ncontent-type;host;x-zc-action\n{}",
                hex::encode(Sha256::digest(b"{}"))
            );
            let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").expect("any length");
            mac.update(format!("ZC2-HMAC-SHA256\n7\n{}", hex::encode(Sha256::digest(canonical))).as_bytes());
            hex::encode(mac.finalize().into_bytes())
        };
        let signature = sign("describeinstances");
        let pair = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let headers = vec![
            pair("host", "h"),
            pair("content-type", "application/json"),
            pair("x-zc-action", "DescribeInstances"),
            pair("x-zc-signature-method", "ZC2-HMAC-SHA256"),
            pair("x-zc-timestamp", "7"),
            pair(
                "authorization",
                &format!(
                    "ZC2-HMAC-SHA256 Credential=id, SignedHeaders=content-type;host;x-zc-action, Signature={signature}"
                ),
            ),
        ];
        let mut request =
            Request { method: "POST".to_owned(), path: "/".to_owned(), headers, body: b"{}".to_vec() };
        assert_eq!(key.verify(&request, 7), Ok(()));
        set(&mut request, "x-zc-action", "ResetInstancePassword");
        assert_eq!(key.verify(&request, 7), Err(Refusal::Signature), "now the action is covered");
    }
}
