use std::time::Duration;

/// What the sending of one reset took, all calls together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Calls that were tried, also those of which nothing was sent.
    pub attempts: u32,
    /// From sending to the answer, or until it was given up; without the waits between calls. None: nothing was sent.
    pub upstream: Option<Duration>,
}

/// What came of a call to Zenlayer. A timeout after sending is `Unknown`, never "failed".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Zenlayer took it: not yet proof that it is done.
    Accepted { upstream_request_id: String },
    /// Zenlayer said no.
    Rejected { why: Rejection, upstream_code: Option<String>, upstream_request_id: Option<String> },
    /// No trustworthy answer: the password may have changed.
    Unknown { upstream_code: Option<String>, upstream_request_id: Option<String> },
    /// It surely never reached Zenlayer.
    NotSent(Unsent),
}

/// Why nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// Nobody tried, or no connection was had.
    Unreachable,
    /// What was about to be sent was not what had been decided.
    Mismatched,
    /// Others may have taken this gateway for dead, and told what became of the reset.
    Lapsed,
}

/// What Zenlayer's no means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It does not take the password.
    Password,
    /// The instance is not running, or another operation works on it.
    NotReady,
    /// It does not have the instance.
    NotFound,
    /// The account's requests are used up; seconds to wait, if it said so.
    Busy { retry_after: Option<u64> },
    /// The gateway's own standing: credentials, permission, the firewall, an unknown code.
    Gateway,
}

/// How far a reset has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Of a batch, and not yet tried.
    Queued,
    Sent,
    Accepted,
    Rejected,
    Unknown,
    NotSent,
}

impl Effort {
    /// One call; `upstream` is None when nothing of it was sent.
    pub fn once(upstream: Option<Duration>) -> Self {
        Self { attempts: 1, upstream }
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        let upstream = [self.upstream, other.upstream].into_iter().flatten().reduce(|a, b| a + b);
        Self { attempts: self.attempts + other.attempts, upstream }
    }
}

impl Status {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Sent, Self::Accepted, Self::Rejected, Self::Unknown, Self::NotSent];

    /// As answers, records and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
            Self::NotSent => "not_sent",
        }
    }

    /// Whether nothing more will come of it, but perhaps a correction.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent)
    }

    /// The reverse of [`Self::as_str`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl Outcome {
    /// The same, without words of Zenlayer's that hold this text.
    pub fn without(mut self, secret: &str) -> Self {
        let clean = |told: &mut Option<String>| _ = told.take_if(|text| text.contains(secret));
        match &mut self {
            Self::Accepted { upstream_request_id } if upstream_request_id.contains(secret) => {
                "(it held the password)".clone_into(upstream_request_id);
            }
            Self::Rejected { upstream_code, upstream_request_id, .. }
            | Self::Unknown { upstream_code, upstream_request_id } => {
                clean(upstream_code);
                clean(upstream_request_id);
            }
            Self::Accepted { .. } | Self::NotSent(_) => {}
        }
        self
    }

    /// The status it leaves the reset in.
    pub fn status(&self) -> Status {
        match self {
            Self::Accepted { .. } => Status::Accepted,
            Self::Rejected { .. } => Status::Rejected,
            Self::Unknown { .. } => Status::Unknown,
            Self::NotSent(_) => Status::NotSent,
        }
    }

    /// Why nothing was sent, where that is not plain.
    pub fn cause(&self) -> Option<&'static str> {
        match self {
            Self::NotSent(Unsent::Mismatched) => Some("digest mismatch"),
            Self::NotSent(Unsent::Lapsed) => Some("lease lapsed"),
            Self::NotSent(Unsent::Unreachable)
            | Self::Accepted { .. }
            | Self::Rejected { .. }
            | Self::Unknown { .. } => None,
        }
    }

    /// Zenlayer's code, when it gave one.
    pub fn upstream_code(&self) -> Option<&str> {
        match self {
            Self::Rejected { upstream_code, .. } | Self::Unknown { upstream_code, .. } => {
                upstream_code.as_deref()
            }
            Self::Accepted { .. } | Self::NotSent(_) => None,
        }
    }

    /// Zenlayer's request id, which its support asks for.
    pub fn upstream_request_id(&self) -> Option<&str> {
        match self {
            Self::Accepted { upstream_request_id } => Some(upstream_request_id),
            Self::Rejected { upstream_request_id, .. } | Self::Unknown { upstream_request_id, .. } => {
                upstream_request_id.as_deref()
            }
            Self::NotSent(_) => None,
        }
    }
}
