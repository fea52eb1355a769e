use super::codes::{self, Meaning};
use crate::domain::{Outcome, Rejection};
use crate::http::Answer;

/// What an answer proves. Only a 200 that names its request says yes, and only a 4xx with a code, or the
/// firewall, says no; all else may have changed the password.
pub(super) fn read(answer: &Answer) -> Outcome {
    if answer.firewall && matches!(answer.status, 403 | 451) {
        return Outcome::Rejected { why: Rejection::Gateway, upstream_code: None, upstream_request_id: None };
    }
    match (answer.status, answer.code.clone(), answer.request_id.clone()) {
        (200, None, Some(upstream_request_id)) if !answer.strange => {
            Outcome::Accepted { upstream_request_id }
        }
        (400..=499, Some(code), upstream_request_id) => match rejection(answer, &code) {
            Some(why) => Outcome::Rejected { why, upstream_code: Some(code), upstream_request_id },
            None => Outcome::Unknown { upstream_code: Some(code), upstream_request_id },
        },
        (_, upstream_code, upstream_request_id) => Outcome::Unknown { upstream_code, upstream_request_id },
    }
}

/// Why a 4xx says no; None: it does not say so. An unknown code goes by its status.
fn rejection(answer: &Answer, code: &str) -> Option<Rejection> {
    let busy = Rejection::Busy { retry_after: answer.retry_after };
    match codes::find(code).map(|code| &code.meaning) {
        Some(Meaning::TooMuch) => Some(busy),
        Some(Meaning::Unknown) => None,
        _ if answer.status == 429 => Some(busy),
        Some(Meaning::Rejected(why)) => Some(*why),
        None => Some(Rejection::Gateway),
    }
}

/// The metric's label of an answer that says no, or of one that says nothing: a code of the table, or its kind.
pub(super) fn label(answer: &Answer) -> &'static str {
    match (&answer.code, answer.status) {
        _ if answer.firewall => "firewall",
        (Some(code), status) => match codes::find(code) {
            Some(code) => code.name,
            None if status < 500 => "other-4xx",
            None => "other-5xx",
        },
        (None, 200) if answer.request_id.is_some() => "",
        (None, 500..) => "no-code-5xx",
        (None, _) => "unreadable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, firewall: bool, body: &str) -> Answer {
        Answer { firewall, ..Answer::for_test(status, body) }
    }

    fn outcome(status: u16, firewall: bool, body: &str) -> Outcome {
        read(&answer(status, firewall, body))
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
            (
                "200 with a nested code",
                200,
                false,
                r#"{"response":{"requestId":"T1","code":"X"}}"#,
                "unknown",
            ),
            ("200 with an empty code", 200, false, r#"{"requestId":"T1","code":""}"#, "unknown"),
            ("200 with a code in words", 200, false, r#"{"requestId":"T1","code":"NOT DONE"}"#, "unknown"),
            ("200 with a code that is a number", 200, false, r#"{"requestId":"T1","code":7}"#, "unknown"),
            ("200 with a code of null", 200, false, r#"{"requestId":"T1","code":null}"#, "accepted"),
            ("400 with a code in words", 400, false, r#"{"requestId":"T1","code":"NOT DONE"}"#, "unknown"),
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
            ("its own error with a 4xx", 400, false, r#"{"code":"INTERNAL_SERVER_ERROR"}"#, "unknown"),
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

    #[test]
    fn labels_come_from_a_closed_set() {
        for (status, firewall, body, expected) in [
            (200, false, r#"{"requestId":"T1"}"#, ""),
            (400, false, r#"{"code":"INVALID_PASSWORD_MALFORMED"}"#, "INVALID_PASSWORD_MALFORMED"),
            (418, false, r#"{"code":"TEAPOT"}"#, "other-4xx"),
            (500, false, r#"{"code":"TEAPOT"}"#, "other-5xx"),
            (503, false, "", "no-code-5xx"),
            (200, false, "garbage", "unreadable"),
            (404, false, "<html>", "unreadable"),
            (403, true, "<html>", "firewall"),
        ] {
            assert_eq!(label(&answer(status, firewall, body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn no_code_stands_in_the_table_twice() {
        let names: std::collections::HashSet<_> = codes::CODES.iter().map(|code| code.name).collect();
        assert_eq!(names.len(), codes::CODES.len());
    }
}
