use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::Place;

/// One thing that is wrong in the policies folder; shown on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    pub file: PathBuf,
    /// None: the file or the folder as a whole.
    pub place: Option<Place>,
    pub message: String,
}

/// Everything that is wrong in the policies folder; at least one. Shown with a line for each.
#[derive(Debug, thiserror::Error)]
pub struct PolicyFaults(pub Vec<PolicyFault>);

impl PolicyFault {
    /// The fault, and below it the source line with a mark under what is meant.
    pub fn pictured(&self) -> String {
        match &self.place {
            Some(place) => format!("{self}\n{place}"),
            None => self.to_string(),
        }
    }

    /// By file, and in a file from its top.
    pub(super) fn in_order(&self, other: &Self) -> Ordering {
        let place = |fault: &Self| fault.place.as_ref().map(|place| (place.line, place.column));
        self.file.cmp(&other.file).then_with(|| place(self).cmp(&place(other)))
    }
}

impl PolicyFaults {
    /// The faults with their source lines.
    pub fn pictured(&self) -> String {
        let pictures: Vec<String> = self.0.iter().map(PolicyFault::pictured).collect();
        pictures.join("\n")
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.place {
            Some(Place { line, column, .. }) => write!(f, "{file}:{line}:{column}: {}", self.message),
            None => write!(f, "{file}: {}", self.message),
        }
    }
}

impl fmt::Display for PolicyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(PolicyFault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A file that was read.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) file: &'t Path,
    pub(super) text: &'t str,
}

/// Gathers faults.
#[derive(Default)]
pub(super) struct Faults {
    list: Vec<PolicyFault>,
    /// Files and spans that Cedar has found fault with.
    reported: HashSet<(PathBuf, Range<usize>)>,
}

impl Faults {
    /// Of a file or a folder as a whole.
    pub(super) fn whole(&mut self, file: &Path, message: impl Into<String>) {
        self.push(file, None, message.into());
    }

    /// Of a part of a file.
    pub(super) fn at(&mut self, text: Text<'_>, span: &Range<usize>, message: impl Into<String>) {
        self.push(text.file, Some(Place::of(text.text, span)), message.into());
    }

    /// What Cedar says of a file, and all that hangs on it; `within` is where, unless it says so itself.
    ///
    /// It repeats some faults for each kind of request they concern: of one span the first is kept.
    pub(super) fn diagnostic(
        &mut self,
        text: Text<'_>,
        within: Option<&Range<usize>>,
        diagnostic: &dyn Diagnostic,
    ) {
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let span = label.map(|label| label.offset()..label.offset() + label.len()).or(within.cloned());
        let help = diagnostic.help().map(|help| format!("; {help}")).unwrap_or_default();
        let message = format!("{diagnostic}{help}");
        match span {
            None => self.whole(text.file, message),
            Some(span) => {
                if self.reported.insert((text.file.to_owned(), span.clone())) {
                    self.at(text, &span, message);
                }
            }
        }
        for related in diagnostic.related().into_iter().flatten() {
            self.diagnostic(text, within, related);
        }
    }

    /// All of them, file by file.
    pub(super) fn sorted(mut self) -> PolicyFaults {
        self.list.sort_by(PolicyFault::in_order);
        PolicyFaults(self.list)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn push(&mut self, file: &Path, place: Option<Place>, message: String) {
        // A name may hold a line's end, and a fault is one line of a log.
        let message = message.replace(['\n', '\r'], " ");
        self.list.push(PolicyFault { file: file.to_owned(), place, message });
    }
}
