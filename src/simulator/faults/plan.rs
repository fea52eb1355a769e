//! What a fault makes of a call on the wire.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::canned::{self, RetryAfter};
use super::kind::{Fault, Kind};
use crate::simulator::envelope;
use crate::simulator::response::Response;

/// A fault that strikes a call.
pub struct Strike {
    pub(super) fault: Fault,
    /// Between 0 and 1; another for every call it strikes.
    pub(super) jitter: f64,
}

/// What happens on the wire.
pub struct Plan {
    pub delay: Duration,
    /// How far the clock that `Date` is told by is off.
    pub skew: SignedDuration,
    pub then: Then,
}

pub enum Then {
    Answer(Response),
    /// This part of the answer, then the end.
    Cut(Response, Part),
    Huge(Huge),
    Hang,
    Reset,
    Close,
}

/// How much of an answer is sent.
#[derive(Clone, Copy)]
pub enum Part {
    HalfOfHead,
    HalfOfBody,
}

/// An answer whose body is made while it is sent.
pub struct Huge {
    /// Holds the body's beginning.
    pub opening: Response,
    /// Bytes between the beginning and the end.
    pub filler: u64,
    pub closing: Vec<u8>,
    /// Otherwise the length is announced.
    pub chunked: bool,
}

impl Plan {
    pub fn now(then: Then) -> Self {
        Self { delay: Duration::ZERO, skew: SignedDuration::ZERO, then }
    }
}

impl Strike {
    /// Whether the call has its effect all the same.
    pub fn applies(&self) -> bool {
        self.fault.applies
    }

    /// How far the clock that signatures are judged by is off.
    pub fn skew(&self) -> SignedDuration {
        match self.fault.kind {
            Kind::ClockSkew { seconds } => SignedDuration::from_secs(seconds.into()),
            _ => SignedDuration::ZERO,
        }
    }

    /// `answer` is what would be said without the fault.
    pub fn plan(self, answer: Response, now: Timestamp) -> Plan {
        Plan { delay: self.delay(), skew: self.skew(), then: self.fault.kind.then(answer, now) }
    }

    fn delay(&self) -> Duration {
        match self.fault.kind {
            Kind::Delay { milliseconds, jitter_milliseconds } => {
                let jitter = jitter_milliseconds as f64 * self.jitter;
                Duration::from_millis(milliseconds.saturating_add(jitter as u64))
            }
            _ => Duration::ZERO,
        }
    }
}

impl Kind {
    fn then(self, answer: Response, now: Timestamp) -> Then {
        let answer = match self {
            Self::HangBeforeRead {} | Self::HangAfterRead {} => return Then::Hang,
            Self::ResetBeforeRead {} | Self::ResetAfterRead {} => return Then::Reset,
            Self::CloseAfterRead {} => return Then::Close,
            Self::PartialHead {} => return Then::Cut(answer, Part::HalfOfHead),
            Self::PartialBody {} => return Then::Cut(answer, Part::HalfOfBody),
            Self::HugeBody { bytes, chunked } => return Then::Huge(canned::huge(bytes, chunked)),
            Self::Flapping { then, .. } => return then.kind.then(answer, now),
            Self::Delay { .. } | Self::ClockSkew { .. } => answer,
            Self::WrongContentType {} => answer.labelled("text/html; charset=utf-8"),
            Self::Answer { status, headers, body } => Response::bare(status, headers, body),
            Self::Error { status, code, message } => envelope::error(status, &code, &message),
            Self::Garbage {} => canned::garbage(),
            Self::InternalError {} => canned::internal_error(),
            Self::Unavailable { retry_after_seconds: seconds, retry_after_date: as_date } => {
                canned::unavailable(RetryAfter { seconds, as_date }, now)
            }
            Self::TimedOut {} => canned::timed_out(),
            Self::BadGateway {} => canned::bad_gateway(),
            Self::RateLimited { retry_after_seconds: seconds, retry_after_date: as_date } => {
                canned::rate_limited(RetryAfter { seconds, as_date }, now)
            }
            Self::Firewall {} => canned::firewall(),
            Self::LegalBlock {} => canned::legal_block(),
        };
        Then::Answer(answer)
    }
}

/// What a clock shows that is `skew` off.
pub fn skewed(time: Timestamp, skew: SignedDuration) -> Timestamp {
    time.checked_add(skew).expect("a skew of 32 bits of seconds is 68 years")
}
