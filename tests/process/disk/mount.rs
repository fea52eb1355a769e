//! A small disk in a mount namespace of its own: it is gone with the process that holds it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Enough for SQLite's log before its first checkpoint.
const MIB: usize = 8;

pub struct Mount {
    /// Holds the namespace until its standard input ends, however this process does.
    holder: Child,
    path: PathBuf,
}

impl Mount {
    /// An empty one, at this folder.
    pub fn small(path: &Path) -> Self {
        let script = "mount -t tmpfs -o \"size=$1m,mode=0700\" trail \"$2\" && echo mounted && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", &MIB.to_string()]).arg(path);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare runs");
        let mut line = String::new();
        let said = BufReader::new(holder.stdout.as_mut().expect("it is piped")).read_line(&mut line);
        assert!(said.is_ok() && line == "mounted\n", "a disk of its own cannot be mounted, which needs root");
        Self { holder, path: path.to_owned() }
    }

    /// The same command, where the disk is mounted.
    pub fn inside(&self, command: Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        entered.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        entered.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        entered
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it is there");
    }

    pub fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(&self.path);
        assert!(self.inside(mount).status().expect("mount runs").success(), "{options}");
    }

    /// A file of the disk as seen from outside.
    fn filler(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.path.strip_prefix("/").expect("an absolute path")).join("filler")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        _ = self.holder.kill();
        _ = self.holder.wait();
    }
}
