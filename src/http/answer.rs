use std::time::{Duration, SystemTime};

use awc::http::header::{self, HeaderMap, HttpDate};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// Zenlayer's whole answer to one call.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The web firewall in front of the API answered: `cf-mitigated`, or status 451.
    pub firewall: bool,
    /// `Retry-After` in whole seconds.
    pub retry_after: Option<u64>,
    /// How far our clock is ahead of Zenlayer's, in seconds, by the answer's `Date`.
    pub clock_offset: Option<i64>,
    /// Zenlayer's code, when it refuses.
    pub code: Option<String>,
    /// There is a code, and it is none that can be: whatever else the answer says is not to be trusted.
    pub strange: bool,
    /// Zenlayer's own id of the call: what its support asks for.
    pub request_id: Option<String>,
    pub body: Bytes,
}

/// `requestId` at the top, or in `response`; `code` when it refuses.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    request_id: Option<String>,
    code: Option<Value>,
    response: Option<Inner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inner {
    request_id: Option<String>,
    code: Option<Value>,
}

impl Answer {
    pub fn new(status: u16, headers: &HeaderMap, body: Bytes) -> Self {
        let now = SystemTime::now();
        let envelope: Envelope = serde_json::from_slice(&body).unwrap_or_default();
        let (inner, inner_code) =
            envelope.response.map_or((None, None), |inner| (inner.request_id, inner.code));
        let said = envelope.code.or(inner_code);
        let code = said.as_ref().and_then(|code| bounded(code.as_str()?.to_owned()));
        Self {
            status,
            firewall: status == 451 || headers.contains_key("cf-mitigated"),
            retry_after: headers
                .get(header::RETRY_AFTER)
                .and_then(|value| retry_after(value.to_str().ok()?, now)),
            clock_offset: headers.get(header::DATE).and_then(|value| ahead(now, value.to_str().ok()?)),
            strange: said.is_some() && code.is_none(),
            code,
            request_id: envelope.request_id.or(inner).and_then(bounded),
            body,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(status: u16, body: &str) -> Self {
        Self::new(status, &HeaderMap::new(), body.to_owned().into())
    }

    /// Zenlayer's API itself said so, be it yes or no; nothing in front of it, and no failure of its own.
    pub fn is_zenlayers(&self) -> bool {
        let api = match self.status {
            200 => !self.strange && (self.request_id.is_some() || self.code.is_some()),
            400..=499 => self.code.is_some(),
            _ => false,
        };
        api && !self.firewall
    }

    /// The account made too many requests.
    pub fn is_too_much(&self) -> bool {
        self.status == 429 || self.code.as_deref() == Some("REQUEST_LIMIT_EXCEEDED")
    }

    /// The access key that signed is not, or no longer, good.
    pub fn refuses_key(&self) -> bool {
        let codes = ["AUTHFAILURE_SIGNATURE_FAILURE", "AUTHFAILURE_INVALID_AUTHORIZATION"];
        (400..500).contains(&self.status) && self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}

/// Whole seconds, or until a time (RFC 9110, section 10.2.3).
fn retry_after(text: &str, now: SystemTime) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let time: SystemTime = text.parse::<HttpDate>().ok()?.into();
        Some(time.duration_since(now).unwrap_or_default().as_secs_f64().ceil() as u64)
    })
}

fn ahead(now: SystemTime, date: &str) -> Option<i64> {
    let theirs: SystemTime = date.parse::<HttpDate>().ok()?.into();
    let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Some(match now.duration_since(theirs) {
        Ok(ahead) => whole(ahead),
        Err(behind) => -whole(behind.duration()),
    })
}

/// Text from outside, fit for a record and an answer: printable ASCII, at most 128 characters.
fn bounded(text: String) -> Option<String> {
    (matches!(text.len(), 1..=128) && text.bytes().all(|b| b.is_ascii_graphic())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(text, now), seconds, "{text}");
        }
        assert_eq!(ahead(now, "Sun, 06 Nov 1994 08:49:47 GMT"), Some(-10));
        assert_eq!(ahead(now, "Sun, 06 Nov 1994 08:39:37 GMT"), Some(600));
    }

    #[test]
    fn only_what_the_api_itself_says_is_its_own() {
        let mitigated = || {
            let mut headers = HeaderMap::new();
            headers.insert("cf-mitigated".parse().expect("a name"), "challenge".parse().expect("a value"));
            headers
        };
        for (row, status, headers, body, zenlayers) in [
            ("yes", 200, HeaderMap::new(), r#"{"requestId":"T1"}"#, true),
            ("yes, nested", 200, HeaderMap::new(), r#"{"response":{"requestId":"T1"}}"#, true),
            ("no", 400, HeaderMap::new(), r#"{"code":"X"}"#, true),
            ("too much", 429, HeaderMap::new(), r#"{"code":"REQUEST_LIMIT_EXCEEDED"}"#, true),
            ("a proxy's", 400, HeaderMap::new(), "<html>", false),
            ("nothing", 200, HeaderMap::new(), "", false),
            ("its own failure", 500, HeaderMap::new(), r#"{"code":"INTERNAL_SERVER_ERROR"}"#, false),
            ("the firewall", 403, mitigated(), r#"{"code":"X"}"#, false),
            ("a redirect", 302, HeaderMap::new(), r#"{"requestId":"T1"}"#, false),
        ] {
            let answer = Answer::new(status, &headers, Bytes::from_static(body.as_bytes()));
            assert_eq!(answer.is_zenlayers(), zenlayers, "{row}");
        }
    }

    #[test]
    fn only_a_refusal_of_the_api_refuses_a_key() {
        for (status, refuses) in
            [(401, true), (403, true), (200, false), (202, false), (302, false), (500, false)]
        {
            let answer = Answer::for_test(status, r#"{"code":"AUTHFAILURE_SIGNATURE_FAILURE"}"#);
            assert_eq!(answer.refuses_key(), refuses, "{status}");
        }
        assert!(!Answer::for_test(401, r#"{"code":"AUTHFAILURE_SIGNATURE_EXPIRED"}"#).refuses_key());
    }

    #[test]
    fn texts_from_outside_are_bounded() {
        for (body, id) in [
            (r#"{"requestId":"T1"}"#, Some("T1")),
            (r#"{"requestId":""}"#, None),
            (r#"{"requestId":"a b"}"#, None),
            (r#"{"requestId":"a\nb"}"#, None),
            (r#"{"requestId":7}"#, None),
        ] {
            let answer = Answer::new(200, &HeaderMap::new(), Bytes::from_static(body.as_bytes()));
            assert_eq!(answer.request_id.as_deref(), id, "{body}");
        }
        let long = format!(r#"{{"requestId":"{}"}}"#, "x".repeat(129));
        assert_eq!(Answer::new(200, &HeaderMap::new(), long.into()).request_id, None);
    }
}
