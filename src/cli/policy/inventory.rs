use std::path::Path;

use super::sources::live;
use crate::cli::{Failure, file, load, say};
use crate::inventory;

/// Asks with the access key of the configuration, so that whatever checks policies elsewhere needs none.
pub(super) fn run(config: Option<&Path>) -> Result<(), Failure> {
    let mut instances = live(&load(file(config))?)?;
    // So that two lists compare line by line.
    instances.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
    let lines: Vec<String> = instances.iter().map(|told| format!("  {}", inventory::retold(told))).collect();
    if lines.is_empty() { say("[]") } else { say(format!("[\n{}\n]", lines.join(",\n"))) }
}
