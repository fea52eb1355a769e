//! TLS towards Zenlayer: verified by the configured authority, and never not verified.

use crate::gateway::{Setup, TestGateway, payments};
use crate::tls::{authority, terminator};

#[test]
fn zenlayer_is_reached_only_under_a_certificate_of_the_configured_authority() {
    let (ca, config) = authority();
    let (stranger, _) = authority();
    // Where the terminators are is known only once a simulator runs: a first gateway lends its own.
    let lender = TestGateway::spawn();
    let address = terminator(config, lender.simulator.addr());
    for (row, pem, host, status) in [
        ("the authority", &ca, "localhost", 201),
        ("another authority", &stranger, "localhost", 503),
        ("another name", &ca, "127.0.0.1", 503),
    ] {
        let file = lender.folder.path().join("ca.pem");
        std::fs::write(&file, pem).expect("written");
        let url = format!("https://{host}:{}", address.port());
        let file = file.display().to_string();
        let gateway = TestGateway::with(Setup {
            overrides: &[("ZENGATE__UPSTREAM__URL", &url), ("ZENGATE__UPSTREAM__CA_FILE", &file)],
            ..Setup::default()
        });
        let told = gateway.reset(&payments(), "pay-1");
        assert_eq!(told.status, status, "{row}: {told:?}");
        let told =
            gateway.metric(r#"zengate_upstream_requests_total{action="DescribeInstances",outcome="ok"}"#);
        assert_eq!(told > 0.0, status == 201, "{row}: {told} answers");
    }
    assert_eq!(lender.resets_sent(), 1, "only the verified one was sent");
}
