//! The policies folders that come with zengate, and what the documentation shows of them.

use std::fs;
use std::path::Path;

use crate::support::{copy, root, said, zengate};

const FOLDERS: [&str; 2] = ["policies", "examples/policies"];

/// Cases that the examples have at least: tables that are not found any more are not to go unnoticed.
const CASES: usize = 80;

/// What a policy command tells of a shipped folder that it finds good.
fn told(arguments: &[&str]) -> String {
    let output = zengate().current_dir(root(".")).arg("policy").args(arguments).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    said(&output)
}

#[test]
fn the_shipped_folders_are_good_and_decide_as_their_tables_say() {
    for folder in FOLDERS {
        let checked = told(&["check", "--strict", folder]);
        assert!(checked.starts_with(&format!("{folder}: good; ")), "{checked}");
        let tested = told(&["test", folder]);
        let (cases, rest) = tested.split_once(' ').expect("a number of cases");
        let cases: usize = cases.parse().expect("a number");
        assert!(rest.ends_with(&format!(": {cases} passed, 0 failed\n")), "{tested}");
        assert!(cases >= if folder == "policies" { 1 } else { CASES }, "{tested}");
    }
}

#[test]
fn the_shipped_folders_have_one_schema() {
    let [one, other] = FOLDERS.map(|folder| fs::read(root(folder).join("schema.cedarschema")).expect("read"));
    assert!(one == other, "policies and examples/policies differ in schema.cedarschema");
}

#[test]
fn every_recipe_of_the_documentation_is_in_a_shipped_folder() {
    let recipes = section("Recipes");
    let snippets: Vec<&str> = ["cedar", "toml"].iter().flat_map(|kind| snippets(&recipes, kind)).collect();
    assert!(snippets.len() >= recipes.matches("\n### ").count(), "each recipe shows a rule");
    let shipped: Vec<String> = FOLDERS.iter().flat_map(|folder| texts(&root(folder))).collect();
    for snippet in snippets {
        assert!(shipped.iter().any(|text| text.contains(snippet)), "in no file of {FOLDERS:?}:\n{snippet}");
    }
}

#[test]
fn the_first_rule_of_the_documentation_passes_its_table() {
    let first = section("A first rule, step by step");
    let folder = tempfile::tempdir().expect("a folder");
    copy(&root("policies"), folder.path());
    for (kind, file) in [("cedar", "teams/reports.cedar"), ("toml", "tests/reports.toml")] {
        let [text] = snippets(&first, kind)[..] else { panic!("one block of {kind}") };
        fs::write(folder.path().join(file), text).expect("written");
    }
    let folder = folder.path().to_str().expect("text");
    told(&["check", "--strict", folder]);
    let tested = told(&["test", folder]);
    assert!(first.contains(&tested), "the page shows other numbers than {tested}");
}

/// A section of the page on policies.
fn section(title: &str) -> String {
    let page = fs::read_to_string(root("docs/policies.md")).expect("read");
    let (_, section) = page.split_once(&format!("\n## {title}\n")).expect("it is on the page");
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

/// The blocks of this language, without the white space around them.
fn snippets<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("\n```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap_or_default().trim()).collect()
}

/// The text of each file in the folder and below.
fn texts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("read").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(
            |path| if path.is_dir() { texts(&path) } else { vec![fs::read_to_string(&path).expect("text")] },
        )
        .collect()
}
