use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, cmd};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Names, Script};
use crate::config::{Host, RedisLimits, RedisUrl};
use crate::tls::{self, TlsFault};

/// Commands on their way to the connection; who finds no room waits.
const BUFFER: usize = 1024;

/// Longest time to connect, log in and load the scripts, of all hosts together.
pub(super) const CONNECT: Duration = Duration::from_secs(1);

/// What moves a connection's bytes, until it ends.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    #[error("limits.redis_url_file: {server} refuses this user: {cause}")]
    Login { server: String, cause: String },
    #[error("limits.redis_ca_file: {0}")]
    Tls(#[from] TlsFault),
    #[error("the thread for Redis cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unconnected {
    #[error("{0}: no connection within 1 s")]
    Late(String),
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// It answers, and not as it must.
    #[error("{0}: {1}")]
    Refused(String, RedisError),
    #[error("{0} knows no master named {1:?}")]
    NoMaster(String, String),
    #[error("{0}, which a Sentinel names, is another machine, and the URL does not begin with rediss")]
    InTheClear(String),
}

/// How to connect.
pub(super) struct Server {
    /// As it was last read.
    url: RedisUrl,
    url_file: PathBuf,
    tls: Option<TlsConnector>,
    ca: Option<Vec<u8>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.url.fmt(f)
    }
}

impl Server {
    pub(super) fn new(settings: &RedisLimits) -> Result<Self, TlsFault> {
        let RedisLimits { url, url_file, ca, .. } = settings.clone();
        let mut server = Self { url, url_file, tls: None, ca };
        server.tls = server.connector()?;
        Ok(server)
    }

    fn connector(&self) -> Result<Option<TlsConnector>, TlsFault> {
        let client = || tls::client(self.ca.as_deref()).map(|config| TlsConnector::from(Arc::new(config)));
        self.url.tls.then(client).transpose()
    }

    /// The file is read anew, so that a new password needs no restart. A bad one leaves the last good one in force.
    pub(super) fn read_again(&mut self) {
        match RedisUrl::read(&self.url_file) {
            Ok(url) if url != self.url => {
                let before = std::mem::replace(&mut self.url, url);
                match self.connector() {
                    Ok(tls) => {
                        tracing::info!("limits.redis_url_file has changed: new connections go by it");
                        self.tls = tls;
                    }
                    Err(fault) => {
                        tracing::warn!("limits.redis_url_file stays as it was last read: {fault}");
                        self.url = before;
                    }
                }
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!("limits.redis_url_file stays as it was last read: {fault}"),
        }
    }

    /// Logged in at the one that takes writes, with the scripts' names there.
    pub(super) async fn connect(&self) -> Result<(MultiplexedConnection, Names, Driver), Unconnected> {
        let Some(service) = &self.url.sentinel else {
            return self.log_in(&self.url.hosts[0]).await;
        };
        let mut failed = None;
        for sentinel in &self.url.hosts {
            let master = tokio::time::timeout(CONNECT / 4, self.master(sentinel, service)).await;
            match master.unwrap_or_else(|_| Err(Unconnected::Late(sentinel.to_string()))) {
                Ok(master) => return self.log_in(&master).await,
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.expect("a URL has a host"))
    }

    /// Where a Sentinel says that the service is.
    async fn master(&self, sentinel: &Host, service: &str) -> Result<Host, Unconnected> {
        let (mut redis, driver) = self.open(sentinel, &RedisConnectionInfo::default()).await?;
        let mut asked = cmd("SENTINEL");
        asked.arg("get-master-addr-by-name").arg(service);
        let told: Option<(String, u16)> = tokio::select! {
            told = asked.query_async(&mut redis) => told,
            () = driver => Err(RedisError::from(io::Error::from(io::ErrorKind::UnexpectedEof))),
        }
        .map_err(|error| Unconnected::Refused(sentinel.to_string(), error))?;
        let no_master = || Unconnected::NoMaster(sentinel.to_string(), service.to_owned());
        let (name, port) = told.ok_or_else(no_master)?;
        let master = Host { name, port };
        if self.tls.is_none() && !master.is_here() {
            return Err(Unconnected::InTheClear(master.to_string()));
        }
        Ok(master)
    }

    async fn log_in(&self, host: &Host) -> Result<(MultiplexedConnection, Names, Driver), Unconnected> {
        let mut login = RedisConnectionInfo::default().set_db(self.url.database.into());
        if let Some(user) = &self.url.user {
            login = login.set_username(user);
        }
        if let Some(password) = self.url.password.as_ref().and_then(|p| std::str::from_utf8(p.expose()).ok())
        {
            login = login.set_password(password);
        }
        let (mut redis, mut driver) = self.open(host, &login).await?;
        let load = async {
            let mut names = Names::default();
            for (name, script) in names.iter_mut().zip(Script::ALL) {
                *name = cmd("SCRIPT").arg("LOAD").arg(script.text()).query_async(&mut redis).await?;
            }
            Ok(names)
        };
        let loaded: Result<_, RedisError> = tokio::select! {
            loaded = load => loaded,
            () = &mut driver => Err(RedisError::from(io::Error::from(io::ErrorKind::UnexpectedEof))),
        };
        let names = loaded.map_err(|error| Unconnected::Refused(host.to_string(), error))?;
        Ok((redis, names, driver))
    }

    async fn open(
        &self,
        host: &Host,
        login: &RedisConnectionInfo,
    ) -> Result<(MultiplexedConnection, Driver), Unconnected> {
        let stream = self.dial(host).await.map_err(|error| Unconnected::Io(host.to_string(), error))?;
        // Deadlines are the callers' own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(BUFFER);
        let login = login.clone().set_skip_set_lib_name();
        match MultiplexedConnection::new_with_config(&login, stream, config).await {
            Ok((redis, driver)) => Ok((redis, Box::pin(driver))),
            Err(error) => Err(Unconnected::Refused(host.to_string(), error)),
        }
    }

    async fn dial(&self, host: &Host) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host.name.as_str(), host.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.name.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

impl Unconnected {
    /// The same password would be refused again.
    pub(super) fn login(self) -> Result<StartFault, Self> {
        match self {
            Self::Refused(server, error) if is_login(&error) => {
                Ok(StartFault::Login { server, cause: error.to_string() })
            }
            other => Err(other),
        }
    }

    /// It was reached, and says no.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_, error) if !error.is_io_error())
    }
}

fn is_login(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"))
}
