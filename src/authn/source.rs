use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::keys::Keys;
use crate::config::{
    self, FetchUrl, KeySource, SignatureAlgorithm, check_secret, read_file, without_line_end,
};
use crate::http::{Fetcher, TlsFault};

/// Longest document and longest file that are read, in bytes.
const LONGEST: usize = 1 << 20;

/// Pause between two looks at a file.
const LOOK: Duration = Duration::from_secs(2);

/// Where one issuer's keys come from.
pub(super) struct Source {
    origin: Origin,
    algorithms: Vec<SignatureAlgorithm>,
}

enum Origin {
    Discovery { url: Url, issuer: String, jwks_origins: Vec<Url>, fetcher: Fetcher },
    JwksUrl { url: Url, fetcher: Fetcher },
    JwksFile(PathBuf),
    SecretFile(PathBuf),
}

/// When an issuer's keys are refreshed, and how long they serve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Longest pause between two refreshes.
    pub(super) refresh: Duration,
    /// Shortest pause between two refreshes for a key that nobody knows.
    pub(super) cooldown: Duration,
    /// How long keys serve after the last good refresh; None: until the next good one.
    pub(super) max_stale: Option<Duration>,
}

/// What an issuer's provider says of itself (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    pub(super) fn new(settings: &config::Issuer) -> Result<(Self, Pace), TlsFault> {
        let (origin, fetching) = match &settings.keys {
            KeySource::JwksFile(path) => (Origin::JwksFile(path.clone()), None),
            KeySource::SecretFile(path) => (Origin::SecretFile(path.clone()), None),
            KeySource::JwksUrl { url, fetching } => {
                (Origin::JwksUrl { url: url.clone(), fetcher: Fetcher::new(fetching)? }, Some(fetching))
            }
            KeySource::Discovery { url, jwks_origins, fetching } => {
                let (issuer, fetcher) = (settings.issuer.clone(), Fetcher::new(fetching)?);
                let (url, jwks_origins) = (url.clone(), jwks_origins.clone());
                (Origin::Discovery { url, issuer, jwks_origins, fetcher }, Some(fetching))
            }
        };
        let pace = match fetching {
            None => Pace { refresh: LOOK, cooldown: LOOK, max_stale: None },
            Some(fetching) => Pace {
                refresh: fetching.refresh,
                cooldown: fetching.cooldown,
                max_stale: Some(fetching.max_stale),
            },
        };
        Ok((Self { origin, algorithms: settings.algorithms.clone() }, pace))
    }

    /// The path, when the keys are in a file: they are read before anything starts.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.origin {
            Origin::JwksFile(path) | Origin::SecretFile(path) => Some(path),
            Origin::Discovery { .. } | Origin::JwksUrl { .. } => None,
        }
    }

    /// The keys as they are now.
    pub(super) async fn load(&self) -> Result<Keys, String> {
        let document = match &self.origin {
            Origin::JwksFile(path) | Origin::SecretFile(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(&path)).await;
                return self.keys(&read.map_err(|e| e.to_string())??);
            }
            Origin::JwksUrl { url, fetcher } => fetcher.get(url, LONGEST).await,
            Origin::Discovery { url, issuer, jwks_origins, fetcher } => {
                let metadata = fetcher.get(url, LONGEST).await.map_err(|fault| fault.to_string())?;
                let found = jwks_uri(&metadata, issuer, url, jwks_origins);
                fetcher.get(&found.map_err(|why| format!("{url}: {why}"))?, LONGEST).await
            }
        };
        self.keys(&document.map_err(|fault| fault.to_string())?)
    }

    /// The same of a file; blocks.
    pub(super) fn load_file(&self, path: &Path) -> Result<Keys, String> {
        self.keys(&read(path)?)
    }

    fn keys(&self, document: &[u8]) -> Result<Keys, String> {
        match &self.origin {
            Origin::SecretFile(path) => {
                let secret = without_line_end(document);
                check_secret(secret, &self.algorithms).map_err(|why| format!("{}: {why}", path.display()))?;
                Ok(Keys::of_secret(secret, &self.algorithms))
            }
            Origin::JwksFile(path) => {
                let keys = Keys::of_jwks(document, &self.algorithms);
                keys.map_err(|why| format!("{}: {why}", path.display()))
            }
            Origin::JwksUrl { .. } | Origin::Discovery { .. } => {
                Keys::of_jwks(document, &self.algorithms).map_err(|why| format!("what was fetched {why}"))
            }
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    read_file(path, LONGEST).map_err(|e| format!("{}: {e}", path.display()))
}

/// Where the issuer's JWK Set is, if its metadata is the issuer's own and leads nowhere that was not agreed to.
fn jwks_uri(metadata: &[u8], issuer: &str, url: &Url, others: &[Url]) -> Result<Url, String> {
    let metadata: Metadata =
        serde_json::from_slice(metadata).map_err(|e| format!("it is no provider's metadata: {e}"))?;
    if metadata.issuer != issuer {
        return Err(format!("it is the metadata of {:?}, not of {issuer:?}", metadata.issuer));
    }
    let jwks = metadata.jwks_uri.parse::<FetchUrl>().map_err(|why| format!("its jwks_uri {why}"))?.0;
    let agreed = std::iter::once(url).chain(others).any(|agreed| agreed.origin() == jwks.origin());
    if agreed {
        Ok(jwks)
    } else {
        let origin = jwks.origin().ascii_serialization();
        Err(format!("its jwks_uri is at {origin}: name that in jwks_origins if it is meant"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_leads_nowhere_that_was_not_agreed_to() {
        let issuer = "https://login.example/realm";
        let url: Url = format!("{issuer}/.well-known/openid-configuration").parse().expect("a URL");
        let others: [Url; 1] = ["https://keys.example".parse().expect("a URL")];
        for (row, named, jwks, expected) in [
            ("the issuer's origin", issuer, "https://login.example/keys?x=1", Ok(())),
            ("an agreed one", issuer, "https://keys.example/set", Ok(())),
            ("the origin's port by name", issuer, "https://login.example:443/keys", Ok(())),
            ("another issuer", "https://login.example/realm/", "https://login.example/keys", Err("not of")),
            ("another host", issuer, "https://evil.example/keys", Err("jwks_origins")),
            (
                "a host with the issuer's as a prefix",
                issuer,
                "https://login.example.evil.example/k",
                Err("jwks_origins"),
            ),
            ("a host behind a user", issuer, "https://login.example@evil.example/k", Err("without user")),
            ("another port", issuer, "https://login.example:8443/keys", Err("jwks_origins")),
            ("plain HTTP", issuer, "http://login.example/keys", Err("must be https")),
            ("plain HTTP on loopback", issuer, "http://127.0.0.1/keys", Err("jwks_origins")),
            ("a file", issuer, "file:///etc/passwd", Err("must be a URL")),
            ("a path", issuer, "/keys", Err("must be a URL")),
        ] {
            let metadata = serde_json::json!({ "issuer": named, "jwks_uri": jwks, "other": 1 }).to_string();
            let found = jwks_uri(metadata.as_bytes(), issuer, &url, &others);
            match (found, expected) {
                (Ok(found), Ok(())) => {
                    assert_eq!(found.host_str(), Url::parse(jwks).expect("a URL").host_str(), "{row}")
                }
                (Err(why), Err(part)) => assert!(why.contains(part), "{row}: {why}"),
                (found, _) => panic!("{row}: {found:?}"),
            }
        }
        for broken in ["", "[]", "{}", r#"{"issuer":"a","issuer":"b","jwks_uri":"c"}"#] {
            assert!(jwks_uri(broken.as_bytes(), issuer, &url, &others).is_err(), "{broken}");
        }
    }
}
