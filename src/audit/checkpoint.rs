//! Signed statements of where a chain stood: whoever keeps one outside the store can tell whether the chain was cut
//! off or written anew.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};

use super::Position;
use crate::config::{create_secret, read_file};
use crate::domain::rfc3339;

/// The first word of a checkpoint, and the version of its form.
const WORD: &str = "zengate-checkpoint-v1";

/// DER of a SubjectPublicKeyInfo of Ed25519, before the 32 bytes of the key (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Longest key file, in bytes.
const LONGEST: usize = 16 << 10;

/// Signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: String,
}

/// The keys whose checkpoints are believed.
#[derive(Debug, Default, Clone)]
pub struct PublicKeys(Vec<PublicKey>);

#[derive(Debug, Clone)]
struct PublicKey {
    id: String,
    key: Vec<u8>,
}

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    #[error("{file} cannot be read: {source}")]
    Unreadable { file: String, source: io::Error },
    #[error("{file} cannot be created: {source}")]
    Uncreatable { file: String, source: io::Error },
    #[error(
        "{file} is no Ed25519 private key in PKCS#8 PEM: make one with `openssl genpkey -algorithm ed25519`"
    )]
    NoPrivateKey { file: String },
    #[error("{file} has no Ed25519 public key in PEM: `openssl pkey -in KEY -pubout` prints one")]
    NoPublicKey { file: String },
}

/// A signed statement that a chain had this record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub position: Position,
    /// When it was signed.
    pub time: String,
    /// The key that signed it.
    pub key: String,
    signature: Vec<u8>,
}

impl SigningKey {
    /// Reads the key; one that is not there is made where `make` says so, for its owner's eyes alone.
    pub(super) fn load(file: &Path, make: bool) -> Result<Self, KeyFault> {
        let name = || file.display().to_string();
        let pem = match read_file(file, LONGEST) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && make => {
                create(file).map_err(|source| KeyFault::Uncreatable { file: name(), source })?;
                read_file(file, LONGEST)
            }
            read => read,
        };
        let pem = pem.map_err(|source| KeyFault::Unreadable { file: name(), source })?;
        let bad = || KeyFault::NoPrivateKey { file: name() };
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| bad())?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|_| bad())?;
        let id = key_id(pair.public_key().as_ref());
        Ok(Self { pair, id })
    }

    /// How checkpoints name it: the first 16 hexadecimal digits of the SHA-256 of its public key's DER.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn public(&self) -> PublicKeys {
        let key = self.pair.public_key().as_ref().to_vec();
        PublicKeys(vec![PublicKey { id: self.id.clone(), key }])
    }

    pub(super) fn sign(&self, position: Position, time: Timestamp) -> Checkpoint {
        let time = rfc3339(time);
        let mut checkpoint = Checkpoint { position, time, key: self.id.clone(), signature: Vec::new() };
        checkpoint.signature = self.pair.sign(checkpoint.message().as_bytes()).as_ref().to_vec();
        checkpoint
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

fn create(file: &Path) -> io::Result<()> {
    let key = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(io::Error::other)?;
    let text = zeroize::Zeroizing::new(STANDARD.encode(key.as_ref()));
    let pem = zeroize::Zeroizing::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        text.as_str()
    ));
    create_secret(file, pem.as_bytes())
}

fn key_id(key: &[u8]) -> String {
    hex::encode(&Sha256::digest([&SPKI, key].concat())[..8])
}

impl PublicKeys {
    /// Every public key in a PEM file.
    pub fn load(file: &Path) -> Result<Self, KeyFault> {
        let name = || file.display().to_string();
        let pem = read_file(file, LONGEST).map_err(|source| KeyFault::Unreadable { file: name(), source })?;
        let mut keys = Vec::new();
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(&pem) {
            let der = der.map_err(|_| KeyFault::NoPublicKey { file: name() })?;
            let key = der.strip_prefix(&SPKI).filter(|key| key.len() == 32);
            let key = key.ok_or_else(|| KeyFault::NoPublicKey { file: name() })?.to_vec();
            keys.push(PublicKey { id: key_id(&key), key });
        }
        if keys.is_empty() { Err(KeyFault::NoPublicKey { file: name() }) } else { Ok(Self(keys)) }
    }

    /// The public half of a signing key's file.
    pub fn of_signing_key(file: &Path) -> Result<Self, KeyFault> {
        SigningKey::load(file, false).map(|key| key.public())
    }

    /// Both.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// In PEM, one after the other.
    pub fn pem(&self) -> String {
        let pem = |key: &PublicKey| {
            let der = STANDARD.encode([SPKI.as_slice(), &key.key].concat());
            format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
        };
        self.0.iter().map(pem).collect()
    }

    /// Whether a key of this name is among them.
    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    /// Whether one of them signed it.
    pub fn signed(&self, checkpoint: &Checkpoint) -> bool {
        let message = checkpoint.message();
        self.0.iter().filter(|key| key.id == checkpoint.key).any(|key| {
            let key = UnparsedPublicKey::new(&ED25519, &key.key);
            key.verify(message.as_bytes(), &checkpoint.signature).is_ok()
        })
    }
}

