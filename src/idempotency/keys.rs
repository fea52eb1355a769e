use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::config::{self, Secret, create_secret};
use crate::domain::Fingerprint;

/// What is hashed first: another version of the form would say so here.
const FORM: &[u8] = b"zengate: idempotency, version 1";

/// The keys that requests are told apart by. Without them nobody can guess a password by what the store keeps.
pub struct FingerprintKeys {
    files: Files,
    held: ArcSwap<Keys>,
    /// What was read last: a change counts once it stood still from one look to the next.
    last: Mutex<Option<Keys>>,
}

struct Files {
    current: PathBuf,
    previous: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
struct Keys {
    current: Secret,
    previous: Option<Secret>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    #[error("the key of idempotency.key_file: {0}")]
    Unreadable(String),
    #[error("the key of idempotency.key_file: {} cannot be created: {source}", file.display())]
    Uncreatable { file: PathBuf, source: io::Error },
}

impl FingerprintKeys {
    /// Reads the keys; one that is not there is made where the settings name none, for its owner's eyes alone.
    pub fn load(settings: &config::Idempotency) -> Result<Self, KeyFault> {
        let file = &settings.key_file;
        if settings.make_key && !file.exists() {
            create(file).map_err(|source| KeyFault::Uncreatable { file: file.clone(), source })?;
        }
        let files = Files { current: file.clone(), previous: settings.previous_key_file.clone() };
        let keys = files.read().map_err(KeyFault::Unreadable)?;
        Ok(Self { files, held: ArcSwap::from_pointee(keys), last: Mutex::default() })
    }

    /// Tells a request by all of its parts, each as it was sent.
    pub fn fingerprint(&self, parts: &[&[u8]]) -> Fingerprint {
        let keys = self.held.load();
        Fingerprint::new(mac(&keys.current, parts), keys.previous.as_ref().map(|key| mac(key, parts)))
    }

    /// Looks whether the files have changed; blocks for the time of reading them. What cannot be read changes nothing.
    pub fn look(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match self.files.read() {
            Ok(read) => read,
            Err(fault) => {
                if last.take().is_some() {
                    tracing::error!("idempotency.key_file: the keys in force stay, since {fault}");
                }
                return;
            }
        };
        if last.as_ref() == Some(&read) && **self.held.load() != read {
            tracing::info!("the keys of idempotency.key_file have changed");
            self.held.store(Arc::new(read.clone()));
        }
        *last = Some(read);
    }
}

impl Files {
    fn read(&self) -> Result<Keys, String> {
        let previous = self.previous.as_deref().map(config::Idempotency::read_key).transpose()?;
        Ok(Keys { current: config::Idempotency::read_key(&self.current)?, previous })
    }
}

fn mac(key: &Secret, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
    for part in [FORM].iter().chain(parts) {
        // Its length first: no two lists of parts have the same bytes.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
}

fn create(file: &std::path::Path) -> io::Result<()> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    let mut text = Zeroizing::new([b'\n'; 65]);
    hex::encode_to_slice(bytes.as_slice(), &mut text[..64]).expect("two digits a byte");
    create_secret(file, &*text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    fn settings(folder: &std::path::Path, previous: Option<&str>) -> config::Idempotency {
        config::Idempotency {
            life: Duration::from_secs(60),
            key_file: folder.join("key"),
            make_key: true,
            previous_key_file: previous.map(|name| folder.join(name)),
            max_in_flight: 1,
        }
    }

    #[test]
    fn the_mac_is_hmac_sha256_over_parts_that_tell_their_lengths() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key"), "0123456789abcdef0123456789abcdef\n").expect("written");
        let keys = FingerprintKeys::load(&settings(folder.path(), None)).expect("a key");
        let kept = |parts: &[&[u8]]| keys.fingerprint(parts).kept();
        // python3: hmac.new(key, b"".join(len(p).to_bytes(8, "big") + p for p in [form, b"POST", b"/v1"]), "sha256")
        assert_eq!(
            kept(&[b"POST", b"/v1"]),
            "8c841a4e6eee99e1976cf3e7a216e2e2ee8f193d15b548b0d9b430c2c7a75854"
        );
        let lists: [&[&[u8]]; 6] =
            [&[b"POST", b"/v1"], &[b"POST/", b"v1"], &[b"POST/v1"], &[b"POST", b"/v1", b""], &[], &[b""]];
        let all: std::collections::HashSet<_> = lists.into_iter().map(kept).collect();
        assert_eq!(all.len(), lists.len());
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path(), None);
        let made = FingerprintKeys::load(&settings).expect("made").fingerprint(&[b"x"]);
        assert_eq!(FingerprintKeys::load(&settings).expect("read").fingerprint(&[b"x"]).kept(), made.kept());
        let mode = std::fs::metadata(&settings.key_file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&settings.key_file, "short").expect("written");
        let told = FingerprintKeys::load(&settings).err().expect("no key").to_string();
        assert!(told.contains("32 to 1024 bytes") && !told.contains("short"), "{told}");
        let named = config::Idempotency { make_key: false, key_file: folder.path().join("none"), ..settings };
        assert!(matches!(FingerprintKeys::load(&named), Err(KeyFault::Unreadable(_))));
    }

    #[test]
    fn keys_change_once_their_files_stand_still_and_what_is_no_key_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let [old, new] = ["o", "n"].map(|letter| letter.repeat(32));
        std::fs::write(file("key"), &old).expect("written");
        std::fs::write(file("previous"), &old).expect("written");
        let keys = FingerprintKeys::load(&settings(folder.path(), Some("previous"))).expect("keys");
        let before = keys.fingerprint(&[b"x"]).kept();
        std::fs::write(file("key"), "half").expect("written");
        (0..3).for_each(|_| keys.look());
        assert_eq!(keys.fingerprint(&[b"x"]).kept(), before);
        std::fs::write(file("key"), &new).expect("written");
        keys.look();
        assert_eq!(keys.fingerprint(&[b"x"]).kept(), before, "it may still be written");
        keys.look();
        let after = keys.fingerprint(&[b"x"]);
        assert!(after.kept() != before && after.is_of(&before), "known by the key before");
        assert!(!keys.fingerprint(&[b"y"]).is_of(&before));
    }
}
