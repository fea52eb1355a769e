use std::path::{Path, PathBuf};

use super::check::faulty;
use super::sources::Sources;
use super::{counted, junit};
use crate::authz::{self, Case, CaseFile, Difference, PolicyFaults, PolicyRevision, shown};
use crate::cli::{Failure, say, tell as warn};

/// Decide the cases of the folder's tests/*.toml
#[derive(clap::Args)]
pub(in crate::cli) struct Test {
    /// The policies folder; default: the one that the configuration names
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Write the result as JUnit XML too, for whoever shows the results of a build
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// List the cases that pass too
    #[arg(long, short)]
    verbose: bool,
}

/// A table with what came of its cases.
pub(super) struct Decided<'c> {
    pub(super) name: &'c str,
    pub(super) cases: Vec<(&'c Case, Result<(), Difference<'c>>)>,
}

pub(super) fn run(arguments: &Test, config: Option<&Path>) -> Result<(), Failure> {
    let sources = Sources { folder: arguments.folder.clone(), inventory: None };
    let opened = sources.open(config)?;
    let revision = PolicyRevision::load(opened.folder());
    let files = authz::cases(opened.folder(), &opened.time_zone(), revision.as_ref().ok());
    let (revision, files) = both(revision, files).map_err(|faults| faulty(opened.folder(), &faults))?;
    let warnings = files.iter().flat_map(|file| &file.warnings);
    warnings.for_each(|warning| warn(format!("warning: {}", warning.pictured())));
    let decided: Vec<_> = files.iter().map(|file| decide(file, &revision)).collect();
    for file in &decided {
        tell(file, arguments.verbose)?;
    }
    let summary = summarize(&decided);
    if let Some(file) = &arguments.junit {
        junit::write(file, &decided)?;
    }
    summary
}

/// All faults at once, the policies' before the tables'.
fn both(
    revision: Result<PolicyRevision, PolicyFaults>,
    files: Result<Vec<CaseFile>, PolicyFaults>,
) -> Result<(PolicyRevision, Vec<CaseFile>), PolicyFaults> {
    match (revision, files) {
        (Ok(revision), Ok(files)) => Ok((revision, files)),
        (revision, files) => {
            let faults = [revision.err(), files.err()].into_iter().flatten();
            Err(PolicyFaults(faults.flat_map(|faults| faults.0).collect()))
        }
    }
}

fn decide<'c>(file: &'c CaseFile, revision: &PolicyRevision) -> Decided<'c> {
    let cases = file.cases.iter().map(|case| (case, case.run(revision))).collect();
    Decided { name: &file.name, cases }
}

fn tell(file: &Decided<'_>, verbose: bool) -> Result<(), Failure> {
    for (case, result) in &file.cases {
        match result {
            Ok(()) if verbose => say(format!("ok   {}: {}", file.name, shown(&case.name)))?,
            Ok(()) => {}
            Err(difference) => {
                say(format!("FAIL {}: {}", file.name, shown(&case.name)))?;
                difference.to_string().lines().try_for_each(|line| say(format!("     {line}")))?;
            }
        }
    }
    Ok(())
}

fn summarize(decided: &[Decided<'_>]) -> Result<(), Failure> {
    let results = || decided.iter().flat_map(|file| &file.cases).map(|(_, result)| result);
    let (cases, failed) = (results().count(), results().filter(|result| result.is_err()).count());
    let (passed, files) = (cases - failed, decided.len());
    let (cases, files) = (counted(cases, "case"), counted(files, "file"));
    say(format!("{cases} in {files}: {passed} passed, {failed} failed"))?;
    if failed == 0 { Ok(()) } else { Err(Failure::Told) }
}
