use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The exclusive right to write a trail, held until dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

/// Why the right to write cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Locked {
    #[error(
        "another zengate writes the trail {}: stop it first, or give this one an audit.path of its own",
        trail.display()
    )]
    Held { trail: PathBuf },
    #[error("the lock {} cannot be taken: {source}", file.display())]
    Io { file: PathBuf, source: std::io::Error },
}

impl Lock {
    pub(super) fn take(trail: &Path) -> Result<Self, Locked> {
        let mut name = trail.as_os_str().to_owned();
        name.push(".lock");
        let file = PathBuf::from(name);
        let io = |source| Locked::Io { file: file.clone(), source };
        let open = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&file)
            .map_err(io)?;
        match open.try_lock() {
            Ok(()) => Ok(Self(open)),
            Err(TryLockError::WouldBlock) => Err(Locked::Held { trail: trail.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}
