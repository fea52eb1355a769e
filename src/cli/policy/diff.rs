mod show;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::check::load;
use super::counted;
use super::sources::Sources;
use crate::authz::{self, Action, Circumstances, Extent, PolicyRevision};
use crate::cli::{self, Failure, progress, say};
use crate::inventory::Attributes;

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
    /// Ask as this user: the issuer's name, a bar, and its name for the user [default: test|someone]
    #[arg(long, value_parser = authz::user)]
    user: Option<String>,
    /// Ask through this program [default: none]
    #[arg(long)]
    client: Option<String>,
    /// Ask as if this one acted on the user's behalf [default: none]
    #[arg(long)]
    actor: Option<String>,
    /// Ask from this address [default: 192.0.2.1]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Ask for resets of so many instances at once [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100))]
    batch_size: Option<i64>,
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
    extent: Extent,
    instances: Vec<Attributes>,
    zone: TimeZone,
}

pub(super) fn run(arguments: &Diff, config: Option<&Path>) -> Result<(), Failure> {
    let Sides { revisions: [old, new], extent, instances, zone } =
        sides(arguments, config).map_err(not_compared)?;
    let circumstances = arguments.circumstances(zone);
    let files_differ = show::files([&arguments.old, &arguments.new])?;
    let differences = progress::shown("deciding", |progress| {
        authz::compare([&old, &new], &instances, &circumstances, progress)
    });
    let none = differences.changes.is_empty() && differences.unreached.is_empty();
    match extent {
        Extent::Nothing if files_differ => say("no difference: every policy says the same"),
        Extent::Nothing => say("no difference: the folders hold the same files"),
        _ if !none => show::differences(&differences, arguments.all),
        Extent::Teams => say(format!("no difference, {}", asked(Action::ViewReset, &circumstances))),
        Extent::Instances => {
            let on = counted(instances.len(), "instance");
            say(format!("no difference on {on}, {}", asked(Action::ResetPassword, &circumstances)))
        }
    }
}

fn asked(action: Action, circumstances: &Circumstances) -> String {
    format!("asked with {}", circumstances.names(action).join("; with "))
}

fn sides(arguments: &Diff, config: Option<&Path>) -> Result<Sides, Failure> {
    let (old, new) = (load(&arguments.old), load(&arguments.new));
    let revisions = [old?, new?];
    let extent = authz::extent([&revisions[0], &revisions[1]]);
    let sources = Sources { folder: Some(arguments.new.clone()), inventory: arguments.inventory.clone() };
    // Without a file the instances are Zenlayer's, and it takes a configuration to ask for them.
    let ask_zenlayer = arguments.inventory.is_none() && extent == Extent::Instances;
    let needed = config.is_some() || ask_zenlayer;
    let opened = sources.open(needed.then(|| cli::file(config))).map_err(|failure| match failure {
        Failure::Configuration(why) if arguments.inventory.is_none() => {
            Failure::Configuration(format!("{why}\n  --inventory FILE needs no configuration"))
        }
        other => other,
    })?;
    let told = if ask_zenlayer || arguments.inventory.is_some() { opened.instances()? } else { None };
    Ok(Sides { revisions, extent, instances: told.unwrap_or_default(), zone: opened.time_zone() })
}

/// 1 is a difference. What keeps the folders from being compared is none.
fn not_compared(failure: Failure) -> Failure {
    match failure {
        Failure::Finding(why) => Failure::Configuration(why),
        other => other,
    }
}

impl Diff {
    fn circumstances(&self, zone: TimeZone) -> Circumstances {
        Circumstances {
            user: self.user.clone(),
            client: self.client.clone(),
            actor: self.actor.clone(),
            address: self.address,
            batch_size: self.batch_size,
            scopes: self.scopes.clone(),
            at: self.at.unwrap_or_else(Timestamp::now),
            zone,
        }
    }
}
