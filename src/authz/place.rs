use std::fmt;
use std::ops::Range;

use unicode_width::UnicodeWidthStr;

/// A stretch of one line of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line as it is shown.
    excerpt: String,
    /// Cells of a terminal before the stretch, and in it.
    before: usize,
    width: usize,
}

impl Place {
    /// Where `span`, in bytes, begins in `text`; a span of several lines is marked on its first.
    pub(super) fn of(text: &str, span: &Range<usize>) -> Self {
        // The end of a text is behind its last word: nobody looks for a mark on an empty line.
        let start = text.floor_char_boundary(span.start.min(text.trim_end().len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = text.floor_char_boundary(span.end.min(line_end)).max(start);
        let before = &text[line_start..start];
        Self {
            line: 1 + text[..start].matches('\n').count(),
            column: 1 + before.chars().count(),
            excerpt: shown(text[line_start..line_end].trim_end()),
            before: shown(before).width(),
            width: shown(text[start..end].trim_end()).width().max(1),
        }
    }
}

/// The line with a mark under the stretch, as compilers show it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        writeln!(f, "  {number} | {}", self.excerpt)?;
        let (gutter, before, marks) = (number.len(), self.before, "^".repeat(self.width));
        write!(f, "  {:gutter$} | {:before$}{marks}", "", "")
    }
}

/// What a terminal gives one width and leaves in its order: a tab is four blanks; what steers a terminal or turns the
/// direction of reading is shown as unknown.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push_str("    "),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.push('\u{fffd}'),
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stands_under_what_it_means() {
        let at = |text: &str, part: &str| {
            let start = text.find(part).expect("it is in the text");
            start..start + part.len()
        };
        let far = |text: &str| text.len() + 9..text.len() + 12;
        for (row, text, span, line, column, picture) in [
            ("the first line", "ab cd", at("ab cd", "cd"), 1, 4, "  1 | ab cd\n    |    ^^"),
            ("a later line", "a\nbc d\ne", at("a\nbc d\ne", "c d"), 2, 2, "  2 | bc d\n    |  ^^^"),
            ("a tab", "\tx\ty z", at("\tx\ty z", "y"), 1, 4, "  1 |     x    y z\n    |          ^"),
            ("a tab marked", "a\tb", at("a\tb", "\tb"), 1, 2, "  1 | a    b\n    |  ^^^^^"),
            ("an umlaut", "ä ö", at("ä ö", "ö"), 1, 3, "  1 | ä ö\n    |   ^"),
            ("wide letters", "a 界x", at("a 界x", "界x"), 1, 3, "  1 | a 界x\n    |   ^^^"),
            ("after wide letters", "界 y", at("界 y", "y"), 1, 3, "  1 | 界 y\n    |    ^"),
            ("an accent of its own", "e\u{301}x", 3..4, 1, 3, "  1 | e\u{301}x\n    |  ^"),
            ("inside a letter", "äx", 1..3, 1, 1, "  1 | äx\n    | ^^"),
            ("no length", "abc", 1..1, 1, 2, "  1 | abc\n    |  ^"),
            ("several lines", "ab\ncd", 1..5, 1, 2, "  1 | ab\n    |  ^"),
            ("blanks at its end", "ab  \ncd", 1..4, 1, 2, "  1 | ab\n    |  ^"),
            ("Windows line ends", "ab\r\ncd\r\n", 4..8, 2, 1, "  2 | cd\n    | ^^"),
            ("the end", "ab\ncd", 5..5, 2, 3, "  2 | cd\n    |   ^"),
            ("the end behind blank lines", "ab\n \n\n", 6..6, 1, 3, "  1 | ab\n    |   ^"),
            ("past the end", "ab", far("ab"), 1, 3, "  1 | ab\n    |   ^"),
            ("nothing", "", 0..0, 1, 1, "  1 | \n    | ^"),
            ("nothing but blanks", " \n ", 2..3, 1, 1, "  1 | \n    | ^"),
            ("a colour", "\u{1b}[31mx", 5..6, 1, 6, "  1 | \u{fffd}[31mx\n    |      ^"),
            ("a turn", "a\u{202e}b", 4..5, 1, 3, "  1 | a\u{fffd}b\n    |   ^"),
        ] {
            let place = Place::of(text, &span);
            assert_eq!((place.line, place.column), (line, column), "{row}");
            assert_eq!(place.to_string(), picture, "{row}");
        }
    }

    #[test]
    fn the_gutter_is_as_wide_as_the_number() {
        let text = "\n".repeat(99) + "x";
        assert_eq!(Place::of(&text, &(99..100)).to_string(), "  100 | x\n      | ^");
    }
}
