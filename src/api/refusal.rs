//! What a reset came to -> the caller's answer. Exhaustive matches: a new variant asks for its status.

use std::time::Duration;

use super::body::INSTANCES;
use super::problem::{FieldError, Kind, PolicyNote, Problem};
use crate::audit::{Receipt, Reset};
use crate::authn::{self, TeamFault};
use crate::authz::{Explanation, Unmet};
use crate::domain::{NewPassword, Outcome, Rejection, ResetId, Status, Unsent, rfc3339};
use crate::http::Unsendable;
use crate::inventory::{Blind, Unseen};
use crate::ratelimit::{self, Limit, Spent};
use crate::reset::{KeyError, Known, Refused, RefusedBatch, Replay, Unready};
use actix_web::http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use jiff::Timestamp;

/// The one refusal for whoever may not view the instance, whether or not it exists.
const FORBIDDEN: &str = "No policy permits the acting team this action on this instance.";

const UNTRUSTED: &str =
    "The reset was sent and no trustworthy answer came: the password may have changed. Check by logging in.";

/// Longest wait that a caller is told, where it is long.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

impl From<authn::Refusal> for Problem {
    /// Helps an honest caller and tells nobody about keys (RFC 6750).
    fn from(refusal: authn::Refusal) -> Self {
        use authn::Refusal as R;
        if refusal == R::NoKeys {
            return Self::unavailable("The keys of the token's issuer cannot be had now. Try again.");
        }
        let description = match refusal {
            R::Missing => None,
            R::NotBearer => Some("The Authorization header must be one `Bearer` and a token."),
            R::TooLong => Some("The token is longer than 8 KiB."),
            R::Malformed(_) => Some("The token is not a signed JWT."),
            R::Expired => Some("The token has expired."),
            R::NotYetValid => Some("The token is not valid yet."),
            R::Audience => Some("The token is for another audience."),
            R::ClaimMissing(_) | R::ClaimShape(_) => {
                Some("A claim of the token is missing or has the wrong shape.")
            }
            R::Lifetime => Some("The token lives longer than is accepted here."),
            R::Critical(_)
            | R::Type
            | R::UnknownIssuer
            | R::Algorithm
            | R::UnknownKey
            | R::NoKeys
            | R::Signature => Some("The token is not one that is accepted here."),
        };
        let challenge = match description {
            None => r#"Bearer realm="zengate""#.to_owned(),
            Some(text) => {
                let text = text.replace('`', "'");
                format!(r#"Bearer realm="zengate", error="invalid_token", error_description="{text}""#)
            }
        };
        let challenge = HeaderValue::try_from(challenge).expect("the descriptions are visible ASCII");
        let detail = description.unwrap_or("Send a token: `Authorization: Bearer …`.");
        Self { header: Some((WWW_AUTHENTICATE, challenge)), ..Self::new(Kind::Unauthenticated, detail) }
    }
}

impl From<TeamFault> for Problem {
    fn from(fault: TeamFault) -> Self {
        match fault {
            TeamFault::None => {
                Self::new(Kind::Forbidden, "The token names no team that its issuer may assert.")
            }
            TeamFault::NotTheirs => {
                Self::new(Kind::Forbidden, "The team named by `team` is not one of the caller's.")
            }
            TeamFault::Several => Self::in_places(
                Kind::InvalidRequest,
                vec![FieldError::parameter(
                    "team",
                    "The token names several teams: add `?team=` with one of them.",
                )],
            ),
        }
    }
}

impl From<Spent> for Problem {
    fn from(spent: Spent) -> Self {
        let detail = match spent.limit {
            Limit::Caller => "The limit `caller` is spent: too many calls of this user.",
            Limit::Team => "The limit `team` is spent: too many resets of the acting team.",
            Limit::FailedAuthentications => {
                "The limit `failed-authentications` is spent: too many tokens from this network were refused."
            }
            Limit::Cooldown => "The limit `cooldown` holds: the acting team reset this instance moments ago.",
        };
        Self { retry_after: Some(spent.retry_after), ..Self::new(Kind::RateLimited, detail) }
    }
}

impl From<ratelimit::Error> for Problem {
    fn from(error: ratelimit::Error) -> Self {
        match error {
            ratelimit::Error::Spent(spent) => spent.into(),
            ratelimit::Error::Overflow(_) => {
                Self::unavailable("No more quotas can be counted now. Nothing was sent.")
            }
            ratelimit::Error::Away(_) => {
                Self::unavailable("The limits cannot be counted now. Nothing was sent; try again.")
            }
        }
    }
}

impl From<Blind> for Problem {
    fn from(blind: Blind) -> Self {
        match blind {
            Blind::Spent { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(
                    Kind::RateLimited,
                    "The limit `lookups` is spent: this user asked about too many instances that are not there or not its own.",
                )
            },
            Blind::Failed { error, .. } => {
                tracing::warn!("an instance could not be looked up, so nothing was decided: {error}");
                Self::unavailable(
                    "Zenlayer could not be asked about the instance. Nothing was sent; try again.",
                )
            }
        }
    }
}

impl From<Unready> for Problem {
    fn from(unready: Unready) -> Self {
        let detail = match unready {
            Unready::NotRunning => "The instance is not running (`not-running`): start it, then try again.",
            Unready::Busy => "Zenlayer works on the instance (`busy`). Try again later.",
            Unready::NoAgent => {
                "The instance has no guest agent to set a password (`no-agent`): install QGA, then try again."
            }
        };
        Self::new(Kind::InstanceNotReady, detail)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unseen(unseen) => unseen.error.into(),
            Refused::Hidden(unseen) => {
                let Unseen { error, .. } = &*unseen;
                tracing::warn!(
                    "an instance could not be looked up, and does not concern the caller: {error}"
                );
                not_viewable()
            }
            Refused::Denied(denied) => denied_problem(denied.explanation.as_ref()),
            Refused::NotFound(_) => Self::new(Kind::NotFound, "Zenlayer has no instance with this id."),
            Refused::NotReady(_, unready) => unready.into(),
            Refused::Unclaimed(unclaimed) => unclaimed.error.into(),
            Refused::Limited(limited) => limited.error.into(),
            Refused::Unsendable(_, why) => Self {
                retry_after: Some(why.retry_after()),
                ..Self::unavailable(match why {
                    Unsendable::Spent(_) => {
                        "The account's budget of calls to Zenlayer is spent. Nothing was sent; try again."
                    }
                    Unsendable::Suspended(_) => {
                        "Zenlayer fails, so no call is made for a while. Nothing was sent; try again."
                    }
                })
            },
            Refused::Unopened(unopened) => {
                let source = &unopened.error;
                tracing::error!("a reset could not be put on record, so it was not sent: {source}");
                Self::unavailable("The audit trail cannot be written, so nothing was sent. Try again.")
            }
        }
    }
}

