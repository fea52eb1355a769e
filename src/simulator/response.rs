//! An answer, and its bytes.

use std::io::Write;

use serde::Serialize;

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body =
            serde_json::to_vec(body).expect("strings, numbers and maps with string keys always serialize");
        Self { status, headers: content_type("application/json"), body }
    }

    pub fn text(status: u16, text: &str) -> Self {
        Self { status, headers: content_type("text/plain; charset=utf-8"), body: text.as_bytes().to_vec() }
    }

    /// With these headers alone, and the framing.
    pub fn bare(status: u16, headers: Vec<(String, String)>, body: &str) -> Self {
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    /// Head and body in one buffer, so that they leave in one write.
    pub fn encode(&self, keep_alive: bool) -> Vec<u8> {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut bytes = Vec::with_capacity(160 + self.body.len());
        let mut line =
            |text: std::fmt::Arguments<'_>| bytes.write_fmt(text).expect("a vector takes every write");
        line(format_args!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)));
        self.headers.iter().for_each(|(name, value)| line(format_args!("{name}: {value}\r\n")));
        line(format_args!("content-length: {}\r\nconnection: {connection}\r\n\r\n", self.body.len()));
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn content_type(value: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), value.to_owned())]
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
        503 => "Service Unavailable",
        _ => "Other",
    }
}
