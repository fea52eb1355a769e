use serde::Deserialize;

use crate::domain::{Outcome, Rejection};
use crate::http::Answer;

/// Zenlayer's envelope: `requestId` at the top, or in `response`; `code` when it refuses.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    request_id: Option<String>,
    code: Option<String>,
    response: Option<Inner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inner {
    request_id: Option<String>,
}

/// What an answer proves. Only a 200 that names its request says yes, and only a 4xx with a code, or the
/// firewall, says no; all else may have changed the password.
pub(super) fn read(answer: &Answer) -> Outcome {
    if answer.firewall && matches!(answer.status, 403 | 451) {
        return Outcome::Rejected { why: Rejection::Gateway, upstream_code: None, upstream_request_id: None };
    }
    let envelope: Option<Envelope> = serde_json::from_slice(&answer.body).ok();
    let (code, request_id) = match envelope {
        Some(Envelope { request_id, code, response }) => (
            code.and_then(bounded),
            request_id.or(response.and_then(|inner| inner.request_id)).and_then(bounded),
        ),
        None => (None, None),
    };
    match (answer.status, code, request_id) {
        (200, None, Some(upstream_request_id)) => Outcome::Accepted { upstream_request_id },
        (400..=499, Some(code), upstream_request_id) if code != "REQUEST_TIMED_OUT" => {
            Outcome::Rejected { why: meaning(answer, &code), upstream_code: Some(code), upstream_request_id }
        }
        (_, upstream_code, upstream_request_id) => Outcome::Unknown { upstream_code, upstream_request_id },
    }
}

/// Zenlayer's codes, as far as they mean something to a caller.
fn meaning(answer: &Answer, code: &str) -> Rejection {
    match code {
        "INVALID_PASSWORD_MALFORMED" => Rejection::Password,
        "OPERATION_DENIED_INSTANCE_IN_OPERATION" | "OPERATION_DENIED_INSTANCE_NOT_RUNNING" => {
            Rejection::NotReady
        }
        "INVALID_INSTANCE_NOT_FOUND" | "OPERATION_FAILED_RESOURCE_NOT_FOUND" => Rejection::NotFound,
        "REQUEST_LIMIT_EXCEEDED" => Rejection::Busy { retry_after: answer.retry_after },
        _ if answer.status == 429 => Rejection::Busy { retry_after: answer.retry_after },
        _ => Rejection::Gateway,
    }
}

/// Text from outside, fit for a record and an answer: printable ASCII, at most 128 characters.
fn bounded(text: String) -> Option<String> {
    (matches!(text.len(), 1..=128) && text.bytes().all(|b| b.is_ascii_graphic())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, firewall: bool, body: &str) -> Outcome {
        read(&Answer { status, firewall, retry_after: None, body: body.to_owned().into() })
    }

    #[test]
    fn only_what_proves_it_is_believed() {
        let nested = r#"{"requestId":"T1","response":{"requestId":"T1"}}"#;
        let flat = r#"{"requestId":"T1"}"#;
        let inner = r#"{"response":{"requestId":"T1"}}"#;
        let coded = r#"{"requestId":"T1","code":"X","message":"m"}"#;
        for (row, status, firewall, body, expected) in [
            ("nested", 200, false, nested, "accepted"),
            ("flat", 200, false, flat, "accepted"),
            ("inner", 200, false, inner, "accepted"),
            ("200 with a code", 200, false, coded, "unknown"),
            ("200 without a request id", 200, false, "{}", "unknown"),
            ("200 that is HTML", 200, false, "<html>", "unknown"),
            ("200 with a request id that is no text", 200, false, r#"{"requestId":7}"#, "unknown"),
            ("200 with an empty request id", 200, false, r#"{"requestId":""}"#, "unknown"),
            ("202", 202, false, flat, "unknown"),
            ("204", 204, false, "", "unknown"),
            ("302", 302, false, flat, "unknown"),
            ("400 with a code", 400, false, coded, "rejected"),
            ("400 without one", 400, false, flat, "unknown"),
            ("408 from a proxy", 408, false, "", "unknown"),
            ("timed out upstream", 400, false, r#"{"code":"REQUEST_TIMED_OUT"}"#, "unknown"),
            ("403 of the API", 403, false, coded, "rejected"),
            ("403 of some proxy", 403, false, "<html>", "unknown"),
            ("403 of the firewall", 403, true, "<html>", "rejected"),
            ("451", 451, true, "", "rejected"),
            ("200 of the firewall", 200, true, "<html>", "unknown"),
            ("429 with a code", 429, false, r#"{"code":"REQUEST_LIMIT_EXCEEDED"}"#, "rejected"),
            ("500 with a code", 500, false, coded, "unknown"),
            ("503 without", 503, false, "", "unknown"),
        ] {
            assert_eq!(outcome(status, firewall, body).status().as_str(), expected, "{row}");
        }
    }

    #[test]
    fn codes_have_meanings_and_unknown_ones_are_the_gateways() {
        for (code, expected) in [
            ("INVALID_PASSWORD_MALFORMED", Rejection::Password),
            ("OPERATION_DENIED_INSTANCE_IN_OPERATION", Rejection::NotReady),
            ("OPERATION_DENIED_INSTANCE_NOT_RUNNING", Rejection::NotReady),
            ("INVALID_INSTANCE_NOT_FOUND", Rejection::NotFound),
            ("OPERATION_FAILED_RESOURCE_NOT_FOUND", Rejection::NotFound),
            ("REQUEST_LIMIT_EXCEEDED", Rejection::Busy { retry_after: None }),
            ("AUTHFAILURE_SIGNATURE_FAILURE", Rejection::Gateway),
            ("AUTHFAILURE_UNAUTHORIZED_OPERATION", Rejection::Gateway),
            ("NEVER_HEARD_OF", Rejection::Gateway),
        ] {
            match outcome(400, false, &format!(r#"{{"requestId":"T1","code":"{code}"}}"#)) {
                Outcome::Rejected { why, upstream_code, upstream_request_id } => {
                    assert_eq!(why, expected, "{code}");
                    assert_eq!(upstream_code.as_deref(), Some(code));
                    assert_eq!(
                        upstream_request_id.as_deref(),
                        Some("T1"),
                        "Zenlayer's request id is never lost"
                    );
                }
                other => panic!("{code}: {other:?}"),
            }
        }
    }
}
