//! Where the policies of a text stand. Cedar's parser gives each one's own text but not its place.

use std::ops::Range;

/// Where each policy stands; `policies` are their texts, in the order of the file.
///
/// Between two policies are only blanks and comments, so no text is searched for: one that also stands in a comment
/// is not mistaken.
pub(super) fn spans<'p>(text: &str, policies: impl IntoIterator<Item = &'p str>) -> Vec<Range<usize>> {
    let mut end = 0;
    let span = |policy: &str| {
        let start = Tokens { text, at: end }.next().map_or(text.len(), |token| token.start);
        end = start + policy.len();
        start..end
    };
    policies.into_iter().map(span).collect()
}

/// The parts of a policy that faults point at.
pub(super) struct Parts {
    /// `permit` or `forbid`.
    pub(super) effect: Range<usize>,
    /// What its scope says of the principal.
    pub(super) principal: Range<usize>,
}

impl Parts {
    /// Of the policy at `span` of the text.
    pub(super) fn of(text: &str, span: &Range<usize>) -> Option<Self> {
        let policy = text.get(..span.end)?;
        let mut tokens = Tokens { text: policy, at: span.start }.peekable();
        let is = |token: &Range<usize>, what: &str| policy[token.clone()] == *what;
        while tokens.next_if(|token| is(token, "@")).is_some() {
            tokens.next()?;
            if tokens.next_if(|token| is(token, "(")).is_some() {
                tokens.find(|token| is(token, ")"))?;
            }
        }
        let effect = tokens.next()?;
        tokens.next_if(|token| is(token, "("))?;
        let first = tokens.next()?;
        let last = tokens.take_while(|token| !is(token, ",")).last();
        Some(Self { effect, principal: first.start..last.map_or(first.end, |last| last.end) })
    }
}

/// The words, strings and single signs of a text, without blanks and comments.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    Tokens { text, at: 0 }
}

/// Words, strings and single signs; blanks and comments are left out.
struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = after_blanks(self.text.get(self.at..)?);
        let length = match rest.chars().next()? {
            '"' => string(rest),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            sign => sign.len_utf8(),
        };
        let start = self.text.len() - rest.len();
        self.at = start + length;
        Some(start..self.at)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn after_blanks(text: &str) -> &str {
    let mut rest = text.trim_start();
    while rest.starts_with("//") {
        rest = rest.find(['\n', '\r']).map_or("", |end| rest[end..].trim_start());
    }
    rest
}

/// The length of the string that `text` begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_found_behind_comments_that_hold_their_text() {
        let (one, two) =
            ("permit (principal, action, resource);", "@id(\"// x\") forbid(principal, action, resource);");
        let text = format!("// {one} \"\n\n{one}// {two}\r\n\t// ü\n{two}\n// the end");
        let found = spans(&text, [one, two]);
        let (first, last) = (text.match_indices(one).nth(1), text.match_indices(two).nth(1));
        let starts = [first, last].map(|found| found.expect("it is there").0);
        assert_eq!(found, [starts[0]..starts[0] + one.len(), starts[1]..starts[1] + two.len()]);
    }

    #[test]
    fn the_parts_of_a_policy_are_found_behind_its_annotations() {
        for (row, policy, principal) in [
            ("plain", "permit (principal, action, resource);", "principal"),
            (
                "scoped",
                "@id(\"x\")\npermit (principal in Team::\"a,b\", action, resource);",
                "principal in Team::\"a,b\"",
            ),
            (
                "odd annotations",
                "@flag @id(\"permit \\\") (\" ) // permit (\n permit(principal==User::\"ü\",action,resource);",
                "principal==User::\"ü\"",
            ),
            (
                "spread",
                "permit\n(\n  principal // who\n  in\n  Team::\"a\"\n  , action, resource);",
                "principal // who\n  in\n  Team::\"a\"",
            ),
        ] {
            let text = format!("// permit (x,\n{policy}");
            let parts = Parts::of(&text, &(13..text.len())).unwrap_or_else(|| panic!("{row}"));
            assert_eq!((&text[parts.effect], &text[parts.principal]), ("permit", principal), "{row}");
        }
        assert!(Parts::of("permit", &(0..6)).is_none(), "half a policy");
    }
}
