//! The page of /docs in a real browser.

use std::process::Stdio;

use crate::support::{Gateway, Simulator, configured, in_browser, payments};

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
    let address = format!("http://{}", gateway.address);
    assert_eq!(in_browser("docs.mjs", &[&address, &payments()], folder.path()), SEEN);
}
