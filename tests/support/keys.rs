//! Issuers of the tests: real keys, made once.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub const SECRET: &str = "a secret that is at least forty-eight bytes long, as HS384 needs";
pub const CORP: &str = "https://corp.example";
pub const PORTAL: &str = "https://portal.example";

/// One signing key of each kind.
pub struct Keys {
    pub rsa: EncodingKey,
    /// The public half of `rsa`, as everybody may have it.
    pub rsa_public: String,
    pub ec: EncodingKey,
    pub ec384: EncodingKey,
    pub ed: EncodingKey,
    pub stranger: EncodingKey,
}

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let ec = || {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        EncodingKey::from_ec_der(pkcs8.expect("a key").as_ref())
    };
    let rsa = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public: PublicKeyX509Der<'_> = rsa.public_key().as_der().expect("a key");
    let rsa_public = pem("PUBLIC KEY", public.as_ref());
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().expect("a key");
    let pem = pem("PRIVATE KEY", rsa.as_ref());
    let ed = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key");
    let ec384 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).expect("a key");
    Keys {
        rsa_public,
        ec384: EncodingKey::from_ec_der(ec384.as_ref()),
        rsa: EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key"),
        ec: ec(),
        ed: EncodingKey::from_ed_der(ed.as_ref()),
        stranger: ec(),
    }
});

pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The corporate issuer's key set.
pub fn jwks() -> String {
    let jwk = |key: &EncodingKey, algorithm, kid: &str| {
        let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a public key");
        jwk.common.key_id = Some(kid.to_owned());
        jwk
    };
    let Keys { rsa, ec, ec384, ed, .. } = &*KEYS;
    // As many providers do, the RSA key names no algorithm: it serves all that the issuer allows.
    let mut any = jwk(rsa, Algorithm::RS256, "rsa");
    any.common.key_algorithm = None;
    let keys = [
        any,
        jwk(ec, Algorithm::ES256, "ec"),
        jwk(ec384, Algorithm::ES384, "ec384"),
        jwk(ed, Algorithm::EdDSA, "ed"),
    ];
    json!({ "keys": keys }).to_string()
}

/// Claims that are good for an hour.
pub fn claims(subject: &str, teams: Value) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({ "iss": CORP, "aud": "zengate", "sub": subject, "teams": teams, "iat": now, "exp": now + 3600, "jti": "token-1" })
}

/// A token of the corporate issuer, signed ES256.
pub fn token(claims: &Value) -> String {
    signed(Algorithm::ES256, Some("ec"), claims, &KEYS.ec)
}

pub fn signed(algorithm: Algorithm, kid: Option<&str>, claims: &Value, key: &EncodingKey) -> String {
    let mut header = Header::new(algorithm);
    header.typ = Some("at+jwt".to_owned());
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key).expect("signed")
}
