//! Where a request came from, as far as it can be believed.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

use crate::domain::{RequestId, TraceId};

/// The client's address and the request's id. Only a peer in `trusted` is believed about either.
pub(super) fn origin(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> (IpAddr, RequestId) {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.to_canonical());
    if !contains(trusted, peer) {
        return (peer, RequestId::generate());
    }
    let mut ids = headers.get_all("x-request-id");
    let id = match (ids.next(), ids.next()) {
        (Some(id), None) => id.to_str().ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    (forwarded(peer, headers, trusted), id.unwrap_or_else(RequestId::generate))
}

/// The rightmost address of all `X-Forwarded-For` lines that is not a trusted proxy's. An entry that is no
/// address ends the walk at the last good hop. `Forwarded` and `X-Real-IP` are ignored.
fn forwarded(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let lines: Vec<&[u8]> = headers.get_all("x-forwarded-for").map(|line| line.as_bytes()).collect();
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(|b| *b == b','));
    let mut last = peer;
    for entry in entries {
        let address = std::str::from_utf8(entry).ok().and_then(|text| text.trim().parse::<IpAddr>().ok());
        let Some(address) = address else { break };
        last = address.to_canonical();
        if !contains(trusted, last) {
            break;
        }
    }
    last
}

/// The trace that the request says it belongs to: anybody's word, since nothing but records and the log has it.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceId> {
    let mut parents = headers.get_all("traceparent");
    match (parents.next(), parents.next()) {
        (Some(parent), None) => TraceId::from_traceparent(parent.as_bytes()),
        _ => None,
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_a_trusted_peer_is_believed_about_the_client() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].iter().map(|net| net.parse().expect("a network")).collect();
        for (row, peer, lines, expected) in [
            ("a stranger's header", "192.0.2.1", vec!["198.51.100.7"], "192.0.2.1"),
            ("no header", "10.0.0.1", vec![], "10.0.0.1"),
            ("one hop", "10.0.0.1", vec!["198.51.100.7"], "198.51.100.7"),
            ("a lie before the truth", "10.0.0.1", vec!["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("two proxies", "10.0.0.1", vec!["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("two lines", "10.0.0.1", vec!["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("all trusted", "10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("nonsense on the right", "10.0.0.1", vec!["198.51.100.7, nonsense"], "10.0.0.1"),
            ("nonsense past a proxy", "10.0.0.1", vec!["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("an empty entry", "10.0.0.1", vec!["198.51.100.7,"], "10.0.0.1"),
            ("a port", "10.0.0.1", vec!["198.51.100.7:1234"], "10.0.0.1"),
            ("mapped", "::ffff:10.0.0.1", vec!["::ffff:198.51.100.7"], "198.51.100.7"),
            ("IPv6", "2001:db8::1", vec!["2001:db9::7"], "2001:db9::7"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(line));
            }
            headers.append(HeaderName::from_static("x-real-ip"), HeaderValue::from_static("203.0.113.1"));
            let (address, _) = origin(Some(peer.parse().expect("an address")), &headers, &trusted);
            assert_eq!(address.to_string(), expected, "{row}");
        }
    }

    #[test]
    fn a_request_id_is_kept_only_from_a_trusted_peer_and_only_once() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a network")];
        let id = |peer: &str, ids: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for id in ids {
                headers.append(HeaderName::from_static("x-request-id"), HeaderValue::from_static(id));
            }
            origin(Some(peer.parse().expect("an address")), &headers, &trusted).1.to_string()
        };
        assert_eq!(id("10.0.0.1", &["abc-1"]), "abc-1");
        for (peer, ids) in [
            ("192.0.2.1", vec!["abc-1"]),
            ("10.0.0.1", vec!["a b"]),
            ("10.0.0.1", vec!["a", "b"]),
            ("10.0.0.1", vec![""]),
        ] {
            let made = id(peer, &ids);
            assert_eq!(made.len(), 32, "{peer} {ids:?}: {made}");
        }
    }
}
