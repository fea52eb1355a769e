use bytes::Bytes;
use serde::Deserialize;

use super::*;
use crate::simulator::message::Message;

#[derive(Deserialize)]
struct Vector {
    note: String,
    timestamp: i64,
    access_key_id: String,
    access_key_password: String,
    host: String,
    content_type: String,
    path: String,
    body: String,
    authorization: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../../../tests/signature-vectors.json")).expect("recorded JSON")
}

fn received(vector: &Vector) -> Vec<u8> {
    let Vector { timestamp, host, content_type, path, body, authorization, .. } = vector;
    let head = format!(
        "POST {path} HTTP/1.1\r\nX-ZC-Signature-Method: ZC2-HMAC-SHA256\r\nx-zc-timestamp: {timestamp}\r\n\
         Host: {host}\r\nContent-Type: {content_type}\r\nAuthorization: {authorization}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

fn verdict(key: &AccessKey, bytes: &[u8], now: i64) -> Result<(), Code> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let message = Message::new(Bytes::copy_from_slice(&bytes[..end]), Bytes::copy_from_slice(&bytes[end..]));
    let request = message.request().expect("a request");
    let now = Timestamp::from_second(now).expect("a time");
    key.verify(&request, now).map_err(|refusal| refusal.code)
}

fn edited(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).expect("text");
    assert_eq!(text.matches(from).count(), 1, "{from:?} stands once in the request");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn every_recorded_request_verifies_and_with_any_body_byte_flipped_does_not() {
    for vector in vectors() {
        let key = AccessKey::new(vector.access_key_id.clone(), &vector.access_key_password);
        let bytes = received(&vector);
        assert_eq!(verdict(&key, &bytes, vector.timestamp), Ok(()), "{}", vector.note);
        for place in bytes.len() - vector.body.len()..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            let judged = verdict(&key, &flipped, vector.timestamp);
            assert_eq!(judged, Err(Code::SignatureFailure), "{} byte {place}", vector.note);
        }
        let other = AccessKey::new(vector.access_key_id.clone(), "another password");
        assert_eq!(verdict(&other, &bytes, vector.timestamp), Err(Code::SignatureFailure), "{}", vector.note);
    }
}

#[test]
fn a_clock_is_taken_up_to_five_minutes_off_either_way() {
    let vector = &vectors()[1];
    let key = AccessKey::new(vector.access_key_id.clone(), &vector.access_key_password);
    let expired = Err(Code::SignatureExpired);
    for (off, expected) in [(0, Ok(())), (-300, Ok(())), (300, Ok(())), (-301, expired), (301, expired)] {
        assert_eq!(verdict(&key, &received(vector), vector.timestamp + off), expected, "{off} s");
    }
}

#[test]
fn any_change_to_what_was_sent_is_refused() {
    let vector = &vectors()[1];
    let key = AccessKey::new(vector.access_key_id.clone(), &vector.access_key_password);
    let good = received(vector);
    assert_eq!(verdict(&key, &good, vector.timestamp), Ok(()));
    let same_meaning = edited(&good, "Content-Type: application/json", "CONTENT-TYPE:   Application/JSON ");
    assert_eq!(verdict(&key, &same_meaning, vector.timestamp), Ok(()), "case and white space do not count");
    for (from, to, code) in [
        ("POST ", "PUT ", Code::SignatureFailure),
        ("Host: 127.0.0.1:18999", "Host: 127.0.0.1", Code::SignatureFailure),
        ("Host: 127.0.0.1:18999\r\n", "", Code::SignatureFailure),
        ("Host: ", "Host: 127.0.0.1:18999\r\nHost: ", Code::SignatureFailure),
        ("application/json", "application/json; charset=utf-8", Code::SignatureFailure),
        ("Content-Type: ", "Content-Type: application/json\r\nContent-Type: ", Code::SignatureFailure),
        ("timestamp: 1700000000", "timestamp: 1700000001", Code::SignatureFailure),
        ("timestamp: 1700000000", "timestamp: +1700000000", Code::InvalidAuthorization),
        ("timestamp: 1700000000", "timestamp: yesterday", Code::InvalidAuthorization),
        ("x-zc-timestamp: 1700000000\r\n", "", Code::InvalidAuthorization),
        ("x-zc-timestamp: ", "x-zc-timestamp: 1700000000\r\nx-zc-timestamp: ", Code::InvalidAuthorization),
        ("Method: ZC2-HMAC-SHA256", "Method: ZC2-HMAC-SHA1", Code::InvalidAuthorization),
        ("X-ZC-Signature-Method: ZC2-HMAC-SHA256\r\n", "", Code::InvalidAuthorization),
        ("Credential=ak-test-1", "Credential=ak-test-2", Code::InvalidAuthorization),
        ("content-type;host", "host;content-type", Code::InvalidAuthorization),
        ("content-type;host", "Content-Type;Host", Code::InvalidAuthorization),
        ("content-type;host", "content-type", Code::InvalidAuthorization),
        ("content-type;host", "host", Code::InvalidAuthorization),
        ("content-type;host", "content-type;host;host", Code::InvalidAuthorization),
        ("content-type;host", "content-type;host;", Code::InvalidAuthorization),
        ("content-type;host", "content-type;host;x-zc-timestamp", Code::SignatureFailure),
        ("content-type;host", "content-type;host;x-zc-action", Code::SignatureFailure),
        ("Signature=23aa18", "Signature=23aa19", Code::SignatureFailure),
        ("Signature=23aa18", "Signature=23AA18", Code::InvalidAuthorization),
        ("Signature=23aa18", "Signature=23aa", Code::InvalidAuthorization),
        ("Signature=23aa18", "Signature=zzaa18", Code::InvalidAuthorization),
        ("Authorization: ZC2-HMAC-SHA256 ", "Authorization: Bearer ", Code::InvalidAuthorization),
        ("Authorization: ", "X-Authorization: ", Code::InvalidAuthorization),
    ] {
        assert_eq!(
            verdict(&key, &edited(&good, from, to), vector.timestamp),
            Err(code),
            "{from:?} -> {to:?}"
        );
    }
}