impl From<RefusedBatch> for Problem {
    fn from(refused: RefusedBatch) -> Self {
        match refused {
            RefusedBatch::Items(items) => refused_items(items),
            RefusedBatch::TooLarge { burst, .. } => too_large(burst),
            RefusedBatch::Limited(limited) => {
                let rests = "The acting team reset this instance moments ago.";
                let rests = |place: &usize| FieldError::item(INSTANCES, *place, rests);
                let errors = match limited.error {
                    ratelimit::Error::Spent(Spent { limit: Limit::Cooldown, .. }) => {
                        limited.resting.iter().map(rests).collect()
                    }
                    _ => Vec::new(),
                };
                Self { errors, ..limited.error.into() }
            }
            RefusedBatch::Full(_) => Self::unavailable(
                "As many batches run as may (batch.max_running). Nothing was sent; try again.",
            ),
            RefusedBatch::Unclaimed(unclaimed) => unclaimed.error.into(),
            RefusedBatch::Unqueued(unqueued) => {
                let source = &unqueued.error;
                tracing::error!("a batch could not be put on record, so nothing was sent: {source}");
                Self::unavailable("The audit trail cannot be written, so nothing was sent. Try again.")
            }
        }
    }
}

/// No time makes room for so many.
pub(super) fn too_large(burst: u32) -> Problem {
    let detail = format!("The acting team resets at most {burst} instances at once (limit `team`).");
    Problem::in_places(Kind::InvalidValue, vec![FieldError::field(INSTANCES, detail)])
}

