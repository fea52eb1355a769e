//! The page of /docs in a real browser.

use std::process::Stdio;

use crate::support::{Gateway, Simulator, beside, configured, node_modules, payments, said, tool};

/// What the browser did and saw, a line each.
const SEEN: &str = "\
tried: /v1/whoami, with a token
asked: the gateway alone
kept: no cookie, no storage
confined: nothing goes elsewhere, nobody frames it
";

#[test]
fn the_page_asks_the_gateway_alone_and_keeps_nothing() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let output = tool("ZENGATE_TEST_NODE", "node")
        .arg(beside("docs.mjs"))
        .arg(node_modules())
        .arg(tool("ZENGATE_TEST_CHROMIUM", "/usr/bin/chromium").get_program())
        .args([format!("http://{}", gateway.address), payments()])
        // Where the browser has its profile.
        .env("TMPDIR", folder.path())
        .output()
        .expect("Node runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), SEEN);
}