impl Checkpoint {
    /// What is signed: all of its text before the signature and the space before that.
    fn message(&self) -> String {
        let Self { position: Position { writer, sequence, hash }, time, key, .. } = self;
        format!("{WORD} {writer} {sequence} {hash} {time} {key}")
    }

    /// Every checkpoint in a text, whatever stands around it: a log, records, a note.
    pub fn all_in(text: &str) -> impl Iterator<Item = Self> {
        text.match_indices(WORD).filter_map(|(at, _)| {
            let end = |c: char| c.is_control() || matches!(c, '"' | '\\' | '\'' | '<' | ')');
            let rest = text[at..].split(end).next().unwrap_or_default();
            let words: Vec<&str> = rest.split(' ').take(7).collect();
            words.join(" ").parse().ok()
        })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.message(), URL_SAFE_NO_PAD.encode(&self.signature))
    }
}

/// It is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a checkpoint is `{WORD} WRITER SEQUENCE HASH TIME KEY SIGNATURE`")]
pub struct NoCheckpoint;

impl FromStr for Checkpoint {
    type Err = NoCheckpoint;

    fn from_str(text: &str) -> Result<Self, NoCheckpoint> {
        let words: Vec<&str> = text.split(' ').collect();
        let [WORD, writer, sequence, hash, time, key, signature] = words.as_slice() else {
            return Err(NoCheckpoint);
        };
        let sequence = sequence.parse().map_err(|_| NoCheckpoint)?;
        let position = Position { writer: (*writer).to_owned(), sequence, hash: (*hash).to_owned() };
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NoCheckpoint)?;
        Ok(Self { position, time: (*time).to_owned(), key: (*key).to_owned(), signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (SigningKey, Checkpoint) {
        let folder = tempfile::tempdir().expect("a folder");
        let key = SigningKey::load(&folder.path().join("key"), true).expect("made");
        let position = Position { writer: "w".to_owned(), sequence: 7, hash: "ab".repeat(32) };
        let checkpoint = key.sign(position, Timestamp::UNIX_EPOCH);
        (key, checkpoint)
    }

    #[test]
    fn a_checkpoint_is_read_back_from_any_text_and_believed_only_as_it_was_signed() {
        let (key, checkpoint) = signed();
        let keys = key.public();
        assert!(keys.signed(&checkpoint));
        let text = checkpoint.to_string();
        let around = format!("log: {{\"audit.checkpoint\":\"{text}\"}}\n{text} kept by hand\n{text}");
        let found: Vec<_> = Checkpoint::all_in(&around).collect();
        assert_eq!(found, vec![checkpoint.clone(), checkpoint.clone(), checkpoint.clone()]);
        for (row, changed) in [
            ("writer", text.replacen(" w ", " v ", 1)),
            ("sequence", text.replacen(" 7 ", " 6 ", 1)),
            ("hash", text.replacen("ab", "ac", 1)),
            ("time", text.replacen("1970", "1971", 1)),
        ] {
            let changed: Checkpoint = changed.parse().unwrap_or_else(|e| panic!("{row}: {e}"));
            assert!(!keys.signed(&changed), "{row}");
        }
        let (_, other) = signed();
        assert!(!keys.signed(&other), "another key's");
        let renamed = Checkpoint { key: key.id().to_owned(), ..other };
        assert!(!keys.signed(&renamed), "another key's under this one's name");
    }

    #[test]
    fn a_key_is_made_once_and_by_its_owner_alone_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        assert!(matches!(SigningKey::load(&file, false), Err(KeyFault::Unreadable { .. })));
        let made = SigningKey::load(&file, true).expect("made");
        assert_eq!(SigningKey::load(&file, true).expect("read").id(), made.id());
        let mode = std::fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{made:?}").contains("PRIVATE"));
        std::fs::write(&file, "no key").expect("written");
        assert!(matches!(SigningKey::load(&file, true), Err(KeyFault::NoPrivateKey { .. })));
        let public = folder.path().join("public");
        std::fs::write(&public, made.public().pem()).expect("written");
        assert!(PublicKeys::load(&public).expect("read").has(made.id()));
    }

    #[test]
    fn openssl_reads_the_key_and_believes_the_signature() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let key = SigningKey::load(&at("key"), true).expect("made");
        let checkpoint = key.sign(
            Position { writer: "w".to_owned(), sequence: 1, hash: "00".repeat(32) },
            Timestamp::UNIX_EPOCH,
        );
        std::fs::write(at("message"), checkpoint.message()).expect("written");
        std::fs::write(at("signature"), &checkpoint.signature).expect("written");
        let openssl = |arguments: &[&str]| {
            let output =
                std::process::Command::new("openssl").args(arguments).current_dir(folder.path()).output();
            let output = output.expect("openssl runs");
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text")
        };
        let public = openssl(&["pkey", "-in", "key", "-pubout"]);
        assert_eq!(public, key.public().pem());
        std::fs::write(at("public"), public).expect("written");
        let verified = openssl(&[
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "public",
            "-rawin",
            "-in",
            "message",
            "-sigfile",
            "signature",
        ]);
        assert!(verified.contains("Verified Successfully"), "{verified}");
        // And the other way round: a key that openssl makes signs ours.
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", "made"]);
        let made = SigningKey::load(&at("made"), false).expect("read");
        assert_eq!(openssl(&["pkey", "-in", "made", "-pubout"]), made.public().pem());
    }
}
