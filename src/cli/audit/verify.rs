use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::{Failure, load, say};
use crate::audit::{KeyFault, PublicKeys, Unverified, Verified, VerifiedPart, Witness};
use crate::config;

/// Steps a second in which the bar is drawn anew.
const RATE: u8 = 10;

/// Check every hash, link, signature and row; 1 if anything was changed, moved or is missing
#[derive(clap::Args)]
pub(in crate::cli) struct Verify {
    /// A text with checkpoints that was kept outside of the trail: a log, the second sink's file, a note
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Receipts in JSON, alone or in answers, one or many; - is stdin
    #[arg(long, value_name = "FILE")]
    receipt: Vec<PathBuf>,
    /// Public keys in PEM whose checkpoints are believed, beside the configured key's
    #[arg(long, value_name = "FILE")]
    public_key: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Verify, file: &Path) -> Result<(), Failure> {
    let settings = load(file)?.audit;
    let keys = keys(&settings, &arguments.public_key)?;
    let reader = super::open(&settings)?;
    let checkpoints = arguments.checkpoint.iter().cloned().map(Witness::Checkpoints);
    let witnesses: Vec<Witness> =
        checkpoints.chain(arguments.receipt.iter().cloned().map(Witness::Receipts)).collect();

    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(RATE));
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3}%");
    bar.set_style(style.expect("a good template"));
    let progress = |part, done, of| {
        bar.set_message(match part {
            VerifiedPart::Records => "records",
            VerifiedPart::Resets => "resets",
        });
        bar.set_length(of);
        bar.set_position(done);
    };
    let mut said = Ok(());
    let mut each = |told| {
        if said.is_ok() {
            said = bar.suspend(|| say(told));
        }
    };
    let verified = reader.verify(&keys, &witnesses, &mut each, &progress);
    bar.finish_and_clear();
    said?;
    match verified {
        Ok(verified) => conclude(&verified),
        Err(Unverified::Witness(fault)) => Err(Failure::configuration(fault)),
        Err(Unverified::Read(error)) => Err(Failure::finding(error)),
    }
}

fn conclude(verified: &Verified) -> Result<(), Failure> {
    let Verified { records, chains, resets, covered, findings } = verified;
    let bare = records.saturating_sub(*covered);
    let went = format!(
        "{records} records in {chains} chains, {resets} resets; checkpoints vouch for {covered} records, not for {bare}"
    );
    match findings {
        0 => say(format!("{went}: good")),
        1 => say(format!("{went}: 1 finding")).and(Err(Failure::Told)),
        _ => say(format!("{went}: {findings} findings")).and(Err(Failure::Told)),
    }
}

/// Who verifies a copy of the trail has no signing key, and names public ones.
fn keys(settings: &config::Audit, files: &[PathBuf]) -> Result<PublicKeys, Failure> {
    let mut keys = PublicKeys::default();
    for file in files {
        keys = keys.and(PublicKeys::load(file).map_err(Failure::configuration)?);
    }
    match PublicKeys::of_signing_key(&settings.signing_key_file) {
        Ok(configured) => Ok(keys.and(configured)),
        Err(KeyFault::Unreadable { .. }) if !files.is_empty() => Ok(keys),
        Err(fault @ KeyFault::Unreadable { .. }) => {
            Err(Failure::Configuration(format!("{fault}: --public-key can name public keys instead")))
        }
        Err(fault) => Err(Failure::configuration(fault)),
    }
}

/// What an auditor keeps to verify with.
pub(super) fn public_key(file: &Path) -> Result<(), Failure> {
    let settings = load(file)?.audit;
    let key = PublicKeys::of_signing_key(&settings.signing_key_file).map_err(Failure::configuration)?;
    say(key.pem().trim_end())
}
