//! What a caller may offer, and what is answered.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::version::{TLS12, TLS13};

use super::{Listener, certificate_of, pair, rename, reset};
use crate::gateway::TestGateway;
use crate::keys::pem;
use crate::tls::{Authority, Pair, connect};

const NOT_AFTER: &str = "zengate_tls_certificate_not_after_timestamp_seconds";

/// All that the other side says until it closes, and how long that took.
fn until_closed(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let (began, mut said) = (Instant::now(), Vec::new());
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(bytes).expect("written");
    // It may be a reset in place of an end.
    let ended = stream.read_to_end(&mut said);
    assert!(!ended.is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "it is not closed");
    (said, began.elapsed())
}

/// A ClientHello of TLS 1.1 (RFC 4346): one suite, no extensions.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    hello
}

#[test]
fn a_reset_goes_over_tls_1_3_and_1_2_and_over_nothing_else() {
    let authority = Authority::new();
    let listener = Listener::with(&pair(&authority), authority);
    let (address, stranger) = (listener.gateway.address, Authority::new());
    for (version, instance) in [(&TLS13, "pay-1"), (&TLS12, "pay-2")] {
        for protocols in [&[][..], &["h2", "http/1.1"]] {
            let client = listener.authority.client(version, protocols);
            let mut connection = connect(address, client).expect("a handshake");
            let chosen = connection.conn.alpn_protocol().map(<[u8]>::to_vec);
            assert_eq!(chosen, (!protocols.is_empty()).then(|| b"http/1.1".to_vec()), "{version:?}");
            let answer = reset(&mut connection, instance);
            assert_eq!(answer.status, 201, "{version:?}: {answer:?}");
        }
        let refused = connect(address, listener.authority.client(version, &["h2"]));
        assert!(
            refused.is_err_and(|e| e.to_string().contains("NoApplicationProtocol")),
            "{version:?}: h2 alone"
        );
        let refused = connect(address, stranger.client(version, &[]));
        assert!(refused.is_err_and(|e| e.to_string().contains("invalid peer certificate")), "{version:?}");
    }
    let (said, _) = until_closed(address, &hello_of_tls_1_1());
    assert_eq!((said.len(), said[0], said[5]), (7, 0x15, 2), "one fatal alert: {said:?}");
    let (said, _) = until_closed(address, b"GET /v1/whoami HTTP/1.1\r\nhost: gateway\r\n\r\n");
    assert_eq!((said.len(), said[0], said[5]), (7, 0x15, 2), "the same, and no HTTP: {said:?}");
    assert_eq!(listener.gateway.resets_sent(), 4);
}

#[test]
fn a_key_of_each_kind_and_form_serves() {
    let authority = Authority::new();
    let listener = Listener::with(&pair(&authority), authority);
    let [rsa, ec, ed] = [&PKCS_RSA_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519]
        .map(|kind| KeyPair::generate_for(kind).expect("a key"));
    // What is within the PKCS#8 of a 2048-bit key begins behind 26 bytes (RFC 5958, RFC 8017 A.1.2).
    let pkcs1 = pem("RSA PRIVATE KEY", &rsa.serialized_der()[26..]);
    let private =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, ec.serialized_der()).expect("a key");
    let sec1: EcPrivateKeyRfc5915Der<'_> = private.private_key().as_der().expect("a key");
    // `openssl ecparam -genkey` writes the curve before the key.
    let sec1 = pem("EC PARAMETERS", &[6, 5, 43, 129, 4, 0, 34]) + &pem("EC PRIVATE KEY", sec1.as_ref());
    for (row, kind, form) in [
        ("RSA, PKCS#8", &rsa, rsa.serialize_pem()),
        ("RSA, PKCS#1", &rsa, pkcs1),
        ("ECDSA, PKCS#8", &ec, ec.serialize_pem()),
        ("ECDSA, SEC1", &ec, sec1),
        ("Ed25519, PKCS#8", &ed, ed.serialize_pem()),
    ] {
        let pair = Pair { key: form, ..listener.authority.pair(kind, 2100) };
        rename(listener.folder.path(), &pair);
        listener.gateway.reloader.reload().expect("the policies are good");
        for version in [&TLS13, &TLS12] {
            let client = listener.authority.client(version, &[]);
            let connection = connect(listener.gateway.address, client).expect(row);
            assert_eq!(certificate_of(&connection), pair.der, "{row}");
        }
    }
}

#[test]
fn an_expired_certificate_serves_and_its_metric_tells() {
    let authority = Authority::new();
    let old = authority.pair(&KeyPair::generate().expect("a key"), 2020);
    let listener = Listener::with(&old, authority);
    assert_eq!(listener.gateway.metric(NOT_AFTER), 1_609_372_800.0, "2020-12-31");
    let refused = listener.connect();
    assert!(refused.is_err_and(|e| e.to_string().contains("certificate expired")));
    let plain = TestGateway::spawn();
    assert!(!plain.metrics().contains("zengate_tls_"), "no alert where there is no certificate");
}

#[test]
fn a_handshake_that_hangs_is_closed() {
    let authority = Authority::new();
    let listener = Listener::with(&pair(&authority), authority);
    let address = listener.gateway.address;
    let half = &hello_of_tls_1_1()[..20];
    std::thread::scope(|scope| {
        for bytes in [&[][..], half] {
            scope.spawn(move || {
                let (said, took) = until_closed(address, bytes);
                assert!(said.is_empty(), "{said:?}");
                let bounds = Duration::from_millis(2500)..Duration::from_secs(6);
                assert!(bounds.contains(&took), "{took:?}");
            });
        }
        assert_eq!(
            reset(&mut listener.connect().expect("a handshake"), "pay-1").status,
            201,
            "others are served"
        );
    });
}
