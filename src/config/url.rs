//! What the URLs of PostgreSQL and Redis have in common.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::read_file;
use super::reader::{LONGEST, without_line_end};

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name, an address, or the folder of a socket.
    pub name: String,
    pub port: u16,
}

/// What is wrong with the file. No part of its text is told: any could be one of the password.
#[derive(Debug, thiserror::Error)]
pub enum UrlFault {
    #[error("{} cannot be read: {source}", file.display())]
    Io { file: PathBuf, source: std::io::Error },
    #[error("{} {what}", file.display())]
    Text { file: PathBuf, what: &'static str },
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl Host {
    /// It is the folder of a socket.
    pub fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }

    /// It is this machine.
    pub fn is_here(&self) -> bool {
        let loopback = |ip: IpAddr| ip.is_loopback();
        self.is_socket() || self.name == "localhost" || self.name.parse().is_ok_and(loopback)
    }
}

impl UrlFault {
    pub(super) fn io(file: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let file = file.to_owned();
        |source| Self::Io { file, source }
    }
}

/// What `parse` makes of the file's text.
pub(super) fn read<T>(
    file: &Path,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, UrlFault> {
    let bytes = read_file(file, LONGEST).map_err(UrlFault::io(file))?;
    let text = std::str::from_utf8(without_line_end(&bytes)).map_err(|_| "is not UTF-8");
    text.and_then(parse).map_err(|what| UrlFault::Text { file: file.to_owned(), what })
}

/// `NAME:PORT`, percent-encoded; an IPv6 address in brackets.
pub(super) fn host(text: &str, port: u16) -> Result<Host, &'static str> {
    let usual = port;
    let bare = |name| (name, None);
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or("has a [ without its ]")?;
            (name, rest.strip_prefix(':'))
        }
        None => text.rsplit_once(':').map_or(bare(text), |(name, port)| (name, Some(port))),
    };
    let name = text_of(name)?;
    if name.is_empty() {
        return Err("names no host");
    }
    let port = port.map_or(Ok(usual), str::parse).map_err(|_| "has a port that is no number to 65535")?;
    Ok(Host { name, port })
}

pub(super) fn text_of(part: &str) -> Result<String, &'static str> {
    let bytes = decoded(part)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| "is not UTF-8")
}

/// Without its percent-encoding (RFC 3986).
pub(super) fn decoded(part: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(part.len()));
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let (high, low) = digit(high).zip(digit(low)).ok_or(BAD_PERCENT)?;
                ((high * 16 + low) as u8, after)
            }
            (b'%', _) => return Err(BAD_PERCENT),
            (byte, after) => (byte, after),
        };
        if byte == 0 {
            return Err("holds a zero byte");
        }
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

const BAD_PERCENT: &str = "has a % without two hexadecimal digits behind it";
