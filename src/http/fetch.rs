//! GETs of an issuer's documents: bounded in size and time, never redirected, to addresses that are allowed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::header;
use bytes::Bytes;
use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

use super::{TlsFault, bare_client};
use crate::config::Fetching;
use crate::tls;

/// Most addresses of one name that are tried.
const MOST_ADDRESSES: usize = 4;

/// Fetches for one issuer. Nothing is kept between two fetches: each resolves and connects anew.
pub struct Fetcher {
    tls: Arc<rustls::ClientConfig>,
    timeout: Duration,
    allow_private: bool,
}

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {why}")]
pub struct FetchFault {
    pub url: Url,
    pub why: String,
}

/// Why one address gave nothing.
enum Miss {
    /// It was not reached: another may be.
    Unreached(String),
    Refused(String),
}

impl Fetcher {
    /// Fails when `ca_file` holds no certificate, or the system has no usable ones.
    pub fn new(settings: &Fetching) -> Result<Self, TlsFault> {
        let tls = Arc::new(tls::client(settings.ca.as_deref())?);
        Ok(Self { tls, timeout: settings.timeout, allow_private: settings.allow_private })
    }

    /// The document at `url`, whole, if it is no longer than `longest` bytes.
    pub async fn get(&self, url: &Url, longest: usize) -> Result<Bytes, FetchFault> {
        let got = tokio::time::timeout(self.timeout, self.attempts(url, longest)).await;
        got.unwrap_or_else(|_| Err(self.late())).map_err(|why| FetchFault { url: url.clone(), why })
    }

    fn late(&self) -> String {
        format!("no answer within {} s", self.timeout.as_secs())
    }

    async fn attempts(&self, url: &Url, longest: usize) -> Result<Bytes, String> {
        let mut last = String::new();
        for address in self.addresses(url).await?.into_iter().take(MOST_ADDRESSES) {
            match self.attempt(url, address, longest).await {
                Ok(bytes) => return Ok(bytes),
                Err(Miss::Refused(why)) => return Err(why),
                Err(Miss::Unreached(why)) => last = why,
            }
        }
        Err(last)
    }

    /// What the host's name means now, without what may not be asked. The connection goes to one of these very
    /// addresses: a name that is resolved twice could mean another the second time.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, String> {
        let port = url.port_or_known_default().unwrap_or(443);
        let all: Vec<SocketAddr> = match url.host() {
            None => return Err("it names no host".to_owned()),
            Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
            Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
            Some(Host::Domain(name)) => {
                let found = tokio::net::lookup_host((name, port)).await;
                found.map_err(|e| format!("its host is not resolved: {e}"))?.collect()
            }
        };
        let plain = url.scheme() == "http";
        let may = |ip: IpAddr| (!plain || ip.is_loopback()) && (self.allow_private || public(ip));
        let allowed: Vec<SocketAddr> = all.into_iter().filter(|address| may(address.ip())).collect();
        match allowed.is_empty() {
            true if self.allow_private => Err("its host has no address that may be asked".to_owned()),
            true => {
                Err("its host has no public address: set allow_private = true if that is meant".to_owned())
            }
            false => Ok(allowed),
        }
    }

    async fn attempt(&self, url: &Url, address: SocketAddr, longest: usize) -> Result<Bytes, Miss> {
        let tls = (url.scheme() == "https").then_some(&self.tls);
        let client = bare_client(tls, self.timeout / 3, self.timeout);
        let request = client.get(url.as_str()).address(address).no_decompress();
        let sent = request.insert_header((header::ACCEPT, "application/json")).send().await;
        let mut response = sent.map_err(|e| match e {
            SendRequestError::Connect(ConnectError::Disconnected) => {
                Miss::Refused("the connection was closed".to_owned())
            }
            SendRequestError::Connect(e) => Miss::Unreached(format!("{address}: {e}")),
            SendRequestError::Timeout => Miss::Refused(self.late()),
            e => Miss::Refused(e.to_string()),
        })?;
        if response.status() != 200 {
            return Err(Miss::Refused(format!("it answers {} and not 200", response.status())));
        }
        let body = response.body().limit(longest).await;
        body.map_err(|e| Miss::Refused(format!("its body, of at most {longest} bytes: {e}")))
    }
}

/// Whether an address is of the public Internet: none of those that IANA's special-purpose registries
/// (RFC 6890) keep for hosts, links, private networks, tests and translation.
fn public(ip: IpAddr) -> bool {
    const fn v4(a: u8, b: u8, c: u8, length: u8) -> Ipv4Net {
        Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, c, 0), length)
    }
    const fn v6(a: u16, b: u16, length: u8) -> Ipv6Net {
        Ipv6Net::new_assert(std::net::Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
    }
    const SPECIAL4: [Ipv4Net; 15] = [
        v4(0, 0, 0, 8),
        v4(10, 0, 0, 8),
        v4(100, 64, 0, 10),
        v4(127, 0, 0, 8),
        v4(169, 254, 0, 16),
        v4(172, 16, 0, 12),
        v4(192, 0, 0, 24),
        v4(192, 0, 2, 24),
        v4(192, 88, 99, 24),
        v4(192, 168, 0, 16),
        v4(198, 18, 0, 15),
        v4(198, 51, 100, 24),
        v4(203, 0, 113, 24),
        v4(224, 0, 0, 4),
        v4(240, 0, 0, 4),
    ];
    // Of IPv6 only 2000::/3 is given out, and of that not these: Teredo and ORCHID, documentation, 6to4.
    const GLOBAL6: Ipv6Net = v6(0x2000, 0, 3);
    const SPECIAL6: [Ipv6Net; 4] =
        [v6(0x2001, 0, 23), v6(0x2001, 0xdb8, 32), v6(0x2002, 0, 16), v6(0x3fff, 0, 20)];
    match ip.to_canonical() {
        IpAddr::V4(ip) => !SPECIAL4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => GLOBAL6.contains(&ip) && !SPECIAL6.iter().any(|net| net.contains(&ip)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for (ip, expected) in [
            ("8.8.8.8", true),
            ("2606:4700::1111", true),
            ("172.15.0.1", true),
            ("172.32.0.1", true),
            ("192.167.255.255", true),
            ("100.63.0.1", true),
            ("::ffff:8.8.8.8", true),
            ("127.0.0.1", false),
            ("127.255.0.1", false),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("64:ff9b::a00:1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("2002:a00:1::1", false),
            ("2001:0:1::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(public(ip.parse().expect("an address")), expected, "{ip}");
        }
    }
}