/// The surest of them gives the status: trying again changes nothing of what was decided, whatever the others may say
/// next time.
fn refused_items(items: Vec<(usize, Refused)>) -> Problem {
    let count = items.len();
    let problems: Vec<(usize, Problem)> =
        items.into_iter().map(|(place, refused)| (place, refused.into())).collect();
    let errors =
        problems.iter().map(|(place, problem)| FieldError::item(INSTANCES, *place, problem.detail.clone()));
    let errors: Vec<FieldError> = errors.collect();
    let sureness = |problem: &Problem| match problem.kind {
        Kind::Forbidden => 3,
        Kind::NotFound => 2,
        Kind::Unavailable => 1,
        _ => 0,
    };
    let surest = problems.into_iter().map(|(_, problem)| problem).max_by_key(sureness);
    let surest = surest.unwrap_or_else(not_viewable);
    let detail = match count {
        1 => surest.detail,
        _ => format!("{count} of the instances are refused, so nothing was sent; `errors` names each."),
    };
    Problem { detail, errors, policies: None, ..surest }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::InFlight(reset) => Self {
                reset,
                retry_after: Some(Duration::from_secs(1)),
                ..Self::new(
                    Kind::IdempotencyInFlight,
                    "The same request is being worked on. Send it again for its answer.",
                )
            },
            KeyError::Reused => Self::new(
                Kind::IdempotencyKeyReused,
                "This `Idempotency-Key` stands for another request: of another method, path, team, query or body. Take a new one; if this is the very request that was sent before, the gateway's secret for it was changed since: look into the history first.",
            ),
            KeyError::Full => Self::unavailable(
                "Too many requests with an `Idempotency-Key` are looked up. Nothing was sent; try again.",
            ),
            KeyError::Forgotten(until) => Self {
                retry_after: Some(
                    Duration::try_from(until.duration_since(Timestamp::now()))
                        .unwrap_or_default()
                        .min(LONGEST_WAIT),
                ),
                ..Self::unavailable(format!(
                    "The audit trail was put back from a backup, so that an `Idempotency-Key` of before may look new until {}. Nothing was sent: make sure that the instance was not reset already, and then send it without the key.",
                    rfc3339(until)
                ))
            },
            KeyError::Unread(error) => {
                tracing::error!("an idempotency key cannot be looked up: {error}");
                Self::unavailable("The audit trail cannot be read, so nothing was sent. Try again.")
            }
        }
    }
}

/// What says that an answer was given before.
pub(super) fn replayed() -> (HeaderName, HeaderValue) {
    (HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"))
}

/// The reset that is answered once more with 201, or the problem that it was.
pub(super) fn of_replay(replay: &Replay) -> Result<&Reset, Problem> {
    match &replay.known {
        Known::Reset(reset) if reset.status == Status::Accepted => Ok(reset),
        Known::Reset(reset) => Err(Problem {
            upstream_code: reset.upstream_code.clone(),
            upstream_request_id: reset.upstream_request_id.clone(),
            sealed_password: reset.sealed_password.clone(),
            reset: Some(replay.id),
            header: Some(replayed()),
            ..Problem::outcome_unknown(UNTRUSTED)
        }),
        Known::Batch(_) | Known::Nothing => Err(of_lost(replay.id)),
    }
}

/// It was served before, and pruned since.
pub(super) fn of_lost(id: ResetId) -> Problem {
    let detail = "It was sent, and is not on record any more: whether a password changed cannot be told.";
    Problem { reset: Some(id), header: Some(replayed()), ..Problem::outcome_unknown(detail) }
}

/// The one refusal for whoever may not view the instance.
pub(super) fn not_viewable() -> Problem {
    Problem::new(Kind::Forbidden, FORBIDDEN)
}

/// A forbid bites on what needs no permit.
pub(super) fn own_resets_forbidden() -> Problem {
    Problem::new(Kind::Forbidden, "A policy forbids the acting team to read its resets.")
}

fn denied_problem(explanation: Option<&Explanation>) -> Problem {
    let Some(explanation) = explanation else { return not_viewable() };
    let detail = match explanation {
        Explanation::Forbidden(ids) => format!("Forbidden by {}.", ids.join(", ")),
        Explanation::NoPermit(_) => "None of the acting team's permits for this action fits.".to_owned(),
        Explanation::Erred => {
            "A policy could not be evaluated, which refuses the request. Tell whoever keeps the policies."
                .to_owned()
        }
    };
    Problem { policies: notes(explanation), ..Problem::new(Kind::Forbidden, detail) }
}

/// The policies that an explanation names.
pub(super) fn notes(explanation: &Explanation) -> Option<Vec<PolicyNote>> {
    let note = |id: &String, effect, condition: &Option<String>| PolicyNote {
        id: id.clone(),
        effect,
        condition: condition.as_deref().map(shortened),
    };
    match explanation {
        Explanation::Forbidden(ids) => Some(ids.iter().map(|id| note(id, "forbid", &None)).collect()),
        Explanation::NoPermit(unmet) => {
            let unmet = unmet.iter().map(|Unmet { policy, condition }| note(policy, "permit", condition));
            Some(unmet.collect())
        }
        Explanation::Erred => Some(Vec::new()),
    }
}

/// A condition may list thousands of ids: its beginning says which it is.
fn shortened(condition: &str) -> String {
    const LONGEST: usize = 500;
    match condition.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &condition[..end]),
        None => condition.to_owned(),
    }
}

