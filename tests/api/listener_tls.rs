//! TLS on the callers' listener.

mod faults;
mod handshakes;
mod renewal;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rcgen::KeyPair;
use rustls::version::TLS13;
use serde_json::json;
use tempfile::TempDir;

use crate::gateway::FREE;
use crate::gateway::{PASSWORD, Setup, TestGateway, payments};
use crate::http::{Answer, read, request};
use crate::tls::{Authority, Connection, Pair, connect};

/// A gateway behind TLS, and the folder with its pair.
struct Listener {
    gateway: TestGateway,
    authority: Authority,
    folder: TempDir,
}

impl Listener {
    /// Its pair is mounted as Kubernetes mounts a Secret: links through `..data`, which is swapped.
    fn with(pair: &Pair, authority: Authority) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        mount(folder.path(), "first", pair);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), folder.path().join(name)).expect("linked");
        }
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
        let overrides = [
            ("ZENGATE__SERVER__TLS__CERTIFICATE_FILE", certificate.to_str().expect("a path")),
            ("ZENGATE__SERVER__TLS__KEY_FILE", key.to_str().expect("a path")),
        ];
        let gateway =
            TestGateway::with(Setup { overrides: &overrides, limits: Some(FREE), ..Setup::default() });
        Self { gateway, authority, folder }
    }

    fn connect(&self) -> std::io::Result<Connection> {
        connect(self.gateway.address, self.authority.client(&TLS13, &[]))
    }

    /// The certificate that a new caller sees.
    fn seen(&self) -> Vec<u8> {
        certificate_of(&self.connect().expect("a handshake"))
    }
}

fn pair(authority: &Authority) -> Pair {
    authority.pair(&KeyPair::generate().expect("a key"), 2100)
}

/// Both files change at once.
fn mount(folder: &Path, version: &str, pair: &Pair) {
    let data = folder.join(format!("..{version}"));
    fs::create_dir(&data).expect("made");
    fs::write(data.join("tls.crt"), &pair.certificate).expect("written");
    fs::write(data.join("tls.key"), &pair.key).expect("written");
    symlink(format!("..{version}"), folder.join("..data_tmp")).expect("linked");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("swapped");
}

/// The files change one after the other, and fit only in the end.
fn rename(folder: &Path, pair: &Pair) {
    for (name, text) in [("tls.key", &pair.key), ("tls.crt", &pair.certificate)] {
        fs::write(folder.join("new"), text).expect("written");
        fs::rename(folder.join("new"), folder.join("..data").join(name)).expect("renamed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn certificate_of(connection: &Connection) -> Vec<u8> {
    connection.conn.peer_certificates().expect("a certificate")[0].to_vec()
}

fn reset(connection: &mut Connection, instance: &str) -> Answer {
    let bearer = format!("Bearer {}", payments());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "password": PASSWORD }).to_string();
    let path = format!("/v1/instances/{instance}/password-resets");
    connection.write_all(&request("POST", &path, &headers, Some(body.as_bytes()))).expect("written");
    read(connection)
}
