//! Where a reset that was decided may go, and whether a request about to be sent is that one.

use awc::http::Method;
use awc::http::header::{self, HeaderName};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

use super::{ACTION, PATH, VERSION};
use crate::domain::InstanceId;

/// Host, path, action and version of every reset: the configuration's. Only an [`super::Endpoint`] makes one.
#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    action: String,
    version: String,
}

/// SHA-256 over host, path, action, version and instance of one reset, each with a line end behind it, which none of
/// them can contain. docs/audit.md tells it to those who recompute it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 64]);

/// All that a reset's body may say. The password is passed over where it lies, never copied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'b> {
    /// Borrowed: a text with an escape in it is no instance's, and without one there is no line end in it.
    #[serde(rename = "instanceId")]
    instance: &'b str,
    #[serde(rename = "password")]
    _password: IgnoredAny,
}

impl Target {
    pub(super) fn new(host: &str, action: &str, version: &str) -> Self {
        Self { host: host.to_owned(), action: action.to_owned(), version: version.to_owned() }
    }

    /// Of a reset of this instance, as it was decided.
    pub fn digest(&self, instance: &InstanceId) -> Digest {
        Digest::of([&self.host, PATH, &self.action, &self.version, instance.as_str()])
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::new("zenlayer.test", "ResetInstancePassword", "2025-09-01")
    }
}

impl Digest {
    fn of(lines: [&str; 5]) -> Self {
        let mut text = Sha256::new();
        for line in lines {
            text.update(line);
            text.update("\n");
        }
        let mut digits = [0; 64];
        hex::encode_to_slice(text.finalize(), &mut digits).expect("a SHA-256 digest is 64 digits");
        Self(digits)
    }

    /// Of a request as it is about to be sent with this body, from nothing but these. None: it is no reset, whatever
    /// was decided.
    pub(super) fn of_request(request: &awc::ClientRequest, body: &[u8]) -> Option<Self> {
        let only = |name: HeaderName| {
            let mut values = request.headers().get_all(name);
            let value = values.next()?.to_str().ok()?;
            values.next().is_none().then_some(value)
        };
        let (uri, host) = (request.get_uri(), only(header::HOST)?);
        // The host that is asked is the one that is named to it.
        let plain = request.get_method() == Method::POST && uri.query().is_none();
        if !plain || uri.authority()?.as_str() != host {
            return None;
        }
        let body: Body<'_> = serde_json::from_slice(body).ok()?;
        Some(Self::of([host, uri.path(), only(ACTION)?, only(VERSION)?, body.instance]))
    }

    /// Hexadecimal digits in lower case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"instanceId":"ins-a","password":"Abcd~1234"}"#;

    fn request(url: &str) -> awc::ClientRequest {
        awc::Client::default()
            .post(url)
            .insert_header((header::HOST, "zenlayer.test"))
            .insert_header((ACTION, "ResetInstancePassword"))
            .insert_header((VERSION, "2025-09-01"))
    }

    fn good() -> awc::ClientRequest {
        request("https://zenlayer.test/api/v2/zec")
    }

    #[tokio::test]
    async fn only_the_request_that_was_decided_has_its_digest() {
        let decided = Target::for_test().digest(&"ins-a".parse().expect("an id"));
        for (row, request, body, same) in [
            ("as decided", good(), BODY, true),
            ("its fields in another order", good(), r#"{"password":"Abcd~1234","instanceId":"ins-a"}"#, true),
            ("another instance", good(), r#"{"instanceId":"ins-b","password":"Abcd~1234"}"#, false),
            ("more behind the instance", good(), r#"{"instanceId":"ins-a\n","password":"Abcd~1234"}"#, false),
            (
                "the instance in escapes",
                good(),
                r#"{"instanceId":"ins-\u0061","password":"Abcd~1234"}"#,
                false,
            ),
            ("two instances", good(), r#"{"instanceId":"ins-a","instanceId":"ins-b","password":"x"}"#, false),
            (
                "the same twice",
                good(),
                r#"{"instanceId":"ins-a","instanceId":"ins-a","password":"x"}"#,
                false,
            ),
            (
                "instances beside",
                good(),
                r#"{"instanceId":"ins-a","password":"x","instanceIds":["ins-b"]}"#,
                false,
            ),
            ("no password", good(), r#"{"instanceId":"ins-a"}"#, false),
            ("two bodies", good(), &format!("{BODY}{BODY}"), false),
            ("no body", good(), "", false),
            ("another action", good().insert_header((ACTION, "DeleteInstance")), BODY, false),
            ("an action beside", good().append_header((ACTION, "ResetInstancePassword")), BODY, false),
            ("another version", good().insert_header((VERSION, "2025-09-02")), BODY, false),
            ("a version beside", good().append_header((VERSION, "2025-09-02")), BODY, false),
            ("another host", good().insert_header((header::HOST, "other.test")), BODY, false),
            ("a host beside", good().append_header((header::HOST, "zenlayer.test")), BODY, false),
            ("another address", request("https://other.test/api/v2/zec"), BODY, false),
            ("another port", request("https://zenlayer.test:8443/api/v2/zec"), BODY, false),
            ("another path", request("https://zenlayer.test/api/v2/vm"), BODY, false),
            ("a query", request("https://zenlayer.test/api/v2/zec?x"), BODY, false),
            ("another method", good().method(Method::PUT), BODY, false),
        ] {
            assert_eq!(Digest::of_request(&request, body.as_bytes()) == Some(decided), same, "{row}");
        }
    }

    #[test]
    fn each_part_is_told_from_the_others() {
        let parts = ["a", "b", "c", "d", "e"];
        let whole = Digest::of(parts);
        for at in 0..parts.len() {
            let mut other = parts;
            other[at] = "x";
            assert_ne!(Digest::of(other), whole, "part {at}");
        }
        assert_ne!(Digest::of(["ab", "", "c", "d", "e"]), Digest::of(["a", "b", "c", "d", "e"]));
        // sha256sum's word on the text.
        assert_eq!(whole.as_str(), "86dc03602dcf385217216784784a8ecf20e6400decc3208170b12fcb0afb6698");
    }
}
