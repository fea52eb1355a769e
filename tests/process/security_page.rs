//! SECURITY.md says which test shows what: each must be there.

use std::fs;
use std::path::Path;

use crate::support::root;

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = fs::read_to_string(root("SECURITY.md")).expect("a page");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() >= 2);
    // Tests are named in sentences; a key of the configuration is not.
    let names = rows.flat_map(|row| row.split('`').skip(1).step_by(2).filter(|name| is_test(name)));
    let mut code = String::new();
    for folder in ["src", "tests"] {
        gather(&root(folder), &mut code);
    }
    let mut found = 0;
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "SECURITY.md names a test {name}");
        found += 1;
    }
    assert!(found > 40, "{found} tests are named");
}

fn is_test(name: &str) -> bool {
    name.matches('_').count() >= 3 && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn gather(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.extension() {
            _ if path.is_dir() => gather(&path, code),
            Some(end) if end == "rs" => code.push_str(&fs::read_to_string(&path).expect("text")),
            _ => {}
        }
    }
}
