//! Errors -> RFC 9457 `application/problem+json`, all of them here.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::told::Told;
use super::wiped;
use crate::domain::{NewPassword, RequestId, ResetId};

/// The one table of problems: slug, status, title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    InstanceNotReady,
    IdempotencyInFlight,
    PayloadTooLarge,
    UnsupportedMediaType,
    InvalidValue,
    IdempotencyKeyReused,
    RateLimited,
    HeadTooLarge,
    UpstreamRefused,
    Unavailable,
    OutcomeUnknown,
}

impl Kind {
    /// Every kind, for the specification and its test.
    pub const ALL: [Self; 16] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::InstanceNotReady,
        Self::IdempotencyInFlight,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidValue,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::HeadTooLarge,
        Self::UpstreamRefused,
        Self::Unavailable,
        Self::OutcomeUnknown,
    ];

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid-request", 400, "The request cannot be understood"),
            Self::Unauthenticated => ("unauthenticated", 401, "The caller is not authenticated"),
            Self::Forbidden => ("forbidden", 403, "Policy does not permit this"),
            Self::NotFound => ("not-found", 404, "There is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The method is not allowed here"),
            Self::InstanceNotReady => ("instance-not-ready", 409, "The instance cannot be reset now"),
            Self::IdempotencyInFlight => {
                ("idempotency-in-flight", 409, "The same request is being worked on")
            }
            Self::PayloadTooLarge => ("payload-too-large", 413, "The body is too large"),
            Self::UnsupportedMediaType => ("unsupported-media-type", 415, "The body is not JSON"),
            Self::InvalidValue => ("invalid-value", 422, "A value is not acceptable"),
            Self::IdempotencyKeyReused => {
                ("idempotency-key-reused", 422, "The key stands for another request")
            }
            Self::RateLimited => ("rate-limited", 429, "A limit is spent"),
            Self::HeadTooLarge => ("head-too-large", 431, "The head of the request is too large"),
            Self::UpstreamRefused => ("upstream-refused", 502, "Zenlayer refused the gateway"),
            Self::Unavailable => ("unavailable", 503, "A part that is needed is not available"),
            Self::OutcomeUnknown => ("outcome-unknown", 504, "Whether the password changed is not known"),
        }
    }

    /// The last part of `type`, and the metric's label.
    pub fn slug(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).expect("the table holds statuses")
    }

    /// The same words for every problem of the kind.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// The `type` URI.
    pub fn urn(self) -> String {
        format!("urn:zengate:problem:{}", self.slug())
    }
}

/// A problem on its way to the caller.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    /// What happened and what to do, for the caller.
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    pub policies: Option<Vec<PolicyNote>>,
    pub upstream_code: Option<String>,
    pub upstream_request_id: Option<String>,
    /// Once an intent exists.
    pub reset: Option<ResetId>,
    /// What may have been set, so that nobody is locked out of the instance: told if it was made up here.
    pub password: Option<NewPassword>,
    /// The same once more, after the first answer: sealed alone.
    pub sealed_password: Option<String>,
    /// The challenge of a 401 (RFC 6750), the methods of a 405, and that an answer is a replay.
    pub header: Option<(header::HeaderName, HeaderValue)>,
}

/// What is wrong in one place of a request; exactly one of the three names the place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// In the body: a JSON pointer (RFC 6901) behind `#`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "#/password")]
    pub pointer: Option<String>,
    /// A parameter of the path or the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "team")]
    pub parameter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Content-Type")]
    pub header: Option<String>,
    /// What is wrong with it, and what would be right.
    #[schema(example = "A password has at least one digit.")]
    pub detail: String,
}

/// A policy that took part in a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PolicyNote {
    #[schema(example = "global/frozen")]
    pub id: String,
    /// `forbid`: it applies. `permit`: it decides, or, in a refusal, was looked at and does not fit.
    #[schema(example = "forbid")]
    pub effect: &'static str,
    /// Of a permit, the first condition that does not hold, as Cedar writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "resource.hasTag(\"env\")")]
    pub condition: Option<String>,
}

