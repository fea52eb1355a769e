use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// Why a text is not a name of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {shape}")]
pub struct NameFault {
    what: &'static str,
    shape: &'static str,
}

/// A checked text that is cheap to clone; `$valid` says which texts are in.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $shape:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text, as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameFault;

            fn from_str(text: &str) -> Result<Self, NameFault> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(NameFault { what: $what, shape: $shape }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A team: what policies grant to, and what quotas are counted by.
    TeamName, "a team's name", "1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit",
    |text| shaped(text, 63, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), b"-_")
}

name! {
    /// A Zenlayer instance. The shape is wider than today's ids and leaves out all that a URL, a log or a
    /// policy could misread.
    InstanceId, "an instance's id", "1 to 64 of A-Z, a-z, 0-9, - and _, beginning with a letter or digit",
    |text| shaped(text, 64, |b| b.is_ascii_alphanumeric(), b"-_")
}

name! {
    /// A configured issuer of tokens. `__` separates the parts of an environment variable's name.
    IssuerName, "an issuer's name", "1 to 32 of a-z, 0-9 and _, beginning with a letter, without __",
    |text| shaped(text, 32, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), b"_")
        && text.as_bytes()[0].is_ascii_lowercase()
        && !text.contains("__")
}

name! {
    /// One HTTP request, as `X-Request-Id` names it: ours, or a trusted proxy's.
    RequestId, "a request id", "1 to 64 of A-Z, a-z, 0-9, ., _ and -",
    |text| matches!(text.len(), 1..=64) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

name! {
    /// What a caller names one request by, so that it can ask again without being served twice.
    IdempotencyKey, "an idempotency key", "1 to 64 characters of visible ASCII",
    |text| matches!(text.len(), 1..=64) && text.bytes().all(|b| b.is_ascii_graphic())
}

name! {
    /// One loaded state of the policies folder: the first 16 hexadecimal digits of its SHA-256.
    Revision, "a policy revision", "16 hexadecimal digits",
    |text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn shaped(text: &str, longest: usize, head: fn(u8) -> bool, also: &[u8]) -> bool {
    let bytes = text.as_bytes();
    (1..=longest).contains(&bytes.len())
        && head(bytes[0])
        && bytes.iter().all(|&b| head(b) || also.contains(&b))
}

impl RequestId {
    /// A new id, in the order of time.
    pub fn generate() -> Self {
        let mut buffer = Uuid::encode_buffer();
        Self(Arc::from(&*Uuid::now_v7().as_simple().encode_lower(&mut buffer)))
    }
}

/// One reset, for good: a UUIDv7 (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResetId(Uuid);

impl ResetId {
    /// A new id, in the order of time.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl FromStr for ResetId {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let fault = NameFault { what: "a reset's id", shape: "a UUID of version 7 in its hyphenated form" };
        let id = Uuid::try_parse(text).map_err(|_| fault)?;
        let canonical =
            text.len() == 36 && id.get_version_num() == 7 && !text.bytes().any(|b| b.is_ascii_uppercase());
        if canonical { Ok(Self(id)) } else { Err(fault) }
    }
}

impl fmt::Display for ResetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ResetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_shape() {
        for good in ["a", "payments", "0x", "a-b_c", &"a".repeat(63)] {
            assert_eq!(TeamName::from_str(good).map(|t| t.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "_a", "A", "a b", "a/b", "ä", "a\n", "a\0", &"a".repeat(64)] {
            assert!(TeamName::from_str(bad).is_err(), "team {bad:?}");
        }
        for good in ["ins-a", "1234567890123456789", "A_b", &"Z".repeat(64)] {
            assert!(InstanceId::from_str(good).is_ok(), "instance {good:?}");
        }
        for bad in ["", "-a", "..", "a.b", "a%2Fb", "a*", "іns", "a\n", &"a".repeat(65)] {
            assert!(InstanceId::from_str(bad).is_err(), "instance {bad:?}");
        }
        for bad in ["", "0corp", "a__b", "Corp", "a-b", &"a".repeat(33)] {
            assert!(IssuerName::from_str(bad).is_err(), "issuer {bad:?}");
        }
    }

    #[test]
    fn a_reset_id_is_a_version_7_uuid_in_one_spelling() {
        let id = ResetId::generate();
        assert_eq!(ResetId::from_str(&id.to_string()), Ok(id));
        for bad in [
            "",
            "x",
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            &id.to_string().to_uppercase(),
            &format!("{{{id}}}"),
            &id.to_string().replace('-', ""),
        ] {
            assert!(ResetId::from_str(bad).is_err(), "{bad:?}");
        }
    }
}
