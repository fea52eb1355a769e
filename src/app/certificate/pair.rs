use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate, X509Error};
use zeroize::Zeroizing;

use crate::authz::Look;
use crate::config::{ServerTls, read_file};

/// Longest file that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// Attempts to read a pair whose files change meanwhile.
const ATTEMPTS: u32 = 5;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// A certificate with its chain, and the key that belongs to it.
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) validity: Validity,
    /// How the files looked before they were read.
    pub(super) look: Look,
}

/// The first and the last moment at which a certificate is good.
type Validity = (Timestamp, Timestamp);

/// One of the two files, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("server.tls.{key}: {} {wrong}", .path.display())]
pub struct PairFault {
    key: &'static str,
    path: PathBuf,
    wrong: Wrong,
}

/// Nothing of a file's contents is repeated: a key that was pasted badly may stand anywhere in it.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("is broken PEM")]
    NotPem,
    #[error("holds no certificate")]
    NoCertificate,
    #[error("begins with a certificate that cannot be read: {0}")]
    UnreadableCertificate(X509Error),
    #[error("begins with a certificate that cannot be used: {0}")]
    UnusableCertificate(rustls::Error),
    #[error("holds no private key")]
    NoKey,
    #[error("holds {0} private keys: it must hold one")]
    SeveralKeys(usize),
    #[error("holds an encrypted private key: it must have no passphrase")]
    EncryptedKey,
    #[error("holds a private key that cannot be used: it must be RSA, ECDSA or Ed25519")]
    UnusableKey,
    #[error("holds another key than that of the first certificate in certificate_file")]
    Mismatch,
}

impl Pair {
    /// Reads both files, or says all that is wrong. Files that are written meanwhile are read once more, since their
    /// halves do not fit; halves that fit are a pair. Blocks.
    pub(super) fn load(files: &ServerTls) -> Result<Self, Vec<PairFault>> {
        let mut attempt = 1;
        loop {
            let before = look(files);
            let pair = read(files, before);
            if pair.is_ok() || attempt == ATTEMPTS || look(files) == before {
                return pair;
            }
            attempt += 1;
            std::thread::sleep(PAUSE);
        }
    }
}

pub(super) fn look(files: &ServerTls) -> Look {
    Look::of([&files.certificate_file, &files.key_file])
}

fn read(files: &ServerTls, look: Look) -> Result<Pair, Vec<PairFault>> {
    let certificate_fault =
        |wrong| PairFault { key: "certificate_file", path: files.certificate_file.clone(), wrong };
    let key_fault = |wrong| PairFault { key: "key_file", path: files.key_file.clone(), wrong };
    let chain = bytes(&files.certificate_file).and_then(|pem| chain(&pem)).map_err(certificate_fault);
    let key = bytes(&files.key_file).and_then(|pem| key(&pem)).map_err(key_fault);
    let (chain, validity, key) = match (chain, key) {
        (Ok((chain, validity)), Ok(key)) => (chain, validity, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(Pair { certified: Arc::new(certified), validity, look }),
        Err(rustls::Error::InconsistentKeys(_)) => Err(vec![key_fault(Wrong::Mismatch)]),
        Err(e) => Err(vec![certificate_fault(Wrong::UnusableCertificate(e))]),
    }
}

fn bytes(file: &Path) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    read_file(file, LONGEST).map_err(Wrong::Unreadable)
}

fn chain(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, Validity), Wrong> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| Wrong::NotPem)?;
    let first = chain.first().ok_or(Wrong::NoCertificate)?;
    let (_, parsed) = X509Certificate::from_der(first).map_err(|e| match e {
        x509_parser::nom::Err::Error(e) | x509_parser::nom::Err::Failure(e) => {
            Wrong::UnreadableCertificate(e)
        }
        x509_parser::nom::Err::Incomplete(_) => Wrong::UnreadableCertificate(X509Error::InvalidCertificate),
    })?;
    let (validity, invalid) = (parsed.validity(), |_| Wrong::UnreadableCertificate(X509Error::InvalidDate));
    let good_from = Timestamp::from_second(validity.not_before.timestamp()).map_err(invalid)?;
    let good_until = Timestamp::from_second(validity.not_after.timestamp()).map_err(invalid)?;
    Ok((chain, (good_from, good_until)))
}

fn key(pem: &[u8]) -> Result<Arc<dyn SigningKey>, Wrong> {
    if is_encrypted(pem) {
        return Err(Wrong::EncryptedKey);
    }
    let keys: Result<Vec<_>, _> =
        PrivateKeyDer::pem_slice_iter(pem).map(|key| key.map(Zeroizing::new)).collect();
    match keys.map_err(|_| Wrong::NotPem)?.as_slice() {
        [] => Err(Wrong::NoKey),
        [key] => any_supported_type(key).map_err(|_| Wrong::UnusableKey),
        several => Err(Wrong::SeveralKeys(several.len())),
    }
}

/// PKCS#8 by its label, the older kinds by a header (RFC 1421); rustls's reader of PEM knows neither.
fn is_encrypted(pem: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    pem.split(|byte| *byte == b'\n').any(|line| marks.iter().any(|mark| line.starts_with(mark)))
}
