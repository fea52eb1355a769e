//! Policies folders to run the policy commands on.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use tempfile::TempDir;

use crate::support::{beside, root, zengate};

/// Two copies of a small policies folder, and a place for more.
pub struct Folders(TempDir);

pub const OWN: &str = r#"@id("own")
permit (principal in Team::"web", action == Action::"ResetPassword", resource)
when { resource.hasTag("team") && resource.getTag("team") == "web" };
"#;

impl Folders {
    pub fn new() -> Self {
        let folders = Self(tempfile::tempdir().expect("a folder"));
        for side in ["old", "new"] {
            fs::create_dir_all(folders.path(side).join("teams")).expect("made");
            let schema = root("policies/schema.cedarschema");
            fs::copy(schema, folders.path(side).join("schema.cedarschema")).expect("copied");
            folders.write(side, "global.cedar", "");
            folders.write(side, "limits.toml", "");
            folders.write(side, "teams/web.cedar", OWN);
        }
        folders
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, side: &str, file: &str, text: &str) {
        fs::write(self.path(side).join(file), text).expect("written");
    }

    /// Runs a policy command beside the folders.
    pub fn run(&self, arguments: &[&str]) -> Told {
        Told::by(zengate().current_dir(self.0.path()).arg("policy").args(arguments).output().expect("runs"))
    }
}

/// [`OWN`] in other words.
pub fn reworded() -> String {
    OWN.replace("resource.getTag(\"team\") == \"web\"", "\"web\" == resource.getTag(\"team\")")
}

/// What a command told, and its exit code.
#[derive(Debug)]
pub struct Told {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Told {
    pub fn by(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// The simulator's instances, as a file.
pub fn inventory() -> String {
    beside("instances.json").display().to_string()
}
