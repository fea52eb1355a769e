//! What Zenlayer, and what stands before it, say when things go wrong.

use jiff::{SignedDuration, Timestamp};

use serde::Serialize;

use super::plan::Huge;
use crate::simulator::envelope;
use crate::simulator::response::{Response, http_date};

const HTML: &str = "text/html; charset=utf-8";
const CHALLENGE: &str = "<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>\n";
const BAD_GATEWAY: &str = "<html><head><title>502 Bad Gateway</title></head></html>\n";

/// When the client should come back.
pub struct RetryAfter {
    pub seconds: Option<u32>,
    pub as_date: bool,
}

pub fn internal_error() -> Response {
    envelope::error(500, "INTERNAL_SERVER_ERROR", "An internal error occurred.")
}

pub fn unavailable(retry_after: RetryAfter, now: Timestamp) -> Response {
    let answer = envelope::error(503, "SERVICE_TEMPORARY_UNAVAILABLE", "The service is unavailable for now.");
    retry_after.put_on(answer, now)
}

/// The vendor documents no status for this code: 504 says it best.
pub fn timed_out() -> Response {
    envelope::error(504, "REQUEST_TIMED_OUT", "The request timed out.")
}

pub fn rate_limited(retry_after: RetryAfter, now: Timestamp) -> Response {
    retry_after.put_on(envelope::error(429, "REQUEST_LIMIT_EXCEEDED", "Too many requests."), now)
}

pub fn bad_gateway() -> Response {
    Response::of(502, HTML, BAD_GATEWAY)
}

pub fn firewall() -> Response {
    Response::of(403, HTML, CHALLENGE).with("cf-mitigated", "challenge")
}

pub fn legal_block() -> Response {
    Response::bare(451, [], "")
}

pub fn garbage() -> Response {
    Response::of(200, "application/json", r#"{"requestId": "T", "response": ]"#)
}

/// Good JSON of `bytes` bytes, or of a few when that is too few.
pub fn huge(bytes: u64, chunked: bool) -> Huge {
    #[derive(Serialize)]
    struct Padded {
        padding: &'static str,
    }
    let mut opening = envelope::success(Padded { padding: "" });
    let filler = bytes.saturating_sub(opening.body.len() as u64);
    let closing = opening.body.split_off(opening.body.len() - r#""}}"#.len());
    Huge { opening, filler, closing, chunked }
}

impl RetryAfter {
    fn put_on(self, answer: Response, now: Timestamp) -> Response {
        let Some(seconds) = self.seconds else { return answer };
        let value = match self.as_date {
            true => http_date(now + SignedDuration::from_secs(seconds.into())),
            false => seconds.to_string(),
        };
        answer.with("retry-after", &value)
    }
}
