use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::{InstanceId, Password, ResetId};

/// A caller's wish, parsed: which instance gets which password, and why.
#[derive(Debug)]
pub struct ResetRequest {
    pub instance: InstanceId,
    pub password: NewPassword,
    pub reason: Option<Reason>,
    pub ticket: Option<Ticket>,
    /// Of which it is an item.
    pub batch: Option<Batch>,
}

/// Several resets that one call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub id: ResetId,
    /// How many.
    pub size: usize,
}

/// The password that a reset sets, and whose it is. Whoever must answer for a reset that went astray keeps one too.
#[derive(Debug, Clone)]
pub enum NewPassword {
    /// The caller's own.
    Typed(Arc<Password>),
    /// Made up here: the first answer tells it.
    Generated(Arc<Password>),
    /// Made up here, and told as compact JWE only: the caller's key opens it.
    Sealed(Arc<Password>, String),
}

impl NewPassword {
    /// The password itself.
    pub fn get(&self) -> &Password {
        match self {
            Self::Typed(password) | Self::Generated(password) | Self::Sealed(password, _) => password,
        }
    }

    /// Whether it was made up here.
    pub fn is_generated(&self) -> bool {
        !matches!(self, Self::Typed(_))
    }

    /// What the caller's key opens.
    pub fn sealed(&self) -> Option<&str> {
        match self {
            Self::Sealed(_, sealed) => Some(sealed),
            Self::Typed(_) | Self::Generated(_) => None,
        }
    }
}

/// Text that a caller writes for the record: 1 to `LONGEST` characters, one of them to be seen, none of them a control
/// character or one that changes how others are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeText<const LONGEST: usize>(String);

/// Why a reset is asked for, in the caller's words.
pub type Reason = FreeText<500>;

/// The ticket that a reset belongs to.
pub type Ticket = FreeText<64>;

/// What every ticket must look like from its first character to its last: a regular expression.
#[derive(Debug, Clone)]
pub struct TicketPattern {
    text: String,
    whole: Regex,
}

impl TicketPattern {
    /// The expression, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole ticket fits.
    pub fn fits(&self, ticket: &Ticket) -> bool {
        self.whole.is_match(ticket.as_str())
    }
}

/// It is no regular expression, or too large a one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a regular expression: {0}")]
pub struct PatternFault(String);

impl From<regex::Error> for PatternFault {
    /// The reason alone, without the picture of the place.
    fn from(error: regex::Error) -> Self {
        let text = error.to_string();
        Self(text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
    }
}

impl FromStr for TicketPattern {
    type Err = PatternFault;

    fn from_str(text: &str) -> Result<Self, PatternFault> {
        // Alone first: what is good only inside the brackets below is none.
        Regex::new(text)?;
        let whole = RegexBuilder::new(&format!(r"\A(?:{text})\z")).size_limit(1 << 20).build()?;
        Ok(Self { text: text.to_owned(), whole })
    }
}

/// Why a text cannot go on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextFault {
    longest: usize,
}

impl<const LONGEST: usize> FreeText<LONGEST> {
    /// The text, as the caller wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters of no width.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Line and paragraph separators, and what turns the direction of a text (Unicode TR 9): a record that holds them reads as
/// another.
fn turns(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<const LONGEST: usize> FromStr for FreeText<LONGEST> {
    type Err = TextFault;

    fn from_str(text: &str) -> Result<Self, TextFault> {
        let fits = (1..=LONGEST).contains(&text.chars().count());
        let seen = text.chars().any(|c| !c.is_whitespace() && !is_unseen(c));
        if fits && seen && !text.chars().any(|c| c.is_control() || turns(c)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TextFault { longest: LONGEST })
        }
    }
}

impl fmt::Display for TextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "This text has 1 to {} characters, one of them to be seen, none of them a control character or a mark of direction.",
            self.longest
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_fits_a_pattern_as_a_whole_or_not() {
        for (pattern, good, bad) in [
            ("[A-Z]+-[0-9]+", &["OPS-1", "A-0"][..], &["OPS-", "xOPS-1", "OPS-1x", "OPS-1 OPS-2"][..]),
            ("OPS|DEV", &["OPS", "DEV"], &["OPS-1", "xDEV"]),
            ("(?i)ops-[0-9]{1,6}", &["Ops-12"], &["ops-1234567"]),
            (r"\d+$", &["12"], &["a12"]),
        ] {
            let pattern = TicketPattern::from_str(pattern).expect("an expression");
            let fits = |text: &&str| pattern.fits(&text.parse().expect("a ticket"));
            assert!(good.iter().all(fits) && !bad.iter().any(fits), "{pattern:?}");
        }
        for bad in ["(", "a)|(b", "[", "a{1000}{1000}{1000}", "(?P<x>a)(?P<x>b)"] {
            assert!(TicketPattern::from_str(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn free_text_is_bounded_and_printable() {
        assert!(Ticket::from_str("OPS-1").is_ok());
        assert!(Reason::from_str(&"ä".repeat(500)).is_ok(), "characters are counted, not bytes");
        for bad in [
            " ",
            "\u{200b}",
            "\u{feff} ",
            "a\u{202e}b",
            "a\u{2028}b",
            "a\u{2066}",
            "",
            "a\nb",
            "a\u{0}",
            "a\u{9b}",
            &"x".repeat(65),
        ] {
            assert!(Ticket::from_str(bad).is_err(), "{bad:?}");
        }
    }
}