/// A problem as it is written (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody<'p> {
    /// `urn:zengate:problem:` and one of the slugs that the answer's description names.
    #[schema(example = "urn:zengate:problem:invalid-value")]
    r#type: String,
    #[schema(example = "A value is not acceptable")]
    title: &'p str,
    #[schema(example = 422)]
    status: u16,
    #[schema(example = "The body breaks 1 rule.")]
    detail: &'p str,
    #[schema(example = "019ab3f0c4d27f5e8d1c2b3a49586774")]
    request_id: &'p str,
    #[serde(skip_serializing_if = "slice_is_empty")]
    #[schema(required = false)]
    errors: &'p [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    policies: Option<&'p [PolicyNote]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    upstream_code: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    upstream_request_id: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reset_id: Option<String>,
    /// The generated password, which the instance may have now: in the answer to the POST, and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, format = Password)]
    password: Option<Told>,
    /// The same, sealed to the `recipientKey`: compact JWE (RFC 7516).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sealed_password: Option<&'p str>,
}

fn slice_is_empty<T>(slice: &&[T]) -> bool {
    slice.is_empty()
}

impl Problem {
    /// A problem with nothing but its detail.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            policies: None,
            upstream_code: None,
            upstream_request_id: None,
            reset: None,
            password: None,
            sealed_password: None,
            header: None,
        }
    }

    /// A problem in named places.
    pub fn in_places(kind: Kind, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.detail.clone(),
            several => format!("{} faults; `errors` names each.", several.len()),
        };
        Self { errors, ..Self::new(kind, detail) }
    }

    /// A part that is needed is down.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(Duration::from_secs(1)), ..Self::new(Kind::Unavailable, detail) }
    }

    /// No cause to trust: something of ours failed where nothing should.
    pub fn outcome_unknown(detail: impl Into<String>) -> Self {
        Self::new(Kind::OutcomeUnknown, detail)
    }

    /// The answer, naming the request.
    pub fn render(&self, request_id: &RequestId) -> HttpResponse {
        let retry_after = self.retry_after.map(whole_seconds);
        let mut response = HttpResponseBuilder::new(self.kind.status());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header(("x-request-id", request_id.as_str()));
        if let Some(seconds) = retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some((name, value)) = &self.header {
            response.insert_header((name.clone(), value.clone()));
        }
        if let Some(reset) = self.reset {
            response.insert_header((header::LOCATION, location(reset)));
        }
        let sealed = self.password.as_ref().and_then(NewPassword::sealed);
        let body = ProblemBody {
            r#type: self.kind.urn(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            request_id: request_id.as_str(),
            errors: &self.errors,
            retry_after_seconds: retry_after,
            policies: self.policies.as_deref(),
            upstream_code: self.upstream_code.as_deref(),
            upstream_request_id: self.upstream_request_id.as_deref(),
            reset_id: self.reset.map(|id| id.to_string()),
            password: self.password.as_ref().and_then(Told::of),
            sealed_password: sealed.or(self.sealed_password.as_deref()),
        };
        response.body(wiped::json(&body))
    }
}

impl FieldError {
    /// In the body, at a top-level field; the empty name is the whole body.
    pub fn field(name: &str, detail: impl Into<String>) -> Self {
        let pointer = match name {
            "" => "#".to_owned(),
            // RFC 6901: `~` and `/` are escaped; what a URI fragment does not take is left to the reader.
            name => format!("#/{}", name.replace('~', "~0").replace('/', "~1")),
        };
        Self { pointer: Some(pointer), detail: detail.into(), ..Self::default() }
    }

    /// In the body, at a place of a top-level list.
    pub fn item(list: &str, place: usize, detail: impl Into<String>) -> Self {
        Self { pointer: Some(format!("#/{list}/{place}")), detail: detail.into(), ..Self::default() }
    }

    /// A parameter of the path or the query.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { parameter: Some(name.to_owned()), detail: detail.into(), ..Self::default() }
    }

    /// A header.
    pub fn header(name: &str, detail: impl Into<String>) -> Self {
        Self { header: Some(name.to_owned()), detail: detail.into(), ..Self::default() }
    }
}

/// Where a reset is read; always a path, never built from `Host`.
pub fn location(id: ResetId) -> String {
    format!("/v1/password-resets/{id}")
}

/// As `Retry-After` has it: at least 1, never too early.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil().max(1.0) as u64
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.slug(), self.detail)
    }
}

/// `edge` renders problems, since it knows the request's id; actix only carries them there.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.kind.status())
    }
}
