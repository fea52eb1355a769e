//! A pair that is wrong at the start.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use zengate::app;
use zengate::config::Config;

use super::pair;
use crate::gateway::TestGateway;
use crate::keys::pem;
use crate::tls::Authority;

#[test]
fn each_bad_pair_is_told_by_its_keys_path_at_start() {
    let gateway = TestGateway::spawn();
    let authority = Authority::new();
    let [good, other] = [pair(&authority), pair(&authority)];
    let small = pem("RSA PRIVATE KEY", &[0x30, 0]);
    let encrypted = pem("ENCRYPTED PRIVATE KEY", b"who knows");
    let older = good.key.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n");
    let pasted = good.key.replace('\n', " ");
    let both = [good.key.as_str(), other.key.as_str()].concat();
    let odd = pem("CERTIFICATE", b"who knows");
    let (crt, key) = ("server.tls.certificate_file: ", "server.tls.key_file: ");
    for (certificate, private, told) in [
        (good.certificate.as_str(), good.key.as_str(), &[][..]),
        ("", &good.key, &[(crt, "tls.crt holds no certificate")]),
        (&good.key, &good.key, &[(crt, "tls.crt holds no certificate")]),
        (&odd, &good.key, &[(crt, "tls.crt begins with a certificate that cannot be read: ")]),
        (&good.certificate[..80], &good.key, &[(crt, "tls.crt is broken PEM")]),
        (&good.certificate, "", &[(key, "tls.key holds no private key")]),
        (&good.certificate, &both, &[(key, "tls.key holds 2 private keys: it must hold one")]),
        (&good.certificate, &encrypted, &[(key, "tls.key holds an encrypted private key")]),
        (&good.certificate, &older, &[(key, "tls.key holds an encrypted private key")]),
        (&good.certificate, &small, &[(key, "tls.key holds a private key that cannot be used")]),
        (&good.certificate, &pasted, &[(key, "tls.key is broken PEM")]),
        (
            &good.certificate,
            &other.key,
            &[(key, "tls.key holds another key than that of the first certificate")],
        ),
        ("", "", &[(crt, "tls.crt holds no certificate"), (key, "tls.key holds no private key")]),
    ] {
        let folder = gateway.folder.path();
        fs::write(folder.join("tls.crt"), certificate).expect("written");
        fs::write(folder.join("tls.key"), private).expect("written");
        let faults = faults(folder, "tls.crt", "tls.key");
        assert_eq!(faults.len(), told.len(), "{told:?}: {faults:?}");
        for (fault, (path, what)) in faults.iter().zip(told) {
            assert!(fault.starts_with(path) && fault.contains(what), "{what} in {fault}");
        }
    }
    let missing = faults(gateway.folder.path(), "no.crt", "no.key");
    assert!(missing.len() == 2 && missing[1].contains("no.key cannot be read: No such file"), "{missing:?}");
}

/// What `zengate check` would say of this pair, beside settings that are good.
fn faults(folder: &Path, certificate: &str, key: &str) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let tls = [("CERTIFICATE_FILE", certificate), ("KEY_FILE", key)];
    let env = BTreeMap::from(tls.map(|(key, name)| (format!("ZENGATE__SERVER__TLS__{key}"), file(name))));
    let config = Config::load(&folder.join("zengate.toml"), &env);
    let loaded = app::load(&config.unwrap_or_else(|e| panic!("{e}")));
    loaded.err().into_iter().flatten().map(|fault| fault.to_string()).collect()
}
