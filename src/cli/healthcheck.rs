use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::{Failure, load, say};
use crate::app;
use crate::http::plain;

/// Ask a running gateway whether it is ready
#[derive(clap::Args)]
pub(super) struct Healthcheck {
    /// Its operations address; default: as the configuration says
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Another http:// URL of it, which must answer 200; host names are resolved
    #[arg(long, conflicts_with = "address")]
    url: Option<String>,
}

pub(super) fn run(arguments: &Healthcheck, file: &Path) -> Result<(), Failure> {
    let url = match (&arguments.url, arguments.address) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) => readiness(address),
        (None, None) => readiness(load(file)?.operations.listen),
    };
    let answer = app::block_on(plain::get(&url));
    match answer {
        Ok(answer) if answer.status == 200 => say("ready"),
        Ok(answer) => {
            Err(Failure::Finding(format!("{url} answered {}: {}", answer.status, answer.body.trim_end())))
        }
        Err(e) => Err(Failure::Finding(format!("{url} does not answer: {e}"))),
    }
}

fn readiness(address: SocketAddr) -> String {
    format!("http://{}/readyz", reachable(address))
}

/// A listener on all addresses is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
