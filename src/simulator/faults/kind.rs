//! What can go wrong.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::plan::Then;

/// Something that goes wrong, and whether the call has its effect all the same.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct Fault {
    pub kind: Kind,
    pub applies: bool,
}

/// What goes wrong; `reference.txt` says what each does. Unit variants would take unknown members: hence the braces.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Kind {
    Delay {
        milliseconds: u64,
        #[serde(default)]
        jitter_milliseconds: u64,
    },
    HangBeforeRead {},
    ResetBeforeRead {},
    HangAfterRead {},
    ResetAfterRead {},
    CloseAfterRead {},
    PartialHead {},
    PartialBody {},
    Answer {
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
    },
    Error {
        status: u16,
        code: String,
        #[serde(default)]
        message: String,
    },
    Garbage {},
    HugeBody {
        bytes: u64,
        #[serde(default)]
        chunked: bool,
    },
    InternalError {},
    Unavailable {
        retry_after_seconds: Option<u32>,
        #[serde(default)]
        retry_after_date: bool,
    },
    TimedOut {},
    BadGateway {},
    RateLimited {
        retry_after_seconds: Option<u32>,
        #[serde(default)]
        retry_after_date: bool,
    },
    Firewall {},
    LegalBlock {},
    WrongContentType {},
    ClockSkew {
        seconds: i32,
    },
    Flapping {
        up_milliseconds: u32,
        down_milliseconds: u32,
        then: Box<Fault>,
    },
}

/// What is wrong with a fault.
#[derive(Debug, thiserror::Error)]
pub enum BadFault {
    #[error(transparent)]
    Members(#[from] serde_json::Error),
    #[error("`applied` makes no sense here: {0}")]
    Applied(&'static str),
    #[error("a {0} never follows a call that was applied")]
    AppliedRefusal(u16),
    #[error("status {0} is not between 200 and 599")]
    Status(u16),
    #[error("`retryAfterDate` needs `retryAfterSeconds`")]
    NoDate,
    #[error("`downMilliseconds` is 0, so it never strikes")]
    NeverDown,
}

impl TryFrom<Map<String, Value>> for Fault {
    type Error = BadFault;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, BadFault> {
        let applied = members.remove("applied").map(bool::deserialize).transpose()?;
        let kind = Kind::deserialize(Value::Object(members))?;
        kind.check()?;
        match (applied, kind.ways()) {
            (Some(_), Ways::Never(why) | Ways::Ever(why)) => Err(BadFault::Applied(why)),
            (Some(true), Ways::Refused(status)) => Err(BadFault::AppliedRefusal(status)),
            (None, Ways::Ever(_)) => Ok(Self { kind, applies: true }),
            (_, _) => Ok(Self { kind, applies: applied.unwrap_or(false) }),
        }
    }
}

/// Whether a struck call can have its effect.
enum Ways {
    /// Why not.
    Never(&'static str),
    /// Why always.
    Ever(&'static str),
    /// It is answered with this 4xx, so it has none.
    Refused(u16),
    /// As the rule says.
    Either,
}

impl Kind {
    fn check(&self) -> Result<(), BadFault> {
        match self {
            Self::Answer { status, .. } | Self::Error { status, .. } if !(200..600).contains(status) => {
                Err(BadFault::Status(*status))
            }
            Self::RateLimited { retry_after_seconds: None, retry_after_date: true }
            | Self::Unavailable { retry_after_seconds: None, retry_after_date: true } => {
                Err(BadFault::NoDate)
            }
            Self::Flapping { down_milliseconds: 0, .. } => Err(BadFault::NeverDown),
            _ => Ok(()),
        }
    }

    fn ways(&self) -> Ways {
        match self {
            Self::HangBeforeRead {} | Self::ResetBeforeRead {} => Ways::Never("the call is not read"),
            Self::Flapping { .. } => Ways::Never("it belongs into `then`"),
            Self::Delay { .. } | Self::WrongContentType {} | Self::ClockSkew { .. } => {
                Ways::Ever("the call is worked on as ever")
            }
            Self::RateLimited { .. } => Ways::Refused(429),
            Self::Firewall {} => Ways::Refused(403),
            Self::LegalBlock {} => Ways::Refused(451),
            Self::Answer { status, .. } | Self::Error { status, .. } if (400..500).contains(status) => {
                Ways::Refused(*status)
            }
            _ => Ways::Either,
        }
    }
}

impl Fault {
    /// What happens to a call that is not even read; None for a fault that strikes later.
    pub fn unread(&self) -> Option<Then> {
        match &self.kind {
            Kind::HangBeforeRead {} => Some(Then::Hang),
            Kind::ResetBeforeRead {} => Some(Then::Reset),
            Kind::Flapping { then, .. } => then.unread(),
            _ => None,
        }
    }

    /// What goes wrong so long after the rules came into force; None in an up phase.
    pub fn at(&self, elapsed: SignedDuration) -> Option<&Self> {
        let Kind::Flapping { up_milliseconds: up, down_milliseconds: down, then } = &self.kind else {
            return Some(self);
        };
        let (up, down) = (i128::from(*up), i128::from(*down));
        if elapsed.as_millis().rem_euclid(up + down) < up { None } else { then.at(elapsed) }
    }
}
