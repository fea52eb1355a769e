use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::reader::LONGEST;
use super::sections::{Secret, header_text, is_header_text, seconds};
use super::{Table, issuers, read_file, without_line_end};

/// `[upstream]`: Zenlayer Cloud and the account's access key.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// `upstream.url`, scheme and authority; default `https://console.zenlayer.com`, http on loopback only.
    pub url: Url,
    pub access_key: AccessKey,
    /// Where the key is read again.
    pub key_files: KeyFiles,
    /// `upstream.previous_access_key_id` and `…_password_file`: tried once where the present key is refused.
    pub previous_access_key: Option<AccessKey>,
    /// `upstream.rotation_overlap_seconds`, default 600: how long a key that was replaced is tried so.
    pub rotation_overlap: Duration,
    /// `upstream.connect_timeout_seconds`, default a third of `first_byte_timeout_seconds`: connecting, and the TLS
    /// handshake, each.
    pub connect_timeout: Duration,
    /// `upstream.first_byte_timeout_seconds`, default `timeout_seconds`: until an answer begins.
    pub first_byte_timeout: Duration,
    /// Longest wait for one call, connect and the answer's body included (`upstream.timeout_seconds`, default 10).
    /// Past it the outcome is `unknown`: the password may have changed.
    pub timeout: Duration,
    /// `upstream.late_answer_seconds`, default 60: how much longer an answer is still listened for, to correct that.
    pub late_answer: Duration,
    /// `upstream.action`, default `ResetInstancePassword`.
    pub action: String,
    /// `upstream.version`, default `2025-09-01`.
    pub version: String,
    /// `upstream.signed_headers`, default `content-type` and `host`.
    pub signed_headers: Vec<SignedHeader>,
    /// PEM certificates of the authorities to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    pub budget: Budget,
    /// `upstream.retries`, default 2: how often a reset is tried again of which surely nothing came.
    pub retries: usize,
    /// `upstream.retry_seconds`, default 5: no try begins later than this after the first.
    pub retry_window: Duration,
    /// `upstream.circuit_open_seconds`, default 5: how long no call is made after most of them failed.
    pub circuit_open: Duration,
}

/// The account's own budget.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// `upstream.requests_per_second`, default 50.
    pub requests_per_second: u32,
    /// `upstream.max_concurrent`, default 64.
    pub max_concurrent: usize,
    /// `upstream.queue`, default 256: calls that may wait for their turn.
    pub queue: usize,
    /// `upstream.queue_seconds`, default 2: how long each waits at most.
    pub patience: Duration,
}

/// The account's access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    pub id: String,
    /// The secret half.
    pub secret: Secret,
}

/// Where the access key is read from, again and again.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    id: KeyId,
    password: PathBuf,
}

#[derive(Debug, Clone)]
enum KeyId {
    Text(String),
    File(PathBuf),
}

/// A header that the signature can cover; those that Zenlayer's SDKs sign always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignedHeader {
    ContentType,
    Host,
    Action,
    SignatureMethod,
    Timestamp,
    Version,
}

impl KeyFiles {
    /// The key as the files now have it.
    pub fn read(&self) -> Result<AccessKey, String> {
        let read = |path: &PathBuf| {
            read_file(path, LONGEST).map_err(|e| format!("{} cannot be read: {e}", path.display()))
        };
        let id = match &self.id {
            KeyId::Text(id) => id.clone(),
            KeyId::File(path) => {
                let bytes = read(path)?;
                let id = std::str::from_utf8(without_line_end(&bytes)).ok().filter(|id| is_header_text(id));
                id.ok_or_else(|| format!("{}: holds no access key's id", path.display()))?.to_owned()
            }
        };
        let bytes = read(&self.password)?;
        match without_line_end(&bytes) {
            [] => Err(format!("{}: is an empty file", self.password.display())),
            secret => Ok(AccessKey { id, secret: Secret::new(secret) }),
        }
    }
}

impl std::str::FromStr for SignedHeader {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "content-type" => Ok(Self::ContentType),
            "host" => Ok(Self::Host),
            "x-zc-action" => Ok(Self::Action),
            "x-zc-signature-method" => Ok(Self::SignatureMethod),
            "x-zc-timestamp" => Ok(Self::Timestamp),
            "x-zc-version" => Ok(Self::Version),
            _ => Err(
                "must be content-type, host, x-zc-action, x-zc-signature-method, x-zc-timestamp or x-zc-version",
            ),
        }
    }
}

impl SignedHeader {
    /// In lower case, as it is signed.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentType => "content-type",
            Self::Host => "host",
            Self::Action => "x-zc-action",
            Self::SignatureMethod => "x-zc-signature-method",
            Self::Timestamp => "x-zc-timestamp",
            Self::Version => "x-zc-version",
        }
    }
}

