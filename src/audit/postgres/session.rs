use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Config, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Settings;
use crate::audit::store::StoreError;
use crate::config::{Host, PostgresUrl};

/// How to connect.
pub(super) struct Server {
    /// As it was last read.
    url: Mutex<Arc<PostgresUrl>>,
    url_file: PathBuf,
    /// Longest connect, to all hosts together.
    timeout: Duration,
    /// Longest statement, as the server counts it.
    statement: Duration,
}

/// One connection. Dropped, it is closed at once, however the server is.
pub(super) struct Session {
    pub(super) client: Client,
    connection: JoinHandle<()>,
}

impl Server {
    pub(super) fn new(settings: &Settings<'_>, statement: Duration) -> Self {
        Self {
            url: Mutex::new(Arc::new(settings.url.clone())),
            url_file: settings.url_file.to_owned(),
            timeout: settings.timeout,
            statement,
        }
    }

    /// Connects to the first host that takes writes: after a failover that is another than before.
    pub(super) async fn connect(&self) -> Result<Session, StoreError> {
        let url = self.url();
        let each = self.timeout / u32::try_from(url.hosts.len()).unwrap_or(u32::MAX);
        let mut failed = StoreError::Unavailable("no host".to_owned());
        for host in &url.hosts {
            match timeout(each, self.connect_to(&url, host)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(StoreError::Unavailable(cause))) => {
                    failed = StoreError::Unavailable(format!("{host}: {cause}"));
                }
                Ok(Err(error)) => failed = error,
                Err(_) => {
                    failed = StoreError::Unavailable(format!("{host}: no connection within {each:?}"));
                }
            }
        }
        Err(failed)
    }

    /// The file is read anew, so that a new password needs no restart. A bad one leaves the last good one in force.
    fn url(&self) -> Arc<PostgresUrl> {
        let mut url = self.url.lock().unwrap_or_else(PoisonError::into_inner);
        match PostgresUrl::read(&self.url_file) {
            Ok(read) if read != **url => {
                tracing::info!("audit.url_file has changed: new connections go by it");
                *url = Arc::new(read);
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!("audit.url_file stays as it was last read: {fault}"),
        }
        url.clone()
    }

    async fn connect_to(&self, url: &PostgresUrl, host: &Host) -> Result<Session, StoreError> {
        let mut config = Config::new();
        config.host(&host.name).port(host.port).user(&url.user).dbname(&url.database);
        config.application_name("zengate").target_session_attrs(TargetSessionAttrs::ReadWrite);
        if let Some(secret) = &url.password {
            config.password(secret.expose());
        }
        // A peer that is gone without a word is noticed though nothing is sent, and soon if something is.
        config.keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3).tcp_user_timeout(self.timeout);
        let session = match &url.tls {
            None => {
                let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
                Session { client, connection: tokio::spawn(ended(connection)) }
            }
            Some(tls) => {
                let tls = MakeRustlsConnect::new(client_tls(tls.ca.as_deref())?);
                let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls).await?;
                Session { client, connection: tokio::spawn(ended(connection)) }
            }
        };
        let milliseconds = self.statement.as_millis();
        session
            .client
            .batch_execute(&format!(
            "SET statement_timeout = {milliseconds}; SET idle_in_transaction_session_timeout = {milliseconds};
             SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'"
        ))
            .await?;
        Ok(session)
    }
}

/// Why it ended is told to whoever waits for an answer.
async fn ended(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    _ = connection.await;
}

/// Trusts the authorities of `ca` alone, or else the system's, and compares the host's name.
fn client_tls(ca: Option<&[u8]>) -> Result<ClientConfig, StoreError> {
    let fault = |what: &str| StoreError::Unavailable(format!("sslrootcert {what}"));
    let rustls = |error: rustls::Error| StoreError::Unavailable(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(rustls)?;
    let Some(pem) = ca else {
        return Ok(builder.with_platform_verifier().map_err(rustls)?.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| fault("is not PEM"))?).map_err(rustls)?;
    }
    if roots.is_empty() {
        return Err(fault("holds no certificate"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
