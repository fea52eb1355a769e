use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::test::Decided;
use crate::cli::Failure;

/// Writes a suite a table and a test a case, as build servers read them.
pub(super) fn write(file: &Path, decided: &[Decided<'_>]) -> Result<(), Failure> {
    let mut report = Report::new("zengate policy test");
    report.add_test_suites(decided.iter().map(suite));
    let failed = |e: &dyn std::fmt::Display| {
        Failure::Finding(format!("--junit {} cannot be written: {e}", file.display()))
    };
    let text = report.to_string().map_err(|e| failed(&e))?;
    std::fs::write(file, text).map_err(|e| failed(&e))
}

fn suite(table: &Decided<'_>) -> TestSuite {
    let mut suite = TestSuite::new(table.name);
    suite.add_test_cases(table.cases.iter().map(|(case, result)| {
        let status = match result {
            Ok(()) => TestCaseStatus::success(),
            Err(difference) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status
                    .set_message("the decision is not the expected one")
                    .set_description(difference.to_string());
                status
            }
        };
        let mut test = TestCase::new(case.name.as_str(), status);
        test.set_classname(table.name);
        test
    }));
    suite
}
