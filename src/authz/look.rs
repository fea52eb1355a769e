use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// How the policies folder, or another set of files, looks from outside: which there are and when each last changed.
///
/// Links are followed, so that it changes with what they lead to: Kubernetes swaps a ConfigMap by renaming one link
/// (`..data`) that all its files lead through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look([u8; 32]);

impl Look {
    /// Costs some microseconds a file; what cannot be read looks like nothing.
    pub fn at(folder: &Path) -> Self {
        Self::of([folder.to_owned(), folder.join("teams")].iter().flat_map(|place| files(place)))
    }

    /// The same of single files.
    pub fn of(files: impl IntoIterator<Item: AsRef<Path>>) -> Self {
        let mut hash = Sha256::new();
        for file in files {
            let file = file.as_ref();
            hash.update(file.as_os_str().as_encoded_bytes());
            match file.metadata() {
                Ok(metadata) => state(&metadata).iter().for_each(|part| hash.update(part.to_be_bytes())),
                Err(_) => hash.update([0]),
            }
        }
        Self(hash.finalize().into())
    }
}

/// The time of the inode's own change is set by the kernel alone: no tool can hold it back, as it can the content's.
fn state(metadata: &Metadata) -> [i64; 5] {
    let [inode, length] = [metadata.ino(), metadata.len()].map(u64::cast_signed);
    [metadata.dev().cast_signed(), inode, length, metadata.ctime(), metadata.ctime_nsec()]
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}
