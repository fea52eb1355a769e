//! Zenlayer's error codes, with the status each comes with.

use std::borrow::Cow;

/// Why a call was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// Free text, as the vendor says: no one may decide by it.
    pub message: Cow<'static, str>,
}

/// The codes this simulator answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    InvalidAuthorization,
    SignatureFailure,
    SignatureExpired,
    MissingParameter,
    InvalidType,
    InvalidValue,
    ExceedMaximum,
    LessMinimum,
    PasswordMalformed,
    InstanceNotFound,
    InstanceNotRunning,
    InstanceInOperation,
    InstanceRecycled,
    UnknownAction,
    UnknownPath,
    WrongMethod,
    WrongContentType,
}

impl Code {
    pub fn refuse(self, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { code: self, message: message.into() }
    }

    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    pub fn status(self) -> u16 {
        self.row().0
    }

    fn row(self) -> (u16, &'static str) {
        match self {
            Self::InvalidAuthorization => (401, "AUTHFAILURE_INVALID_AUTHORIZATION"),
            Self::SignatureFailure => (401, "AUTHFAILURE_SIGNATURE_FAILURE"),
            Self::SignatureExpired => (401, "AUTHFAILURE_SIGNATURE_EXPIRED"),
            Self::MissingParameter => (400, "MISSING_PARAMETER"),
            Self::InvalidType => (400, "INVALID_PARAMETER_TYPE"),
            Self::InvalidValue => (400, "INVALID_PARAMETER_VALUE"),
            Self::ExceedMaximum => (400, "INVALID_PARAMETER_EXCEED_MAXIMUM"),
            Self::LessMinimum => (400, "INVALID_PARAMETER_LESS_MINIMUM"),
            Self::PasswordMalformed => (400, "INVALID_PASSWORD_MALFORMED"),
            Self::InstanceNotFound => (404, "INVALID_INSTANCE_NOT_FOUND"),
            Self::InstanceNotRunning => (403, "OPERATION_DENIED_INSTANCE_NOT_RUNNING"),
            Self::InstanceInOperation => (400, "OPERATION_DENIED_INSTANCE_IN_OPERATION"),
            Self::InstanceRecycled => (403, "OPERATION_DENIED_INSTANCE_RECYCLED"),
            // The vendor documents no code for these four: common ones, with the status that says it best.
            Self::UnknownAction => (400, "INVALID_PARAMETER_VALUE"),
            Self::UnknownPath => (404, "OPERATION_FAILED_RESOURCE_NOT_FOUND"),
            Self::WrongMethod => (405, "INVALID_PARAMETER_VALUE"),
            Self::WrongContentType => (415, "INVALID_PARAMETER_TYPE"),
        }
    }
}
