use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::Claims;

/// Longest token that is looked at, in bytes.
pub const LONGEST_TOKEN: usize = 8 << 10;

/// Of a [`Refusal::Malformed`] that shows only when the signature is checked.
pub(super) const BAD_SIGNATURE: &str = "its signature is not base64url";

/// Why a token does not let its bearer in. Callers hear less than this says: nothing about keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no bearer token was sent")]
    Missing,
    #[error("the Authorization header is not one `Bearer` and a token")]
    NotBearer,
    #[error("the token is longer than 8 KiB")]
    TooLong,
    #[error("the token is not a signed JWT: {0}")]
    Malformed(&'static str),
    #[error("its header names what is never followed: {0}")]
    Critical(&'static str),
    #[error("its issuer is not configured")]
    UnknownIssuer,
    #[error("its algorithm is not one of its issuer's")]
    Algorithm,
    #[error("no key of its issuer fits it")]
    UnknownKey,
    #[error("its issuer's keys cannot be had now")]
    NoKeys,
    #[error("its signature does not match")]
    Signature,
    #[error("its claim `{0}` is missing")]
    ClaimMissing(&'static str),
    #[error("its claim `{0}` has the wrong shape")]
    ClaimShape(&'static str),
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it lives longer than its issuer's tokens may, or does not say when it was issued")]
    Lifetime,
    #[error("its `typ` is not the one its issuer's tokens have")]
    Type,
}

impl Refusal {
    /// The metric's label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotBearer => "not-bearer",
            Self::TooLong => "too-long",
            Self::Malformed(_) => "malformed",
            Self::Critical(_) => "critical",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown-key",
            Self::NoKeys => "no-keys",
            Self::Signature => "signature",
            Self::ClaimMissing(_) => "claim-missing",
            Self::ClaimShape(_) => "claim-shape",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Lifetime => "lifetime",
            Self::Type => "type",
        }
    }
}

/// The JOSE header (RFC 7515). `jku`, `jwk` and `x5u` are not read: a token never brings its own key.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
}

/// A compact JWS taken apart; nothing of it is verified.
pub(super) struct Parts<'t> {
    pub(super) header: Header,
    /// What the signature covers.
    pub(super) message: &'t str,
    pub(super) signature: &'t str,
    /// What is claimed. [`super::keys::Keys::verify`] hands it out as verified.
    pub(super) unverified: Claims,
}

impl<'t> Parts<'t> {
    pub(super) fn split(token: &'t str) -> Result<Self, Refusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refusal::TooLong);
        }
        let three = Refusal::Malformed("it is not three parts with dots between");
        let (message, signature) = token.rsplit_once('.').ok_or(three.clone())?;
        let (header, payload) = message.split_once('.').ok_or(three.clone())?;
        if payload.contains('.') {
            return Err(three);
        }
        let decode = |part: &str| {
            URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed("a part is not base64url"))
        };
        let header: Claims = serde_json::from_slice(&decode(header)?)
            .map_err(|_| Refusal::Malformed("its header is not a JSON object without duplicates"))?;
        let unverified: Claims = serde_json::from_slice(&decode(payload)?)
            .map_err(|_| Refusal::Malformed("its claims are not a JSON object without duplicates"))?;
        if let Some(name) = ["crit", "b64"].into_iter().find(|name| header.names(name)) {
            return Err(Refusal::Critical(name));
        }
        let text = |name| {
            let found = header.text(name).map(|text| text.map(str::to_owned));
            found.map_err(|_| Refusal::Malformed("its header names `alg`, `kid` or `typ` by no text"))
        };
        let alg = text("alg")?.ok_or(Refusal::Malformed("its header names no `alg`"))?;
        let header = Header { alg, kid: text("kid")?, typ: text("typ")? };
        Ok(Self { header, message, signature, unverified })
    }

    /// The `iss` claim, which only chooses whose keys to try.
    pub(super) fn unverified_issuer(&self) -> Result<&str, Refusal> {
        self.unverified.text("iss")?.ok_or(Refusal::ClaimMissing("iss"))
    }
}
