use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::claims::Claims;
use super::token::{BAD_SIGNATURE, Header, Parts, Refusal};
use crate::config::SignatureAlgorithm;

/// One issuer's keys. Each is bound to the algorithms it may verify: those of the issuer that fit its type, or the
/// one that it names itself.
pub(super) struct Keys {
    keys: Vec<Key>,
    /// Keys that cannot serve, by their id, and why.
    pub(super) skipped: Vec<(Option<String>, String)>,
    /// Of what they were made of, in whatever order it stood.
    digest: [u8; 32],
}

struct Key {
    id: Option<String>,
    algorithms: Vec<SignatureAlgorithm>,
    verifier: DecodingKey,
}

/// A token whose signature is good. Only [`Keys::verify`] makes one.
pub(super) struct Verified {
    pub(super) header: Header,
    pub(super) claims: Claims,
    _made_here: (),
}

impl Keys {
    pub(super) fn of_secret(secret: &[u8], algorithms: &[SignatureAlgorithm]) -> Self {
        let verifier = DecodingKey::from_secret(secret);
        let keys = vec![Key { id: None, algorithms: algorithms.to_vec(), verifier }];
        Self { keys, skipped: Vec::new(), digest: Sha256::digest(secret).into() }
    }

    /// Those of a JWK Set (RFC 7517) that can serve.
    pub(super) fn of_jwks(text: &[u8], allowed: &[SignatureAlgorithm]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(text).map_err(|e| format!("is not a JWK Set: {e}"))?;
        let mut texts: Vec<String> = set.keys.iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        let digest = Sha256::digest(texts.concat()).into();
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for value in set.keys {
            let id = value.get("kid").and_then(|kid| kid.as_str()).map(str::to_owned);
            match usable(value, allowed) {
                Ok((algorithms, verifier)) => keys.push(Key { id, algorithms, verifier }),
                Err(why) => skipped.push((id, why)),
            }
        }
        Ok(Self { keys, skipped, digest })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The ids of those that serve.
    pub(super) fn ids(&self) -> impl Iterator<Item = Option<&str>> {
        self.keys.iter().map(|key| key.id.as_deref())
    }

    /// Whether both are the same keys.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Tells these keys from any others.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Checks the signature, and only then hands out what is claimed.
    pub(super) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        parts: Parts<'_>,
    ) -> Result<Verified, Refusal> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        let key = match &parts.header.kid {
            Some(kid) => fitting.find(|key| key.id.as_ref().is_none_or(|id| id == kid)),
            // Without an id the choice must be plain.
            None => fitting.next().filter(|_| fitting.next().is_none()),
        };
        let good = jsonwebtoken::crypto::verify(
            parts.signature,
            parts.message.as_bytes(),
            &key.ok_or(Refusal::UnknownKey)?.verifier,
            jsonwebtoken_algorithm(algorithm),
        );
        match good {
            Ok(true) => Ok(Verified { header: parts.header, claims: parts.unverified, _made_here: () }),
            Ok(false) => Err(Refusal::Signature),
            Err(_) => Err(Refusal::Malformed(BAD_SIGNATURE)),
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
