//! An answer, and its bytes.

use std::fmt::Arguments;
use std::io::Write;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde::Serialize;

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// How the end of a body is found.
pub enum Framing {
    Counted(u64),
    Chunked,
}

impl Response {
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body =
            serde_json::to_vec(body).expect("strings, numbers and maps with string keys always serialize");
        Self::of(status, "application/json", body)
    }

    pub fn of(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::bare(status, [], body).with("content-type", content_type)
    }

    /// With these headers alone, the date and the framing.
    pub fn bare(
        status: u16,
        headers: impl IntoIterator<Item = (String, String)>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self { status, headers: headers.into_iter().collect(), body: body.into() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same under another content type.
    pub fn labelled(mut self, content_type: &str) -> Self {
        self.headers.retain(|(name, _)| name != "content-type");
        self.with("content-type", content_type)
    }

    /// Head and body in one buffer, so that they leave in one write.
    pub fn encode(&self, keep_alive: bool, date: Timestamp) -> Vec<u8> {
        let mut bytes = self.head(&Framing::Counted(self.body.len() as u64), keep_alive, date);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// `date` gives way to a `date` among the headers.
    pub fn head(&self, framing: &Framing, keep_alive: bool, date: Timestamp) -> Vec<u8> {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut bytes = Vec::with_capacity(200 + self.body.len());
        let mut line = |text: Arguments<'_>| bytes.write_fmt(text).expect("a vector takes every write");
        line(format_args!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)));
        self.headers.iter().for_each(|(name, value)| line(format_args!("{name}: {value}\r\n")));
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("date")) {
            line(format_args!("date: {}\r\n", http_date(date)));
        }
        match framing {
            Framing::Counted(length) => line(format_args!("content-length: {length}\r\n")),
            Framing::Chunked => line(format_args!("transfer-encoding: chunked\r\n")),
        }
        line(format_args!("connection: {connection}\r\n\r\n"));
        bytes
    }
}

/// As RFC 9110 (section 5.6.7) writes times.
pub fn http_date(time: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).expect("the clock is past the year 0")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Other",
    }
}
