use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::claims::Claims;
use super::token::{Parts, Refusal};
use crate::config::{KeySource, SignatureAlgorithm};
use crate::domain::IssuerName;

/// Why an issuer's keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("issuers.{issuer}: {}: {why}", path.display())]
pub struct KeyFault {
    pub issuer: IssuerName,
    pub path: PathBuf,
    pub why: String,
}

/// One issuer's keys. Each is bound to the algorithms it may verify: those of the issuer that fit its type, or the
/// one that it names itself.
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithms: Vec<SignatureAlgorithm>,
    verifier: DecodingKey,
}

impl Keys {
    pub(super) fn new(
        issuer: &IssuerName,
        source: &KeySource,
        allowed: &[SignatureAlgorithm],
    ) -> Result<Self, KeyFault> {
        match source {
            KeySource::Secret(secret) => Ok(Self(vec![Key {
                id: None,
                algorithms: allowed.to_vec(),
                verifier: DecodingKey::from_secret(secret.expose()),
            }])),
            KeySource::JwksFile { path, text } => Self::from_jwks(issuer, text, allowed)
                .map_err(|why| KeyFault { issuer: issuer.clone(), path: path.clone(), why }),
        }
    }

    /// A JWK Set (RFC 7517). A key that cannot serve is skipped with a warning; a set without any is a fault.
    fn from_jwks(issuer: &IssuerName, text: &str, allowed: &[SignatureAlgorithm]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_str(text).map_err(|e| format!("is not a JWK Set: {e}"))?;
        let mut keys = Vec::new();
        for value in set.keys {
            let id = value.get("kid").and_then(|kid| kid.as_str()).map(str::to_owned);
            match usable(value, allowed) {
                Ok((algorithms, verifier)) => keys.push(Key { id, algorithms, verifier }),
                Err(why) => tracing::warn!(
                    issuer.name = %issuer,
                    key.id = id.as_deref().unwrap_or_default(),
                    "a key of the issuer is skipped: {why}"
                ),
            }
        }
        if keys.is_empty() {
            return Err("holds no key that the issuer's algorithms can use".to_owned());
        }
        Ok(Self(keys))
    }

    /// Checks the signature and only then reads the claims.
    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<Claims, Refusal> {
        let algorithm: SignatureAlgorithm = parts.header.alg.parse().map_err(|_| Refusal::Algorithm)?;
        let mut fitting = self.0.iter().filter(|key| key.algorithms.contains(&algorithm)).peekable();
        if fitting.peek().is_none() {
            return Err(Refusal::Algorithm);
        }
        let key = match &parts.header.kid {
            Some(kid) => fitting.find(|key| key.id.as_ref().is_none_or(|id| id == kid)),
            // Without an id the choice must be plain.
            None => fitting.next().filter(|_| fitting.next().is_none()),
        };
        let key = key.ok_or(Refusal::UnknownKey)?;
        let good = jsonwebtoken::crypto::verify(
            parts.signature,
            parts.message.as_bytes(),
            &key.verifier,
            jsonwebtoken_algorithm(algorithm),
        );
        match good {
            Ok(true) => parts.claims(),
            Ok(false) => Err(Refusal::Signature),
            Err(_) => Err(Refusal::Malformed("its signature is not base64url")),
        }
    }
}

fn jsonwebtoken_algorithm(algorithm: SignatureAlgorithm) -> Algorithm {
    match algorithm {
        SignatureAlgorithm::Rs256 => Algorithm::RS256,
        SignatureAlgorithm::Rs384 => Algorithm::RS384,
        SignatureAlgorithm::Rs512 => Algorithm::RS512,
        SignatureAlgorithm::Ps256 => Algorithm::PS256,
        SignatureAlgorithm::Ps384 => Algorithm::PS384,
        SignatureAlgorithm::Ps512 => Algorithm::PS512,
        SignatureAlgorithm::Es256 => Algorithm::ES256,
        SignatureAlgorithm::Es384 => Algorithm::ES384,
        SignatureAlgorithm::EdDsa => Algorithm::EdDSA,
        SignatureAlgorithm::Hs256 => Algorithm::HS256,
        SignatureAlgorithm::Hs384 => Algorithm::HS384,
        SignatureAlgorithm::Hs512 => Algorithm::HS512,
    }
}

/// The algorithms that a key serves, or why it serves none.
fn usable(
    value: serde_json::Value,
    allowed: &[SignatureAlgorithm],
) -> Result<(Vec<SignatureAlgorithm>, DecodingKey), String> {
    use SignatureAlgorithm as A;
    let jwk: Jwk = serde_json::from_value(value).map_err(|e| format!("it is not a JWK: {e}"))?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("its use is not \"sig\"".to_owned());
    }
    let fitting: &[A] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).map_err(|_| "its modulus is not base64url")?;
            let bits = modulus.iter().skip_while(|b| **b == 0).count() * 8;
            if bits < 2048 {
                return Err("its RSA modulus is shorter than 2048 bits".to_owned());
            }
            &[A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512]
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[A::Es256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[A::Es384],
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => &[A::EdDsa],
        AlgorithmParameters::OctetKey(_) => return Err("it is symmetric: use secret_file".to_owned()),
        _ => return Err("its type or curve is not supported".to_owned()),
    };
    let named = match jwk.common.key_algorithm {
        None => None,
        Some(named) => {
            let named = named.to_string().parse::<A>().ok().filter(|named| fitting.contains(named));
            Some(named.ok_or("its alg does not fit its type")?)
        }
    };
    let serves =
        |algorithm: &&A| allowed.contains(algorithm) && named.is_none_or(|named| named == **algorithm);
    let algorithms: Vec<A> = fitting.iter().filter(serves).copied().collect();
    if algorithms.is_empty() {
        return Err("its algorithm is not one of the issuer's".to_owned());
    }
    let verifier = DecodingKey::from_jwk(&jwk).map_err(|e| format!("it cannot be used: {e}"))?;
    Ok((algorithms, verifier))
}