/// The problem that a receipt tells of; None: the reset was accepted, and that is on record. Where `password` may have
/// been set, it goes with it.
pub(super) fn of_receipt(receipt: &Receipt, password: &NewPassword) -> Option<Problem> {
    let problem = match receipt.outcome() {
        Outcome::Accepted { .. } if receipt.recorded() => return None,
        Outcome::Accepted { .. } => Problem::outcome_unknown(
            "The reset was sent and its outcome is not on record yet: read it at `Location` before trying again.",
        ),
        Outcome::Rejected { why, .. } => rejected(*why, password),
        Outcome::Unknown { .. } => Problem::outcome_unknown(UNTRUSTED),
        Outcome::NotSent(Unsent::Unreachable) => {
            Problem::unavailable("Zenlayer could not be reached. Nothing was sent; try again.")
        }
        Outcome::NotSent(Unsent::Lapsed) => {
            Problem::unavailable("The gateway was held up for too long. Nothing was sent; try again.")
        }
        Outcome::NotSent(Unsent::Mismatched) => Problem::unavailable(
            "The gateway was about to send something else than was decided. Nothing was sent; the operators of this gateway must look into it.",
        ),
    };
    let may_be_set = matches!(receipt.outcome(), Outcome::Accepted { .. } | Outcome::Unknown { .. });
    let reset = receipt.reset();
    Some(Problem {
        password: may_be_set.then(|| password.clone()),
        upstream_code: reset.upstream_code.clone(),
        upstream_request_id: reset.upstream_request_id.clone(),
        reset: Some(reset.id),
        ..problem
    })
}

fn rejected(why: Rejection, password: &NewPassword) -> Problem {
    match why {
        Rejection::Password if password.is_generated() => Problem::in_places(
            Kind::InvalidValue,
            vec![FieldError::field(
                "generate",
                "Zenlayer does not take the generated password. Try again, or send a `password`.",
            )],
        ),
        Rejection::Password => Problem::in_places(
            Kind::InvalidValue,
            vec![FieldError::field("password", "Zenlayer does not take this password.")],
        ),
        Rejection::NotReady => Problem::new(
            Kind::InstanceNotReady,
            "Zenlayer says that the instance is busy or not running. Try again later.",
        ),
        Rejection::NotFound => Problem::new(Kind::NotFound, "Zenlayer has no instance with this id."),
        Rejection::Busy { retry_after } => Problem {
            // Zenlayer's word, within reason.
            retry_after: Some(Duration::from_secs(retry_after.unwrap_or(1).min(3600))),
            ..Problem::new(
                Kind::Unavailable,
                "The account's requests are used up at Zenlayer. Try again later.",
            )
        },
        Rejection::Gateway => Problem::new(
            Kind::UpstreamRefused,
            "Zenlayer refused for a reason that is not the caller's. The operators of this gateway must look into it.",
        ),
    }
}
