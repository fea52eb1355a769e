//! Reads requests off a connection: HTTP/1.0 and 1.1, keep-alive, counted and chunked bodies, no pipelining.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::message::{MAX_FIELDS, Message};

const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 1024 * 1024;
/// Longest line that may announce a chunk or trail the last one.
const MAX_LINE: usize = 4 * 1024;
const READ_AT_LEAST: usize = 4 * 1024;

pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// What was read.
pub struct Received {
    pub message: Message,
    /// Whether the client will send another request here.
    pub keep_alive: bool,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The client is done, or hung up in the middle.
    #[error("the connection ended")]
    Ended,
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// Answered with `status`, then closed.
    #[error("{reason}")]
    Malformed { status: u16, reason: &'static str },
}

#[derive(Clone, Copy)]
enum Framing {
    Counted(usize),
    Chunked,
}

struct Head {
    length: usize,
    framing: Framing,
    keep_alive: bool,
    expects_continue: bool,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    pub async fn receive(&mut self) -> Result<Received, Unread> {
        let head = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            if self.buffer.len() >= MAX_HEAD {
                return Err(malformed(431, "head over 64 KiB"));
            }
            self.fill().await?;
        };
        let raw = self.buffer.split_to(head.length).freeze();
        if head.expects_continue && self.buffer.is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = match head.framing {
            Framing::Counted(length) => self.take(length).await?,
            Framing::Chunked => self.chunks().await?,
        };
        Ok(Received { message: Message::new(raw, body), keep_alive: head.keep_alive })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Waits for the client to say something, and leaves it unread.
    pub async fn arrival(&self) -> io::Result<()> {
        if self.buffer.is_empty() { self.stream.readable().await } else { Ok(()) }
    }

    /// The beginning of what arrived, still unread; nothing when the client hung up.
    pub async fn peek(&self) -> io::Result<Vec<u8>> {
        let mut start = [0; 64];
        let length = self.stream.peek(&mut start).await?;
        Ok(start[..length].to_vec())
    }

    /// Reads and says nothing until the client goes away.
    pub async fn wait_for_hang_up(&self) {
        while let Ok(ready) = self.stream.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Bytes stay unread on purpose: this makes tokio wait for the next event instead.
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = self.stream.try_io(Interest::READABLE, nothing);
        }
    }

    /// Makes the close that follows an RST: what waits to be sent is dropped.
    pub fn reset_when_closed(&self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    async fn fill(&mut self) -> Result<(), Unread> {
        self.buffer.reserve(READ_AT_LEAST);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(Unread::Ended),
            _ => Ok(()),
        }
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, Unread> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn chunks(&mut self) -> Result<Bytes, Unread> {
        let mut body = BytesMut::new();
        loop {
            let size = self.chunk_size().await?;
            if size == 0 {
                break;
            }
            if body.len() + size > MAX_BODY {
                return Err(malformed(413, "body over 1 MiB"));
            }
            body.extend_from_slice(&self.take(size).await?);
            if self.line().await? != 0 {
                return Err(malformed(400, "chunk longer than announced"));
            }
        }
        // Trailers end with an empty line; what they say is of no use here.
        let mut trailing = 0;
        loop {
            match self.line().await? {
                0 => return Ok(body.freeze()),
                length => trailing += length,
            }
            if trailing > MAX_HEAD {
                return Err(malformed(431, "trailers over 64 KiB"));
            }
        }
    }

    async fn chunk_size(&mut self) -> Result<usize, Unread> {
        loop {
            match httparse::parse_chunk_size(&self.buffer) {
                Ok(Status::Complete((used, size))) => {
                    self.buffer.advance(used);
                    let too_large = malformed(413, "body over 1 MiB");
                    return usize::try_from(size).ok().filter(|size| *size <= MAX_BODY).ok_or(too_large);
                }
                Ok(Status::Partial) if self.buffer.len() < MAX_LINE => self.fill().await?,
                Ok(Status::Partial) | Err(_) => return Err(malformed(400, "no chunk size")),
            }
        }
    }

    /// Drops one line; its length without the line end.
    async fn line(&mut self) -> Result<usize, Unread> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                self.buffer.advance(end + 2);
                return Ok(end);
            }
            if self.buffer.len() > MAX_LINE {
                return Err(malformed(400, "line without an end"));
            }
            self.fill().await?;
        }
    }
}

fn malformed(status: u16, reason: &'static str) -> Unread {
    Unread::Malformed { status, reason }
}

/// None while it is not all there.
fn parse_head(buffer: &[u8]) -> Result<Option<Head>, Unread> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(buffer) {
        Ok(Status::Partial) => return Ok(None),
        Ok(Status::Complete(length)) if length > MAX_HEAD => return Err(malformed(431, "head over 64 KiB")),
        Ok(Status::Complete(length)) => length,
        Err(httparse::Error::TooManyHeaders) => return Err(malformed(431, "more than 128 headers")),
        Err(_) => return Err(malformed(400, "not an HTTP request")),
    };
    let values =
        |name| request.headers.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value);
    let says = |name, token| values(name).any(|value| has_token(value, token));
    let keep_alive = match request.version {
        Some(1) => !says("connection", "close"),
        _ => says("connection", "keep-alive"),
    };
    Ok(Some(Head {
        length,
        framing: framing(values("content-length"), values("transfer-encoding"))?,
        keep_alive,
        expects_continue: says("expect", "100-continue"),
    }))
}

/// Anything two readers could understand differently is refused (RFC 9112, section 6.3).
fn framing<'h>(
    mut lengths: impl Iterator<Item = &'h [u8]>,
    mut codings: impl Iterator<Item = &'h [u8]>,
) -> Result<Framing, Unread> {
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::Counted(0)),
        (Some(length), None) if lengths.next().is_none() => counted(length),
        (None, Some(coding)) if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Chunked)
        }
        _ => Err(malformed(400, "body framed in no single way")),
    }
}

fn counted(length: &[u8]) -> Result<Framing, Unread> {
    let digits = std::str::from_utf8(length).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.map(str::parse::<usize>) {
        Some(Ok(length)) if length <= MAX_BODY => Ok(Framing::Counted(length)),
        Some(Ok(_)) => Err(malformed(413, "body over 1 MiB")),
        Some(Err(_)) | None => Err(malformed(400, "content-length is no number")),
    }
}

fn has_token(value: &[u8], token: &str) -> bool {
    value.split(|byte| *byte == b',').any(|each| each.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}
