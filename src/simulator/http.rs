use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LONGEST_HEAD: usize = 64 << 10;
const LONGEST_BODY: usize = 1 << 20;

/// One HTTP/1.1 connection.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request as its bytes say it; header names in lower case, in order, with duplicates.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }
}

impl Request {
    /// The only value of a header; None when it is absent or comes twice.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header(name)?).ok()
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::with_capacity(4096) }
    }

    /// The next request; None when the caller has no more.
    pub(super) async fn read(&mut self) -> io::Result<Option<Request>> {
        let (mut request, head) = loop {
            if let Some(parsed) = parse_head(&self.buffer)? {
                break parsed;
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(invalid("the head is too long"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        };
        self.buffer.drain(..head);
        if request.text("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        request.body = match framing(&request)? {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.chunks().await?,
        };
        Ok(Some(request))
    }

    pub(super) async fn write(&mut self, response: &Response) -> io::Result<()> {
        let reason = match response.status {
            200 => "OK",
            _ => "-",
        };
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", response.status).into_bytes();
        for (name, value) in &response.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", response.body.len()).as_bytes());
        bytes.extend_from_slice(&response.body);
        self.stream.write_all(&bytes).await
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > LONGEST_BODY {
            return Err(invalid("the body is too long"));
        }
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(invalid("the body ends early"));
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let (start, size) = loop {
                match httparse::parse_chunk_size(&self.buffer)
                    .map_err(|_| invalid("a chunk's size is none"))?
                {
                    httparse::Status::Complete((start, size)) => break (start, size),
                    httparse::Status::Partial => {
                        if self.stream.read_buf(&mut self.buffer).await? == 0 {
                            return Err(invalid("the body ends early"));
                        }
                    }
                }
            };
            self.buffer.drain(..start);
            let size = usize::try_from(size).map_err(|_| invalid("a chunk is too long"))?;
            let mut chunk = self.take(size).await?;
            if self.take(2).await? != b"\r\n" {
                return Err(invalid("a chunk does not end where it says"));
            }
            if size == 0 {
                return Ok(body);
            }
            body.append(&mut chunk);
            if body.len() > LONGEST_BODY {
                return Err(invalid("the body is too long"));
            }
        }
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes).map_err(|_| invalid("it is not HTTP/1.1"))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let headers = parsed.headers.iter().map(|h| (h.name.to_ascii_lowercase(), h.value.to_vec())).collect();
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    let request = Request { method: text(parsed.method), path: text(parsed.path), headers, body: Vec::new() };
    Ok(Some((request, length)))
}

fn framing(request: &Request) -> io::Result<Framing> {
    let has = |name: &str| request.headers.iter().any(|(n, _)| n == name);
    match (has("content-length"), has("transfer-encoding")) {
        (false, false) => Ok(Framing::Length(0)),
        (true, false) => {
            let length = request.text("content-length").and_then(|value| value.parse().ok());
            length.map(Framing::Length).ok_or_else(|| invalid("the length is none"))
        }
        (false, true)
            if request.text("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) =>
        {
            Ok(Framing::Chunked)
        }
        _ => Err(invalid("the body's length is ambiguous")),
    }
}
