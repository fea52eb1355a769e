//! HTTP by hand, so that a test can send what no client would.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The last part of a problem's `type`; empty for anything else.
    pub fn problem(&self) -> String {
        if self.header("content-type") != Some("application/problem+json") {
            return String::new();
        }
        let json = self.json();
        let kind = json["type"].as_str().unwrap_or_default();
        assert_eq!(json["status"], self.status, "the body repeats the status: {self:?}");
        assert_eq!(json["requestId"].as_str(), self.header("x-request-id"), "{self:?}");
        kind.trim_start_matches("urn:zengate:problem:").to_owned()
    }

    /// The places that a problem names, in order.
    pub fn places(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array().cloned().unwrap_or_default();
        let place = |error: &Value| {
            let found = ["pointer", "parameter", "header"].iter().find_map(|kind| error[kind].as_str());
            found.map(str::to_owned).unwrap_or_else(|| panic!("a place in {error}"))
        };
        errors.iter().map(place).collect()
    }
}

/// Sends exactly these bytes and reads one answer.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(40))).expect("a timeout");
    // The other side may refuse before it has read all: what it says counts.
    _ = stream.write_all(bytes);
    read(&mut stream)
}

/// Reads one answer off a connection.
pub fn read(stream: &mut impl Read) -> Answer {
    try_read(stream).expect("a whole answer in time")
}

/// The same, off a connection that may end at any moment.
pub fn try_read(stream: &mut impl Read) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            let cut = format!("the connection ended within a head: {:?}", String::from_utf8_lossy(&bytes));
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut));
        }
        bytes.extend_from_slice(&chunk[..read]);
    };
    let text = String::from_utf8(bytes[..head].to_vec()).expect("a head is text");
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, v)| v.parse().ok());
    let mut body = bytes[head + 4..].to_vec();
    match length {
        Some(length) => {
            let mut rest = vec![0; usize::saturating_sub(length, body.len())];
            stream.read_exact(&mut rest)?;
            body.extend(rest);
        }
        // An interim answer has none.
        None if status < 200 => {}
        None => _ = stream.read_to_end(&mut body)?,
    }
    Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A request as bytes; `headers` go as they are.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if let Some(body) = body {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.unwrap_or_default());
    bytes
}

/// An ordinary call.
pub fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    json: Option<&str>,
) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = Vec::new();
    if let Some(bearer) = &bearer {
        headers.push(("authorization", bearer.as_str()));
    }
    if json.is_some() {
        headers.push(("content-type", "application/json"));
    }
    raw(address, &request(method, path, &headers, json.map(str::as_bytes)))
}