pub(super) fn read(mut table: Table<'_>) -> Option<Upstream> {
    let url = table.string("url", Some("https://console.zenlayer.com"));
    let url = url.and_then(|url| match parse_url(&url) {
        Ok(url) => Some(url),
        Err(message) => {
            table.fault("url", format!("{url:?}: {message}"));
            None
        }
    });
    let key = access_key(&mut table, "");
    let previous = match ["access_key_id", "access_key_id_file", "access_key_password_file"]
        .iter()
        .any(|key| table.has(&format!("previous_{key}")))
    {
        true => access_key(&mut table, "previous_").map(|(key, _)| Some(key)),
        false => Some(None),
    };
    let rotation_overlap = seconds(&mut table, "rotation_overlap_seconds", 600, 0..=86_400);
    let timeouts = timeouts(&mut table);
    let late_answer = seconds(&mut table, "late_answer_seconds", 60, 0..=600);
    let action = header_text(&mut table, "action", Some("ResetInstancePassword"));
    let version = header_text(&mut table, "version", Some("2025-09-01"));
    let signed_headers = signed_headers(&mut table);
    let ca = table.optional_file("ca_file");
    let budget = budget(&mut table);
    let retries = table.integer("retries", Some(2), 0..=5);
    let retry_window = seconds(&mut table, "retry_seconds", 5, 0..=60);
    let circuit_open = seconds(&mut table, "circuit_open_seconds", 5, 1..=60);
    let ((access_key, key_files), [connect_timeout, first_byte_timeout, timeout]) = (key?, timeouts?);
    Some(Upstream {
        url: url?,
        access_key,
        key_files,
        previous_access_key: previous?,
        rotation_overlap: rotation_overlap?,
        connect_timeout,
        first_byte_timeout,
        timeout,
        late_answer: late_answer?,
        action: action?,
        version: version?,
        signed_headers: signed_headers?,
        ca: ca?,
        budget: budget?,
        retries: retries? as usize,
        retry_window: retry_window?,
        circuit_open: circuit_open?,
    })
}

/// The key whose settings have this prefix: its id as a text or in a file, its secret half in a file.
fn access_key(table: &mut Table<'_>, prefix: &str) -> Option<(AccessKey, KeyFiles)> {
    let key = |name: &str| format!("{prefix}{name}");
    let (id_key, id_file_key) = (key("access_key_id"), key("access_key_id_file"));
    let id = match (table.has(&id_key), table.has(&id_file_key)) {
        (true, true) => {
            table.fault(&id_file_key, format!("is given beside {id_key}: one of the two is enough"));
            table.discard(&id_key);
            table.discard(&id_file_key);
            None
        }
        (false, true) => table.path(&id_file_key, None).map(KeyId::File),
        _ => header_text(table, &id_key, None).map(KeyId::Text),
    };
    let password = table.path(&key("access_key_password_file"), None);
    let files = KeyFiles { id: id?, password: password? };
    match files.read() {
        Ok(read) => Some((read, files)),
        Err(message) => {
            table.fault(&key("access_key_password_file"), message);
            None
        }
    }
}

/// Connect, first byte, whole call.
fn timeouts(table: &mut Table<'_>) -> Option<[Duration; 3]> {
    let timeout = table.integer("timeout_seconds", Some(10), 1..=120);
    let whole = timeout.unwrap_or(10);
    let first_byte = table.integer("first_byte_timeout_seconds", Some(whole), 1..=120)?;
    if first_byte > whole {
        table.fault(
            "first_byte_timeout_seconds",
            format!("must be at most timeout_seconds, which is {whole}"),
        );
        return None;
    }
    let (first_byte, whole) = (Duration::from_secs(first_byte), Duration::from_secs(timeout?));
    let connect = match table.has("connect_timeout_seconds") {
        true => Duration::from_secs(table.integer("connect_timeout_seconds", None, 1..=60)?),
        false => first_byte / 3,
    };
    // Connecting and shaking hands must both have ended by then: past a deadline of the whole call nobody can say
    // that nothing was sent.
    if connect * 2 >= first_byte {
        table.fault("connect_timeout_seconds", "must be less than half of first_byte_timeout_seconds");
        return None;
    }
    Some([connect, first_byte, whole])
}

fn signed_headers(table: &mut Table<'_>) -> Option<Vec<SignedHeader>> {
    let mut headers: Vec<SignedHeader> = table.list("signed_headers", Some(&["content-type", "host"]))?;
    headers.sort_unstable();
    headers.dedup();
    if !headers.starts_with(&[SignedHeader::ContentType, SignedHeader::Host]) {
        table.fault("signed_headers", "must have content-type and host among them");
        return None;
    }
    Some(headers)
}

fn budget(table: &mut Table<'_>) -> Option<Budget> {
    let requests_per_second = table.integer("requests_per_second", Some(50), 1..=100_000);
    let max_concurrent = table.integer("max_concurrent", Some(64), 1..=1024);
    let queue = table.integer("queue", Some(256), 0..=10_000);
    let patience = seconds(table, "queue_seconds", 2, 0..=30);
    Some(Budget {
        requests_per_second: u32::try_from(requests_per_second?).ok()?,
        max_concurrent: max_concurrent? as usize,
        queue: queue? as usize,
        patience: patience?,
    })
}

/// Scheme, host and port alone. Plain HTTP would show every password to the network.
fn parse_url(text: &str) -> Result<Url, &'static str> {
    const SHAPE: &str = "must be https://HOST or https://HOST:PORT";
    let url = Url::parse(text).map_err(|_| SHAPE)?;
    let bare =
        url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
    if !bare || url.fragment().is_some() {
        return Err(SHAPE);
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if issuers::on_loopback(&url) => Ok(url),
        "http" => Err("http is for loopback only: use https"),
        _ => Err(SHAPE),
    }
}
