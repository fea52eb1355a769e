use std::fmt;
use std::path::Path;

use super::Secret;
use super::url::{self, Host, UrlFault, decoded, host, text_of};

/// Where a Redis is and how to log in, as `limits.redis_url_file` says: `rediss://USER:PASSWORD@HOST:PORT/DATABASE`, or
/// `rediss+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE`. Printed, it shows no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// At least one; only Sentinels are several.
    pub hosts: Vec<Host>,
    /// The hosts are Sentinels, which know where this service is.
    pub sentinel: Option<String>,
    /// None: Redis' user `default`.
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: u16,
    /// False: in the clear, which is allowed to this machine alone.
    pub tls: bool,
}

/// Without the user: `rediss://redis.example:6379/0`.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        let (scheme, hosts) = (if self.tls { "rediss" } else { "redis" }, hosts.join(","));
        match &self.sentinel {
            Some(service) => write!(f, "{scheme}+sentinel://{hosts}/{service}"),
            None => write!(f, "{scheme}://{hosts}/{}", self.database),
        }
    }
}

impl RedisUrl {
    /// Reads the file.
    pub fn read(file: &Path) -> Result<Self, UrlFault> {
        url::read(file, parse)
    }
}

fn parse(text: &str) -> Result<RedisUrl, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("does not begin with redis:// or rediss://")?;
    let (tls, sentinel) = match scheme {
        "redis" => (false, false),
        "rediss" => (true, false),
        "redis+sentinel" => (false, true),
        "rediss+sentinel" => (true, true),
        _ => return Err("does not begin with redis:// or rediss://"),
    };
    if rest.contains('?') {
        return Err("has parameters, and none is known");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').map_or((None, authority), |(l, h)| (Some(l), h));
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        None => (None, None),
        Some((_, "")) => return Err("names a user without a password"),
        Some((user, password)) => (Some(text_of(user)?), Some(decoded(password)?)),
    };
    if password.as_deref().is_some_and(|password| std::str::from_utf8(password).is_err()) {
        return Err("is not UTF-8");
    }
    let port = if sentinel { 26379 } else { 6379 };
    let hosts: Vec<_> = hosts.split(',').map(|text| host(text, port)).collect::<Result<_, _>>()?;
    if hosts.iter().any(Host::is_socket) {
        return Err("names the path of a socket, which is not supported");
    }
    if !tls && !hosts.iter().all(Host::is_here) {
        return Err("must begin with rediss: another machine is reached over TLS alone");
    }
    if !sentinel && hosts.len() > 1 {
        return Err("names several hosts, which only redis+sentinel:// and rediss+sentinel:// may");
    }
    let service = sentinel.then(|| text_of(path)).transpose()?;
    if service.as_deref() == Some("") {
        return Err("names no service behind its Sentinels");
    }
    let database = if sentinel || path.is_empty() { Ok(0) } else { path.parse() };
    Ok(RedisUrl {
        hosts,
        sentinel: service,
        user: user.filter(|user| !user.is_empty()),
        password: password.map(|password| Secret::new(&password)),
        database: database.map_err(|_| "has a database that is no number")?,
        tls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> RedisUrl {
        parse(text).unwrap_or_else(|what| panic!("{text}: {what}"))
    }

    #[test]
    fn a_url_is_taken_apart_and_shows_no_password() {
        let url = good("rediss://zen%40gate:c%40n%2Fary@redis.example/3");
        assert_eq!((url.user.as_deref(), url.database, url.tls), (Some("zen@gate"), 3, true));
        assert_eq!(url.password.as_ref().expect("one").expose(), b"c@n/ary");
        assert_eq!(url.to_string(), "rediss://redis.example:6379/3");
        assert!(!format!("{url:?}").contains("ary"), "{url:?}");
        let url = good("redis://:canary@[::1]:7000");
        assert_eq!((url.user, url.hosts[0].port, url.database), (None, 7000, 0));
        assert_eq!(good("redis://localhost").password, None);
        let url = good("rediss+sentinel://u:canary@s1.example,s2.example:1/the%20quotas");
        assert_eq!(url.to_string(), "rediss+sentinel://s1.example:26379,s2.example:1/the quotas");
    }

    #[test]
    fn what_is_wrong_is_told_without_a_word_of_it() {
        for (text, what) in [
            ("http://u:canary@localhost", "does not begin with redis://"),
            ("u:canary@localhost", "does not begin with redis://"),
            ("redis://canary@localhost", "a user without a password"),
            ("redis://canary:@localhost", "a user without a password"),
            ("redis://:canary@", "names no host"),
            ("redis://:canary@localhost:x", "port that is no number"),
            ("redis://:canary%4@localhost", "a % without"),
            ("redis://:canary%ff@localhost", "is not UTF-8"),
            ("redis://:canary@localhost/x", "database that is no number"),
            ("redis://:canary@localhost/0?x=1", "none is known"),
            ("redis://:canary@redis.example", "must begin with rediss"),
            ("redis+sentinel://:canary@localhost,redis.example/s", "must begin with rediss"),
            ("redis://:canary@localhost,localhost", "names several hosts"),
            ("redis+sentinel://:canary@localhost", "names no service"),
            ("redis://:canary@%2Frun%2Fredis", "path of a socket"),
        ] {
            let told = parse(text).expect_err(text);
            assert!(told.contains(what) && !told.contains("canary"), "{text}: {told}");
        }
    }
}
