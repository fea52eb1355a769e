use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::authz::{Change, Differences};
use crate::cli::policy::counted;
use crate::cli::{Failure, say};

/// Instances or teams that a line names unless all are wanted.
const SHOWN: usize = 20;

/// Tells which files differ; whether any does.
pub(super) fn files(folders: [&PathBuf; 2]) -> Result<bool, Failure> {
    let files = changed_files(folders);
    // Limits and blocks hang on who asks and how often: nothing can be decided about them here.
    let (settings, policies): (Vec<_>, Vec<_>) =
        files.iter().map(|name| name.display().to_string()).partition(|name| name.ends_with(".toml"));
    for (title, names) in [("changed", policies), ("changed, but not part of this comparison", settings)] {
        if !names.is_empty() {
            say(format!("{title}: {}", names.join(", ")))?;
        }
    }
    Ok(!files.is_empty())
}

/// As the folder names them.
fn changed_files(folders: [&PathBuf; 2]) -> BTreeSet<PathBuf> {
    let whole = ["schema.cedarschema", "global.cedar", "limits.toml", "blocks.toml"].map(PathBuf::from);
    let listed = folders.map(|folder| fs::read_dir(folder.join("teams")));
    let entries = listed.into_iter().flatten().flatten().flatten();
    let teams = entries.map(|entry| Path::new("teams").join(entry.file_name()));
    let teams = teams.filter(|name| name.extension().is_some_and(|extension| extension == "cedar"));
    let differs = |name: &PathBuf| {
        let [old, new] = folders.map(|folder| fs::read(folder.join(name)).ok());
        old != new
    };
    whole.into_iter().chain(teams).filter(differs).collect()
}

/// Tells all of them; at least one.
pub(super) fn differences(differences: &Differences, all: bool) -> Result<(), Failure> {
    let Differences { changes, unreached } = differences;
    let width = changes.iter().map(|change| change.team.as_str().len()).max().unwrap_or_default();
    changes.iter().try_for_each(|change| say(line(change, width, all)))?;
    unreached.iter().try_for_each(say)?;
    Err(Failure::Finding(summary(differences)))
}

fn line(change: &Change, width: usize, all: bool) -> String {
    let Change { team, action, gained, only, on } = change;
    let verb = if *gained { "gains" } else { "loses" };
    let only: Vec<String> = only.iter().map(|name| format!(" with {name}")).collect();
    let shown = if all { on.len() } else { on.len().min(SHOWN) };
    let more = match on.len() - shown {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (team, action, number) = (team.as_str(), action.name(), on.len());
    let (only, on) = (only.join(" or"), on[..shown].join(" "));
    format!("{team:width$}  {action:13}  {verb} {number}{only}: {on}{more}")
}

fn summary(differences: &Differences) -> String {
    let teams: BTreeSet<_> = differences.changes.iter().map(|change| &change.team).collect();
    let unreached: BTreeSet<_> = differences.unreached.iter().map(|unreached| &unreached.policy).collect();
    let changed = format!("access is gained or lost by {}", counted(teams.len(), "team"));
    let asked_otherwise = format!(
        "what {} would give or take is not known: ask otherwise, with --scope, --user, --client, --actor, \
         --address, --batch-size or --at",
        counted(unreached.len(), "policy")
    );
    let parts = [(changed, teams.is_empty()), (asked_otherwise, unreached.is_empty())];
    let parts: Vec<String> = parts.into_iter().filter(|(_, none)| !none).map(|(part, _)| part).collect();
    parts.join("; ")
}
