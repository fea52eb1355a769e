use crate::domain::Rejection;

/// What one of Zenlayer's codes means; each with the reset's outcome, since all of these are a 4xx.
pub(super) struct Code {
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
}

/// What becomes of the reset.
pub(super) enum Meaning {
    /// Zenlayer said no, and this is why.
    Rejected(Rejection),
    /// The account made too many requests: nothing was done, and it may be tried again.
    TooMuch,
    /// It says of itself that it does not know.
    Unknown,
}

/// Zenlayer's codes ("Common Error Codes", ResetInstancePassword), as far as they mean something. A code outside
/// this list is the gateway's own trouble when it comes with a 4xx, and unknown when it comes with a 5xx.
pub(super) const CODES: &[Code] = &[
    rejected("INVALID_PASSWORD_MALFORMED", Rejection::Password),
    rejected("OPERATION_DENIED_INSTANCE_IN_OPERATION", Rejection::NotReady),
    rejected("OPERATION_DENIED_INSTANCE_NOT_RUNNING", Rejection::NotReady),
    rejected("OPERATION_DENIED_INSTANCE_RECYCLED", Rejection::NotReady),
    rejected("OPERATION_FAILED_FOR_RECYCLE_RESOURCE", Rejection::NotReady),
    rejected("INVALID_INSTANCE_NOT_FOUND", Rejection::NotFound),
    rejected("OPERATION_FAILED_RESOURCE_NOT_FOUND", Rejection::NotFound),
    Code { name: "REQUEST_LIMIT_EXCEEDED", meaning: Meaning::TooMuch },
    Code { name: "REQUEST_TIMED_OUT", meaning: Meaning::Unknown },
    Code { name: "INTERNAL_SERVER_ERROR", meaning: Meaning::Unknown },
    Code { name: "SERVICE_TEMPORARY_UNAVAILABLE", meaning: Meaning::Unknown },
    rejected("AUTHFAILURE_INVALID_AUTHORIZATION", Rejection::Gateway),
    rejected("AUTHFAILURE_SIGNATURE_FAILURE", Rejection::Gateway),
    rejected("AUTHFAILURE_SIGNATURE_EXPIRED", Rejection::Gateway),
    rejected("AUTHFAILURE_UNAUTHORIZED_OPERATION", Rejection::Gateway),
    rejected("MISSING_PARAMETER", Rejection::Gateway),
    rejected("INVALID_PARAMETER_TYPE", Rejection::Gateway),
    rejected("INVALID_PARAMETER_EXCEED_MAXIMUM", Rejection::Gateway),
    rejected("INVALID_PARAMETER_LESS_MINIMUM", Rejection::Gateway),
    rejected("INVALID_PARAMETER_EXCEED_LENGTH", Rejection::Gateway),
    rejected("INVALID_PARAMETER_LESS_LENGTH", Rejection::Gateway),
    rejected("INVALID_PARAMETER_PATTERN_ERROR", Rejection::Gateway),
    rejected("INVALID_PARAMETER_VALUE", Rejection::Gateway),
];

const fn rejected(name: &'static str, why: Rejection) -> Code {
    Code { name, meaning: Meaning::Rejected(why) }
}

/// The row of a code.
pub(super) fn find(name: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.name == name)
}
