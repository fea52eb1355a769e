//! What was called, refused calls included, so that a test can say that none was made.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use super::message::Message;
use super::refusal::Code;

/// The oldest go first.
const KEPT: usize = 100_000;

/// Kept as received and written out only when asked for: load tests make many.
pub struct Call {
    seq: u64,
    time: Timestamp,
    message: Message,
    verdict: &'static str,
    applied: bool,
}

#[derive(Default)]
pub struct Calls {
    kept: VecDeque<Call>,
    made: u64,
}

#[derive(Serialize)]
struct Listed<'c> {
    seq: u64,
    time: String,
    action: String,
    headers: BTreeMap<String, String>,
    body: Cow<'c, str>,
    verdict: &'static str,
    applied: bool,
}

/// `{"calls": […]}`.
#[derive(Serialize)]
pub struct List<'c> {
    calls: Vec<Listed<'c>>,
}

impl Calls {
    /// Numbers go on from the start of the simulator, also past a clearing.
    pub fn record(&mut self, message: Message, verdict: Result<(), Code>, applied: bool, time: Timestamp) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.made += 1;
        let verdict = verdict.map_or_else(Code::as_str, |()| "ok");
        self.kept.push_back(Call { seq: self.made, time, message, verdict, applied });
    }

    pub fn clear(&mut self) {
        self.kept = VecDeque::new();
    }

    pub fn list(&self) -> List<'_> {
        List { calls: self.kept.iter().map(Call::listed).collect() }
    }
}

impl Call {
    fn listed(&self) -> Listed<'_> {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in self.message.request().iter().flat_map(|request| request.fields()) {
            let value = String::from_utf8_lossy(value);
            headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|joined| *joined = format!("{joined}, {value}"))
                .or_insert_with(|| value.into_owned());
        }
        Listed {
            seq: self.seq,
            time: format!("{:.3}", self.time),
            action: headers.get("x-zc-action").cloned().unwrap_or_default(),
            headers,
            body: self.message.body(),
            verdict: self.verdict,
            applied: self.applied,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn past_the_bound_the_oldest_call_goes() {
        let mut calls = Calls::default();
        for _ in 0..=KEPT {
            let message = Message::new(Bytes::new(), Bytes::new());
            calls.record(message, Ok(()), false, Timestamp::UNIX_EPOCH);
        }
        let numbers = calls.kept.front().zip(calls.kept.back()).map(|(first, last)| (first.seq, last.seq));
        assert_eq!(numbers, Some((2, 100_001)));
    }

    #[test]
    fn a_call_is_listed_as_received_and_repeated_headers_are_joined() {
        let head = "POST / HTTP/1.1\r\nX-ZC-Action: Reset\r\nVia: a\r\nvia:  b \r\n\r\n";
        let message = Message::new(Bytes::from(head), Bytes::from("{\"a\": 1}"));
        let mut calls = Calls::default();
        calls.record(message.compact(), Err(Code::SignatureFailure), false, Timestamp::UNIX_EPOCH);
        let listed = serde_json::to_value(calls.list()).expect("it serializes");
        let expected = serde_json::json!({"calls": [{
            "seq": 1, "time": "1970-01-01T00:00:00.000Z", "action": "Reset",
            "headers": {"x-zc-action": "Reset", "via": "a, b"}, "body": "{\"a\": 1}",
            "verdict": "AUTHFAILURE_SIGNATURE_FAILURE", "applied": false,
        }]});
        assert_eq!(listed, expected);
    }
}
