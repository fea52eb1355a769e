use std::fmt;
use std::path::{Path, PathBuf};

use super::reader::LONGEST;
use super::url::{self, Host, UrlFault, decoded, host, text_of};
use super::{Secret, read_file};

/// Where a PostgreSQL is and how to log in, as `audit.url_file` says:
/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`. Printed, it shows no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// At least one; the first that takes writes is used.
    pub hosts: Vec<Host>,
    pub user: String,
    pub password: Option<Secret>,
    pub database: String,
    /// None: in the clear, which is allowed to this machine alone.
    pub tls: Option<PostgresTls>,
}

/// `sslmode=verify-full`: the certificate must be of a known authority and for the host's name.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresTls {
    /// `sslrootcert`, PEM: the authorities to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
}

impl fmt::Debug for PostgresTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ca.is_some() { "by sslrootcert" } else { "by the system's authorities" })
    }
}

/// Without the user: `postgres://db.example:5432/trail`.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        write!(f, "postgres://{}/{}", hosts.join(","), self.database)
    }
}

impl PostgresUrl {
    /// Reads the file, and the one that `sslrootcert` names.
    pub fn read(file: &Path) -> Result<Self, UrlFault> {
        let (mut url, ca) = url::read(file, parse)?;
        if let (Some(tls), Some(ca)) = (&mut url.tls, ca) {
            let path = file.parent().unwrap_or(Path::new("")).join(ca);
            tls.ca = Some(read_file(&path, LONGEST).map_err(UrlFault::io(&path))?.to_vec());
        }
        Ok(url)
    }
}

/// The URL, and the path that `sslrootcert` gives.
fn parse(text: &str) -> Result<(PostgresUrl, Option<PathBuf>), &'static str> {
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    let rest = rest.ok_or("does not begin with postgres://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').ok_or("names no database")?;
    let (login, hosts) = authority.rsplit_once('@').ok_or("names no user")?;
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(Secret::new(&decoded(password)?))),
        None => (login, None),
    };
    let hosts: Vec<_> = hosts.split(',').map(|text| host(text, 5432)).collect::<Result<_, _>>()?;
    let (verified, ca) = tls(query)?;
    if !verified && !hosts.iter().all(Host::is_here) {
        return Err("must say sslmode=verify-full: another machine is reached over TLS alone");
    }
    if verified && hosts.iter().any(Host::is_socket) {
        return Err("asks a socket for TLS, which PostgreSQL does not have there");
    }
    let (user, database) = (text_of(user)?, text_of(database)?);
    if user.is_empty() {
        return Err("names no user");
    }
    if database.is_empty() {
        return Err("names no database");
    }
    let tls = verified.then_some(PostgresTls { ca: None });
    Ok((PostgresUrl { hosts, user, password, database, tls }, ca))
}

/// Whether TLS is asked for, and the path of its authorities.
fn tls(query: &str) -> Result<(bool, Option<PathBuf>), &'static str> {
    let (mut verified, mut ca) = (None, None);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or("has a parameter without a value")?;
        let value = text_of(value)?;
        let twice = match name {
            "sslmode" => {
                let on = match value.as_str() {
                    "verify-full" => true,
                    "disable" => false,
                    _ => return Err("must say sslmode=verify-full, or =disable on this machine"),
                };
                verified.replace(on).is_some()
            }
            "sslrootcert" => ca.replace(value).is_some(),
            _ => return Err("has a parameter that is neither sslmode nor sslrootcert"),
        };
        if twice {
            return Err("has a parameter twice");
        }
    }
    let verified = verified.unwrap_or(false);
    if ca.is_some() && !verified {
        return Err("has sslrootcert without sslmode=verify-full");
    }
    // As libpq names the system's authorities.
    Ok((verified, ca.filter(|ca| ca != "system").map(PathBuf::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> PostgresUrl {
        parse(text).unwrap_or_else(|what| panic!("{text}: {what}")).0
    }

    #[test]
    fn a_url_is_taken_apart_and_shows_no_password() {
        let url = good("postgres://zen%40gate:c%40n%2Fary%C3%A9@[::1]:5433,localhost/the%20trail");
        assert_eq!(
            (url.user.as_str(), url.database.as_str(), url.tls.is_none()),
            ("zen@gate", "the trail", true)
        );
        assert_eq!(url.password.as_ref().expect("one").expose(), "c@n/aryé".as_bytes());
        assert_eq!(url.to_string(), "postgres://[::1]:5433,localhost:5432/the trail");
        assert!(!format!("{url:?}").contains("ary"), "{url:?}");
        let socket = good("postgresql://u@%2Frun%2Fpostgresql/db");
        assert!(socket.hosts[0].is_socket() && socket.password.is_none());
        let (url, ca) =
            parse("postgres://u:p@db.example/t?sslmode=verify-full&sslrootcert=ca%2Epem").expect("good");
        assert!(url.tls.is_some());
        assert_eq!(ca, Some(PathBuf::from("ca.pem")));
        assert_eq!(parse("postgres://u@h/t?sslmode=verify-full&sslrootcert=system").expect("good").1, None);
    }

    #[test]
    fn what_is_wrong_is_told_without_a_word_of_it() {
        for (text, what) in [
            ("mysql://u:canary@localhost/t", "does not begin with postgres://"),
            ("postgres://u:canary@localhost", "names no database"),
            ("postgres://u:canary@localhost/", "names no database"),
            ("postgres://localhost/t", "names no user"),
            ("postgres://:canary@localhost/t", "names no user"),
            ("postgres://u:canary@/t", "names no host"),
            ("postgres://u:canary@localhost:x/t", "port that is no number"),
            ("postgres://u:canary@[::1/t", "a [ without its ]"),
            ("postgres://u:canary%4@localhost/t", "a % without"),
            ("postgres://u:canary%zz@localhost/t", "a % without"),
            ("postgres://u:canary%00@localhost/t", "zero byte"),
            ("postgres://u:canary@db.example/t", "must say sslmode=verify-full: another machine"),
            ("postgres://u:canary@db.example/t?sslmode=disable", "must say sslmode=verify-full: another"),
            ("postgres://u:canary@db.example/t?sslmode=require", "must say sslmode=verify-full, or"),
            ("postgres://u:canary@localhost,db.example/t", "must say sslmode=verify-full: another machine"),
            ("postgres://u:canary@10.0.0.1/t", "must say sslmode=verify-full: another machine"),
            ("postgres://u:canary@localhost/t?sslrootcert=x", "sslrootcert without"),
            ("postgres://u:canary@localhost/t?sslmode=disable&sslmode=disable", "twice"),
            ("postgres://u:p?canary=1@localhost/t", "names no database"),
            ("postgres://u:p@localhost/t?canary", "without a value"),
            ("postgres://u:p@localhost/t?canary=1", "neither sslmode nor sslrootcert"),
            ("postgres://u:p@%2Frun/t?sslmode=verify-full", "asks a socket for TLS"),
        ] {
            let told = parse(text).expect_err(text);
            assert!(told.contains(what) && !told.contains("canary"), "{text}: {told}");
        }
    }
}
