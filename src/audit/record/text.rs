//! The last guard of what stands in a record, whoever wrote it: every text is bounded and holds no control character.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

/// Characters of the longest text of a record, and an ellipsis where more was cut off. What callers and Zenlayer write is bounded before, and more tightly.
const LONGEST: usize = 1024;

/// Room that most records fit in.
const USUAL: usize = 1536;

/// JSON without a control character, escaped or not: PostgreSQL's jsonb takes no `\u0000`, and no reader should have
/// to know what an escape in a name does to its terminal.
pub(super) fn json(record: &impl Serialize) -> String {
    let mut bytes = Vec::with_capacity(USUAL);
    let mut serializer = Serializer::with_formatter(&mut bytes, Plain { left: 0 });
    record.serialize(&mut serializer).expect("a record holds only texts, numbers and lists");
    String::from_utf8(bytes).expect("serde_json writes UTF-8")
}

struct Plain {
    /// Characters that the text at hand may still have, the ellipsis among them.
    left: usize,
}

impl Formatter for Plain {
    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.left = LONGEST + 1;
        writer.write_all(b"\"")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Nearly all there is.
        if fragment.len() < self.left && fragment.bytes().all(|b| matches!(b, b' '..=b'~')) {
            self.left -= fragment.len();
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            let character = match self.left {
                0 => return Ok(()),
                1 => '…',
                _ if character.is_control() => char::REPLACEMENT_CHARACTER,
                _ => character,
            };
            self.left -= 1;
            writer.write_all(character.encode_utf8(&mut [0; 4]).as_bytes())?;
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Quote | CharEscape::ReverseSolidus | CharEscape::Solidus if self.left > 1 => {
                self.left -= 1;
                CompactFormatter.write_char_escape(writer, escape)
            }
            _ => self.write_string_fragment(writer, "\u{fffd}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, from_str, json as value};

    use super::*;

    #[test]
    fn no_control_character_comes_through_and_nothing_else_is_touched() {
        for (row, text, written) in [
            ("NUL", "a\0b", "\"a\u{fffd}b\""),
            ("a literal backslash, u0000", r"a\u0000b", r#""a\\u0000b""#),
            ("a literal backslash before NUL", "a\\\0b", "\"a\\\\\u{fffd}b\""),
            (
                "what JSON has short escapes for",
                "\u{8}\t\n\u{c}\r",
                "\"\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\"",
            ),
            ("an escape of terminals", "\u{1b}[31m", "\"\u{fffd}[31m\""),
            ("DEL and C1", "\u{7f}\u{9b}", "\"\u{fffd}\u{fffd}\""),
            ("quotes and slashes", "\"\\/", r#""\"\\/""#),
            ("beyond ASCII", "ä€😀", "\"ä€😀\""),
            ("nothing", "", "\"\""),
        ] {
            assert_eq!(json(&text), written, "{row}");
        }
        let deep = value!({ "a\0": ["b\0", { "c": "\0", "d": 7, "e": true }] });
        assert_eq!(json(&deep), "{\"a\u{fffd}\":[\"b\u{fffd}\",{\"c\":\"\u{fffd}\",\"d\":7,\"e\":true}]}");
    }

    #[test]
    fn every_text_is_bounded() {
        for (row, text) in [
            ("ASCII", "x".repeat(LONGEST + 1)),
            ("beyond", "ä".repeat(LONGEST * 2)),
            ("quotes", "\"".repeat(LONGEST * 2)),
        ] {
            let cut: String = from_str(&json(&text)).expect("JSON");
            assert_eq!(cut.chars().count(), LONGEST + 1, "{row}");
            assert!(cut.ends_with('…'), "{row}: its end says that it was cut");
        }
        for whole in ["x".repeat(LONGEST), "ä".repeat(LONGEST)] {
            let both = json(&[&whole, &whole]);
            assert_eq!(both, format!(r#"["{whole}","{whole}"]"#), "each text has a bound of its own");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(texts in prop::collection::vec("\\PC{0,40}|[\\\\\"u0/\u{0}-\u{a0}]{0,40}", 0..6)) {
            let written = json(&texts);
            prop_assert!(!written.chars().any(char::is_control));
            let plain = |text: &String| text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect::<String>();
            let expected: Vec<_> = texts.iter().map(plain).collect();
            prop_assert_eq!(from_str::<Vec<String>>(&written).expect("JSON"), expected);
            prop_assert!(from_str::<Value>(&written).is_ok());
        }
    }
}
