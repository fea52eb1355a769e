use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::BuilderVerifierExt;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The file is not PEM.
    #[error("ca_file is not PEM: {0}")]
    NotPem(rustls_pki_types::pem::Error),
    /// The file names no authority.
    #[error("ca_file holds no certificate")]
    Empty,
    /// A certificate that cannot be used, or no system store.
    #[error("the certificates to trust cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Trusts the authorities of `ca` (PEM) alone, or else the system's. Verification is never off.
pub fn client(ca: Option<&[u8]>) -> Result<ClientConfig, TlsFault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let Some(pem) = ca else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(TlsFault::NotPem)?)?;
    }
    if roots.is_empty() {
        return Err(TlsFault::Empty);
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
