use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::{Failure, counted, load, say};
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
    say(summary(verified))?;
    if verified.findings == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn summary(verified: &Verified) -> String {
    let Verified { records, chains, resets, covered, findings } = *verified;
    let (all, bare) = (counted(records, "record"), records.saturating_sub(covered));
    let (chains, resets, covered) =
        (counted(chains, "chain"), counted(resets, "reset"), counted(covered, "record"));
    let good = if findings == 0 { "good".to_owned() } else { counted(findings, "finding") };
    format!("{all} in {chains}, {resets}; checkpoints vouch for {covered}, not for {bare}: {good}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let one = Verified { records: 1, chains: 1, resets: 1, covered: 1, findings: 1 };
        let expected = "1 record in 1 chain, 1 reset; checkpoints vouch for 1 record, not for 0: 1 finding";
        assert_eq!(summary(&one), expected);
        let many = Verified { records: 12, chains: 2, resets: 0, covered: 0, findings: 0 };
        let expected = "12 records in 2 chains, 0 resets; checkpoints vouch for 0 records, not for 12: good";
        assert_eq!(summary(&many), expected);
    }
}
