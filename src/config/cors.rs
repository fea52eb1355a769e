use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use url::{Host, Url};

use super::Table;
use super::sections::seconds;

/// `[cors]`: which web pages of other origins may call.
#[derive(Debug, Clone)]
pub struct Cors {
    /// `cors.allowed_origins`, default none: as `https://portal.example.com`.
    pub allowed_origins: Vec<WebOrigin>,
    /// `cors.max_age_seconds`, default 600: how long a browser remembers what it may ask.
    pub max_age: Duration,
}

/// Scheme, host and port of a page (RFC 6454), as browsers write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// The origin's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no origin to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginFault;

impl fmt::Display for OriginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be scheme, host and port as browsers write them, such as https://portal.example.com: \
             lower case, no path, no default port, http only on loopback",
        )
    }
}

impl FromStr for WebOrigin {
    type Err = OriginFault;

    fn from_str(text: &str) -> Result<Self, OriginFault> {
        let url = Url::parse(text).map_err(|_| OriginFault)?;
        let local = match url.host().ok_or(OriginFault)? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let safe = url.scheme() == "https" || (url.scheme() == "http" && local);
        // What is not the browser's own form would never be met; nor would a wildcard, which a host may spell.
        let exact = url.origin().ascii_serialization() == text && !text.contains('*');
        if safe && exact { Ok(Self(text.to_owned())) } else { Err(OriginFault) }
    }
}

pub(super) fn read(mut table: Table<'_>) -> Option<Cors> {
    let allowed_origins = table.list("allowed_origins", Some(&[]));
    let max_age = seconds(&mut table, "max_age_seconds", 600, 0..=86_400);
    Some(Cors { allowed_origins: allowed_origins?, max_age: max_age? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_would_send() {
        for good in [
            "https://portal.example.com",
            "https://p.example:8443",
            "http://localhost:3000",
            "http://127.0.0.1:1",
            "http://[::1]:8080",
        ] {
            assert!(WebOrigin::from_str(good).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "null",
            "portal.example.com",
            "https://portal.example.com/",
            "https://Portal.example.com",
            "https://portal.example.com:443",
            "https://*.example.com",
            "http://portal.example.com",
            "https://u@portal.example.com",
            "file:///index.html",
            "",
        ] {
            assert!(WebOrigin::from_str(bad).is_err(), "{bad}");
        }
    }
}
