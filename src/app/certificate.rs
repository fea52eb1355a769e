//! The certificate that callers see, and its key: swapped under the listener when their files change.

mod pair;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use crate::authz::Look;
use crate::config::ServerTls;
use crate::metrics::Metrics;

use pair::Pair;
pub use pair::PairFault;

/// The pair that handshakes use from now on; connections that stand keep theirs.
pub(super) struct Certificate {
    files: ServerTls,
    pair: ArcSwap<Pair>,
    metrics: Arc<Metrics>,
}

impl Certificate {
    /// None where callers are served without TLS.
    pub(super) fn load(
        files: Option<&ServerTls>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Arc<Self>>, Vec<PairFault>> {
        let Some(files) = files else { return Ok(None) };
        let pair = ArcSwap::from_pointee(Pair::load(files)?);
        let certificate = Self { files: files.clone(), pair, metrics: metrics.clone() };
        certificate.tell();
        Ok(Some(Arc::new(certificate)))
    }

    /// TLS 1.2 and 1.3, for HTTP/1.1.
    pub(super) fn server_config(self: Arc<Self>) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites of both versions")
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// Reads the files; a pair that is wrong leaves the last good one in force. Blocks. Whether callers see another
    /// certificate now.
    pub(super) fn reload(&self) -> bool {
        match Pair::load(&self.files) {
            Ok(pair) => {
                let before = self.fingerprint();
                self.pair.store(Arc::new(pair));
                self.tell();
                self.fingerprint() != before
            }
            Err(faults) => {
                self.metrics.certificate_refused();
                let faults: Vec<String> = faults.iter().map(PairFault::to_string).collect();
                let faults = faults.join("\n");
                tracing::error!(
                    "the listener's certificate is wrong, so the last good one stays in force: {faults}"
                );
                false
            }
        }
    }

    /// SHA-256 of the certificate that callers see, hexadecimal.
    pub(super) fn fingerprint(&self) -> String {
        let pair = self.pair.load();
        pair.certified.cert.first().map(|der| hex::encode(Sha256::digest(der))).unwrap_or_default()
    }

    /// How the files look now.
    pub(super) fn look(&self) -> Look {
        pair::look(&self.files)
    }

    /// How they looked when the pair in force was read.
    pub(super) fn taken(&self) -> Look {
        self.pair.load().look
    }

    fn tell(&self) {
        let (good_from, good_until) = self.pair.load().validity;
        self.metrics.certificate_in_force(good_until.as_second());
        tracing::info!(certificate.not_after = %good_until, "the listener's certificate is in force");
        let now = Timestamp::now();
        if now > good_until {
            tracing::warn!(certificate.not_after = %good_until, "the listener's certificate has expired: callers will refuse it");
        } else if now < good_from {
            tracing::warn!(certificate.not_before = %good_from, "the listener's certificate is not valid yet: callers will refuse it");
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair.load().certified.clone())
    }
}

/// The trait asks for it; the key is not shown.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}
