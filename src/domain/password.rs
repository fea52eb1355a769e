mod generate;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

pub use generate::Alphabet;

/// A login password that Zenlayer will take: 8 to 16 characters, all of them of the four classes, each
/// class at least once (Zenlayer's ResetInstancePassword, under its strictest reading).
///
/// It cannot be printed, cloned or serialized, and is wiped when dropped.
pub struct Password(SecretString);

/// The rule that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordFault {
    TooShort,
    TooLong,
    Outside,
    Lacks(Class),
}

/// A class of characters that a password must draw from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Lower,
    Upper,
    Digit,
    Special,
}

const SPECIAL: &str = "~!@$^*-_=+";

impl Class {
    const ALL: [Self; 4] = [Self::Lower, Self::Upper, Self::Digit, Self::Special];

    fn has(self, c: char) -> bool {
        match self {
            Self::Lower => c.is_ascii_lowercase(),
            Self::Upper => c.is_ascii_uppercase(),
            Self::Digit => c.is_ascii_digit(),
            Self::Special => SPECIAL.contains(c),
        }
    }
}

impl Password {
    /// Checks the whole rule and names everything that is broken. The text is wiped if refused.
    pub fn parse(mut text: String) -> Result<Self, Vec<PasswordFault>> {
        let mut faults = Vec::new();
        match text.chars().count() {
            0..8 => faults.push(PasswordFault::TooShort),
            8..=16 => {}
            _ => faults.push(PasswordFault::TooLong),
        }
        if text.chars().any(|c| !Class::ALL.iter().any(|class| class.has(c))) {
            faults.push(PasswordFault::Outside);
        }
        let lacking = Class::ALL.into_iter().filter(|class| !text.chars().any(|c| class.has(c)));
        faults.extend(lacking.map(PasswordFault::Lacks));
        if faults.is_empty() {
            return Ok(Self(text.into()));
        }
        text.zeroize();
        Err(faults)
    }

    /// The text itself. Its callers are named in a test; add none without need.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for PasswordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("A password has at least 8 characters."),
            Self::TooLong => f.write_str("A password has at most 16 characters."),
            Self::Outside => write!(f, "A password has only letters a-z and A-Z, digits, and {SPECIAL}"),
            Self::Lacks(Class::Lower) => f.write_str("A password has at least one letter a-z."),
            Self::Lacks(Class::Upper) => f.write_str("A password has at least one letter A-Z."),
            Self::Lacks(Class::Digit) => f.write_str("A password has at least one digit."),
            Self::Lacks(Class::Special) => write!(f, "A password has at least one of {SPECIAL}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rule_names_everything_that_is_broken() {
        use PasswordFault::*;
        for (text, faults) in [
            ("Abcd~1234", vec![]),
            ("Zz9~!@$^*-_=+aB0", vec![]),
            ("Abc~123", vec![TooShort]),
            ("Abcd~123456789012", vec![TooLong]),
            ("abcd~1234", vec![Lacks(Class::Upper)]),
            ("ABCD~1234", vec![Lacks(Class::Lower)]),
            ("Abcd~efgh", vec![Lacks(Class::Digit)]),
            ("Abcd01234", vec![Lacks(Class::Special)]),
            ("Abcd~123`", vec![Outside]),
            ("Abcd~123\u{e9}", vec![Outside]),
            ("Abcd~12 4", vec![Outside]),
            (
                "",
                vec![
                    TooShort,
                    Lacks(Class::Lower),
                    Lacks(Class::Upper),
                    Lacks(Class::Digit),
                    Lacks(Class::Special),
                ],
            ),
        ] {
            assert_eq!(Password::parse(text.to_owned()).err().unwrap_or_default(), faults, "{text:?}");
        }
    }

    #[test]
    fn debug_prints_nothing_of_it() {
        assert_eq!(format!("{:?}", Password::parse("Abcd~1234".to_owned())), "Ok([redacted])");
    }

    #[test]
    fn the_text_is_taken_out_in_the_places_named_here_alone() {
        let mut found = Vec::new();
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in
                std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
            {
                if entry.is_dir() {
                    folders.push(entry);
                    continue;
                }
                let text = std::fs::read_to_string(&entry).expect("a text");
                // Tests may look; they stand at the end of a file or in one of their own.
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
                if name != "tests.rs" {
                    found.extend(code.matches("password.expose()").map(|_| name.clone()));
                }
            }
        }
        found.sort();
        // The sealer, the writer of the first answer, and the body that is sent upstream.
        assert_eq!(found, ["seal.rs", "told.rs", "zenlayer.rs"]);
    }

    proptest! {
        #[test]
        fn what_is_accepted_comes_back_unchanged(text in "[a-zA-Z0-9~!@$^*_=+-]{6,18}") {
            if let Ok(password) = Password::parse(text.clone()) {
                prop_assert_eq!(password.expose(), text);
            }
        }
    }
}