/// What a signer makes that also signs the action; hashed apart, so that each rule can be broken alone.
const CANONICAL: &str = "POST\n/\n\ncontent-type:application/json\nhost:gw:8080\nx-zc-action:resetinstancepassword\n\n\
                         content-type;host;x-zc-action\n";
const NOW: i64 = 1_700_000_000;

fn signed(canonical: &str, signed_headers: &str) -> Vec<u8> {
    let body = r#"{"instanceId":"ins-a","password":"Abcd~1234"}"#;
    let hashed = hex::encode(Sha256::digest(format!("{canonical}{}", hex::encode(Sha256::digest(body)))));
    let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").expect("any length");
    mac.update(format!("ZC2-HMAC-SHA256\n{NOW}\n{hashed}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!(
        "POST /api/v2/zec HTTP/1.1\r\nhost: gw:8080\r\ncontent-type: application/json\r\n\
         x-zc-action: ResetInstancePassword\r\nx-zc-signature-method: ZC2-HMAC-SHA256\r\nx-zc-timestamp: {NOW}\r\n\
         authorization: ZC2-HMAC-SHA256 Credential=ak, SignedHeaders={signed_headers}, Signature={signature}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn a_signer_that_breaks_one_rule_is_refused() {
    let key = AccessKey::new("ak".into(), "secret");
    let list = "content-type;host;x-zc-action";
    let good = signed(CANONICAL, list);
    assert_eq!(verdict(&key, &good, NOW), Ok(()));
    let other_action = edited(&good, "ResetInstancePassword", "ResetInstance");
    assert_eq!(verdict(&key, &other_action, NOW), Err(Code::SignatureFailure), "a signed header counts");
    for (rule, from, to) in [
        ("method", "POST\n", "GET\n"),
        ("constant path", "\n/\n", "\n/api/v2/zec\n"),
        ("empty query", "\n/\n\n", "\n/\n"),
        ("lower-case names", "host:gw", "Host:gw"),
        ("lower-case values", "resetinstancepassword", "ResetInstancePassword"),
        ("port of the host", "gw:8080", "gw"),
        (
            "order of headers",
            "content-type:application/json\nhost:gw:8080\n",
            "host:gw:8080\ncontent-type:application/json\n",
        ),
        ("line end after the headers", "password\n\n", "password\n"),
        ("list in the canonical request", "content-type;host;x-zc-action", "content-type;host"),
    ] {
        let broken = String::from_utf8(edited(CANONICAL.as_bytes(), from, to)).expect("text");
        assert_eq!(verdict(&key, &signed(&broken, list), NOW), Err(Code::SignatureFailure), "{rule}");
    }
    let unsorted = CANONICAL.replace(list, "host;content-type;x-zc-action");
    let judged = verdict(&key, &signed(&unsorted, "host;content-type;x-zc-action"), NOW);
    assert_eq!(judged, Err(Code::InvalidAuthorization), "sorted list");
}
