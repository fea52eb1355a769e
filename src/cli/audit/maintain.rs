use std::cell::Cell;

use crate::audit::{Locked, Maintenance, NotMaintained, OpenError};
use crate::cli::{Failure, progress, say};
use crate::config;
use crate::domain::Reason;

/// Put on record that the trail was put back from a backup
#[derive(clap::Args)]
pub(in crate::cli) struct Restored {
    /// Why, for whoever reads the trail: 1 to 500 characters, none of them a control character
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Reason,
}

fn reason(text: &str) -> Result<Reason, String> {
    text.parse::<Reason>().map_err(|fault| fault.to_string())
}

pub(super) fn restored(arguments: &Restored, settings: &config::Audit) -> Result<(), Failure> {
    let mut maintenance = Maintenance::alone(settings).map_err(failed)?;
    maintenance.restored(&arguments.reason).map_err(failed)?;
    say("the restore is on record")?;
    finish(maintenance)
}

pub(super) fn rebuild(settings: &config::Audit) -> Result<(), Failure> {
    let resets = Cell::new(0_u64);
    let maintenance = progress::one_by_one("rebuilding", None, |done| {
        Maintenance::rebuild(settings, &|| {
            resets.set(resets.get() + 1);
            done();
        })
    });
    let maintenance = maintenance.map_err(failed)?;
    match resets.get() {
        1 => say("1 reset is as its records tell it")?,
        resets => say(format!("{resets} resets are as their records tell them"))?,
    }
    finish(maintenance)
}

/// What else was done, and what to keep of it.
pub(super) fn finish(maintenance: Maintenance) -> Result<(), Failure> {
    match maintenance.orphans() {
        0 => {}
        1 => say("1 reset was in flight when its writer ended: it is recorded as unknown")?,
        resets => say(format!(
            "{resets} resets were in flight when their writers ended: they are recorded as unknown"
        ))?,
    }
    let checkpoint = maintenance.finish().map_err(failed)?;
    say(format!("keep this outside of the trail:\n{checkpoint}"))
}

/// Whoever maintains a trail is told what is in the way, and not to keep another.
pub(super) fn failed(error: NotMaintained) -> Failure {
    match error {
        NotMaintained::Open(OpenError::Locked(Locked::Held { trail })) => Failure::Finding(format!(
            "another zengate writes the trail {}: stop it first; nothing was changed",
            trail.display()
        )),
        other => Failure::finding(other),
    }
}
