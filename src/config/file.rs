use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The whole of a regular file that is no longer than `longest` bytes. A pipe or a device could keep its reader for
/// ever, and a file without a bound could take all memory. The bytes are wiped when dropped.
pub fn read_file(path: &Path, longest: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let refused = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let regular = |metadata: &Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(refused("it is no regular file".to_owned())),
    };
    // Before it is opened, since that alone waits for a pipe's other end; and after, since it may have changed.
    regular(&std::fs::metadata(path)?)?;
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    regular(&metadata)?;
    let too_long = || refused(format!("it is longer than {} KiB", longest >> 10));
    let length =
        usize::try_from(metadata.len()).ok().filter(|length| *length <= longest).ok_or_else(too_long)?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    (&mut file).take(longest as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > longest { Err(too_long()) } else { Ok(bytes) }
}

/// The same of a text.
pub fn read_text(path: &Path, longest: usize) -> io::Result<String> {
    let bytes = read_file(path, longest)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(text.to_owned())
}

/// Makes a file for its owner's eyes alone, whole or not at all.
pub fn create_secret(path: &Path, contents: &[u8]) -> io::Result<()> {
    // Renamed into its place: half a secret would be none for good.
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut open = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    open.write_all(contents)?;
    open.sync_all()?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_within_the_bound_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link, pipe) =
            (folder.path().join("file"), folder.path().join("link"), folder.path().join("pipe"));
        std::fs::write(&file, "12345678").expect("written");
        std::os::unix::fs::symlink("file", &link).expect("linked");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(read_text(&file, 8).expect("a file"), "12345678");
        assert_eq!(read_text(&link, 8).expect("a link to one"), "12345678");
        let failed = |path: &Path| read_file(path, 7).expect_err("refused").to_string();
        assert_eq!(failed(&file), "it is longer than 0 KiB");
        assert_eq!(failed(&pipe), "it is no regular file");
        assert_eq!(failed(folder.path()), "it is no regular file");
        assert_eq!(failed(Path::new("/dev/zero")), "it is no regular file");
        assert_eq!(
            read_file(&folder.path().join("none"), 7).expect_err("none").kind(),
            io::ErrorKind::NotFound
        );
    }
}
