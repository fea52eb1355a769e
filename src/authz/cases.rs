//! The tables in the folder's `tests/`: expected decisions, decided by the gateway's own code.

mod fields;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::fault::{Faults, Text};
use super::inquiry::{About, Inquiry};
use super::load::LONGEST;
use super::verdict::{reason, word};
use super::{PolicyFault, PolicyFaults, PolicyRevision, Unmet, Verdict};
use crate::config::read_text;

/// One table: a file of `tests/`.
#[derive(Debug)]
pub struct CaseFile {
    /// Below the policies folder: `tests/web.toml`.
    pub name: String,
    /// In the order of the file.
    pub cases: Vec<Case>,
    /// What may be a mistake.
    pub warnings: Vec<PolicyFault>,
}

/// A question, and the decision it should get.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    inquiry: Inquiry,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    allow: bool,
    /// Exactly the policies that decide; None: whichever.
    rules: Option<BTreeSet<String>>,
}

/// A case that is decided otherwise than expected.
#[derive(Debug)]
pub struct Difference<'c> {
    case: &'c Case,
    got: Verdict,
    /// The team's permits for the action, where none fits.
    unmet: Option<Vec<Unmet>>,
}

/// Reads every table of the folder, or says everything that is wrong with them. There must be a case.
///
/// `revision` is the folder's: without it nothing is said of policies that a table names.
pub fn cases(
    folder: &Path,
    zone: &TimeZone,
    revision: Option<&PolicyRevision>,
) -> Result<Vec<CaseFile>, PolicyFaults> {
    let tests = folder.join("tests");
    let mut faults = Faults::default();
    let files = toml_files(&tests).unwrap_or_else(|e| {
        faults.whole(&tests, format!("cannot be read: {e}; {CREATE}"));
        Vec::new()
    });
    let mut read = Vec::new();
    for file in &files {
        match read_text(file, LONGEST) {
            Ok(text) => {
                let (cases, warnings) = table::parse(Text { file, text: &text }, zone, revision, &mut faults);
                read.push(CaseFile { name: below(folder, file), cases, warnings });
            }
            Err(e) => faults.whole(file, format!("cannot be read: {e}")),
        }
    }
    if faults.is_empty() && read.iter().all(|file| file.cases.is_empty()) {
        faults.whole(&tests, format!("has no case; {CREATE}"));
    }
    if faults.is_empty() { Ok(read) } else { Err(faults.sorted()) }
}

const CREATE: &str = "create tests/<any name>.toml with [instances.<id>] and [cases.\"<what should be>\"]";

fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    let files = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    Ok(files)
}

fn below(folder: &Path, file: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

impl Case {
    /// Decides it as the gateway would.
    pub fn run(&self, revision: &PolicyRevision) -> Result<(), Difference<'_>> {
        let got = revision.answer(&self.inquiry);
        if self.expected.met_by(&got) {
            return Ok(());
        }
        let unmet = match &got {
            Verdict::Refused(forbids) if forbids.is_empty() => Some(revision.unmet(&self.inquiry)),
            _ => None,
        };
        Err(Difference { case: self, got, unmet })
    }
}

impl Expected {
    fn met_by(&self, got: &Verdict) -> bool {
        let rules: BTreeSet<&str> = got.policies().into_iter().collect();
        let as_named = |named: &BTreeSet<String>| named.iter().map(String::as_str).eq(rules.iter().copied());
        self.allow == got.permits() && self.rules.as_ref().is_none_or(as_named)
    }
}

/// Who asks what, what was expected and what came, one below the other.
impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inquiry { action, asked, about, .. } = &self.case.inquiry;
        match about {
            About::Instance(told) => writeln!(f, "{}, {} on {}", asked.team, action.name(), told.id)?,
            About::Owner(owner) => writeln!(f, "{}, {} of {owner}", asked.team, action.name())?,
        }
        let Expected { allow, rules } = &self.case.expected;
        let rules: Option<Vec<&str>> = rules.as_ref().map(|rules| rules.iter().map(String::as_str).collect());
        let rules = rules.map(|rules| reason(*allow, &rules)).unwrap_or_default();
        writeln!(f, "{}", format!("expected  {:<6} {rules}", word(*allow)).trim_end())?;
        write!(f, "got       {}", self.got)?;
        match self.unmet.as_deref() {
            None => Ok(()),
            Some([]) => write!(f, "\n          the team has no permit for the action"),
            Some(permits) => permits.iter().try_for_each(|Unmet { policy, condition }| {
                let condition = condition.as_deref().unwrap_or("a condition that cannot be shown");
                write!(f, "\n          {policy}: does not hold: {condition}")
            }),
        }
    }
}

#[cfg(test)]
mod tests;
