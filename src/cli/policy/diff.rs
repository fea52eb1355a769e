use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::check::load;
use super::sources::Sources;
use super::{counted, progress};
use crate::authz::{self, Change, Circumstances, PolicyRevision};
use crate::cli::{self, Failure, say};
use crate::domain::InstanceId;
use crate::inventory::Attributes;

/// Instances that a line names unless all are wanted.
const SHOWN: usize = 20;

/// Show what a change of the policies does
#[derive(clap::Args)]
pub(in crate::cli) struct Diff {
    /// The policies folder before the change
    old: PathBuf,
    /// The policies folder after it
    new: PathBuf,
    /// The instances, as DescribeInstances answers; default: Zenlayer is asked, by the configuration
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Ask with this scope too; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// When the requests come (RFC 3339); default: now
    #[arg(long, value_name = "TIME", value_parser = authz::time)]
    at: Option<Timestamp>,
    /// Name all instances, however many
    #[arg(long)]
    all: bool,
}

/// What is compared, and on what.
struct Sides {
    revisions: [PolicyRevision; 2],
    instances: Vec<Attributes>,
    zone: TimeZone,
}

pub(super) fn run(arguments: &Diff, config: Option<&Path>) -> Result<(), Failure> {
    let Sides { revisions: [old, new], instances, zone } = sides(arguments, config).map_err(not_compared)?;
    let circumstances = Circumstances {
        scopes: arguments.scopes.clone(),
        at: arguments.at.unwrap_or_else(Timestamp::now),
        zone,
    };
    let files = changed_files([&arguments.old, &arguments.new]);
    tell_files(&files)?;
    let changes = progress::shown("deciding", |progress| {
        authz::compare([&old, &new], &instances, &circumstances, progress)
    });
    if changes.is_empty() {
        let asked = circumstances.names().join("; with ");
        let on = counted(instances.len(), "instance");
        return match files.len() {
            0 => say("no difference: the folders hold the same files"),
            _ => say(format!("no difference on {on}, asked with {asked}")),
        };
    }
    let width = changes.iter().map(|change| change.team.as_str().len()).max().unwrap_or_default();
    changes.iter().try_for_each(|change| say(line(change, width, arguments.all)))?;
    let teams: BTreeSet<_> = changes.iter().map(|change| &change.team).collect();
    Err(Failure::Finding(format!("instances are gained or lost by {}", counted(teams.len(), "team"))))
}

fn sides(arguments: &Diff, config: Option<&Path>) -> Result<Sides, Failure> {
    let sources = Sources { folder: Some(arguments.new.clone()), inventory: arguments.inventory.clone() };
    // Without a file the instances are Zenlayer's, and it takes a configuration to ask for them.
    let needed = config.is_some() || arguments.inventory.is_none();
    let opened = sources.open(needed.then(|| cli::file(config))).map_err(|failure| match failure {
        Failure::Configuration(why) if arguments.inventory.is_none() => {
            Failure::Configuration(format!("{why}\n  --inventory FILE needs no configuration"))
        }
        other => other,
    })?;
    let (old, new) = (load(&arguments.old), load(&arguments.new));
    let revisions = [old?, new?];
    let instances = opened.instances()?.unwrap_or_default();
    Ok(Sides { revisions, instances, zone: opened.time_zone() })
}

/// 1 is a difference. What keeps the folders from being compared is none.
fn not_compared(failure: Failure) -> Failure {
    match failure {
        Failure::Finding(why) => Failure::Configuration(why),
        other => other,
    }
}

/// The files that differ, as the folder names them.
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

fn tell_files(files: &BTreeSet<PathBuf>) -> Result<(), Failure> {
    // Limits and blocks hang on who asks and how often: nothing can be decided about them here.
    let (settings, policies): (Vec<_>, Vec<_>) =
        files.iter().map(|name| name.display().to_string()).partition(|name| name.ends_with(".toml"));
    for (title, names) in [("changed", policies), ("changed, but not part of this comparison", settings)] {
        if !names.is_empty() {
            say(format!("{title}: {}", names.join(", ")))?;
        }
    }
    Ok(())
}

fn line(change: &Change, width: usize, all: bool) -> String {
    let Change { team, action, gained, only, instances } = change;
    let verb = if *gained { "gains" } else { "loses" };
    let only: Vec<String> = only.iter().map(|name| format!(" with {name}")).collect();
    let shown = if all { instances.len() } else { SHOWN };
    let ids: Vec<&str> = instances.iter().take(shown).map(InstanceId::as_str).collect();
    let more = match instances.len().saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (team, action, number) = (team.as_str(), action.name(), instances.len());
    let (only, ids) = (only.join(" or"), ids.join(" "));
    format!("{team:width$}  {action:13}  {verb} {number}{only}: {ids}{more}")
}
