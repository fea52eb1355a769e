//! Bounds on a text, kept before Cedar reads it: its parser and its evaluator go as deep as a text does, and a thread
//! whose stack ends takes the whole process with it.

use super::fault::{Faults, Text};
use super::scan::tokens;

/// Most brackets inside each other.
pub(super) const DEEPEST: usize = 32;
/// Most operators of one policy, its clauses among them. The elements of a list are none.
pub(super) const OPERATORS: usize = 250;

const PAIRS: [&str; 6] = ["||", "&&", "==", "!=", "<=", ">="];
const SIGNS: [&str; 12] = ["|", "&", "=", "!", "<", ">", "+", "-", "*", "/", "%", "."];
const WORDS: [&str; 9] = ["in", "like", "has", "is", "if", "then", "else", "when", "unless"];

/// Whether each policy of the text is within the bounds; the others are faults.
pub(super) fn policies(text: Text<'_>, faults: &mut Faults) -> bool {
    let (mut policy, mut good) = (Extent::default(), true);
    let mut tokens = tokens(text.text);
    while let Some(mut token) = tokens.next() {
        let pair = text.text.get(token.start..token.start + 2).filter(|pair| PAIRS.contains(pair));
        if pair.is_some() {
            token.end = tokens.next().map_or(token.end, |second| second.end);
        }
        let word = &text.text[token.clone()];
        // Whatever Cedar's parser is in, it leaves there.
        if word == ";" {
            policy = Extent::default();
        }
        if let Some(fault) = policy.add(word) {
            faults.at(text, &token, fault);
            good = false;
        }
    }
    good
}

/// The same of a schema, where only brackets go deep.
pub(super) fn schema(text: Text<'_>, faults: &mut Faults) -> bool {
    let mut brackets = Brackets::default();
    for token in tokens(text.text) {
        brackets.add(&text.text[token.clone()], "([{<");
        if brackets.0.len() > DEEPEST {
            faults.at(
                text,
                &token,
                format!("more than {DEEPEST} brackets are inside each other from here on"),
            );
            return false;
        }
    }
    true
}

/// What closes the brackets that are open.
#[derive(Default)]
struct Brackets(Vec<&'static str>);

impl Brackets {
    fn add(&mut self, word: &str, openers: &str) {
        let pairs = [("(", ")"), ("[", "]"), ("{", "}"), ("<", ">")];
        if self.0.last() == Some(&word) {
            self.0.pop();
        } else if let Some((_, closer)) =
            pairs.iter().find(|(opener, _)| *opener == word && openers.contains(word))
        {
            self.0.push(closer);
        }
    }
}

/// How far a policy goes.
#[derive(Default)]
struct Extent {
    brackets: Brackets,
    operators: usize,
    before: Before,
    told: bool,
}

/// What stands before a word: a bracket behind it may take something of a value, which is an operator too.
#[derive(Default)]
enum Before {
    /// Behind it `(` is a call's, whose name is counted by its dot.
    Name,
    Value,
    #[default]
    Other,
}

impl Extent {
    /// What is wrong from this word on; told once.
    fn add(&mut self, word: &str) -> Option<String> {
        let depth = self.brackets.0.len();
        self.brackets.add(word, "([{");
        let closer = matches!(word, ")" | "]" | "}");
        // A closer that closes nothing is in no good policy, and Cedar's parser may take it for anything.
        let astray = closer && self.brackets.0.len() == depth;
        let operator = [&PAIRS[..], &SIGNS, &WORDS].iter().any(|words| words.contains(&word));
        let taken = match self.before {
            Before::Value => matches!(word, "[" | "("),
            Before::Name => word == "[",
            Before::Other => false,
        };
        self.operators += usize::from(operator || astray || taken);
        self.before = match word {
            _ if closer || word.starts_with('"') => Before::Value,
            _ if !operator && word.starts_with(|c: char| c.is_alphanumeric() || c == '_') => Before::Name,
            _ => Before::Other,
        };
        let fault = if self.brackets.0.len() > DEEPEST {
            format!("more than {DEEPEST} brackets are inside each other from here on: {SPLIT}")
        } else if self.operators > OPERATORS {
            format!("more than {OPERATORS} operators in one policy: {LIST}, or {SPLIT}")
        } else {
            return None;
        };
        (!std::mem::replace(&mut self.told, true)).then_some(fault)
    }
}

const SPLIT: &str = "make several policies of it";
const LIST: &str =
    "name what is alike in a list, as `resource in [Instance::\"…\", …]` or `[\"…\", …].contains(…)` do";

#[cfg(test)]
mod tests;
