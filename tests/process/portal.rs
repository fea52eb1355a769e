//! The page of examples/portal in a real browser, between a real OpenID provider and a gateway of another origin.

use std::fs;

use serde_json::{Value, json};

use crate::ports::free_port;
use crate::provider::{Provider, served};
use crate::support::{Simulator, configured, in_browser};

/// What the browser did and saw, a line each.
const SEEN: &str = "\
signed in: S256, state and nonce; no code in the URL, nothing in storage
listed: by cursor, with what a reset would meet; a name that is markup is a text
teams: each its own instances
generated: shown once, copied, and the one that Zenlayer holds
typed: the one that Zenlayer holds
refused: a missing ticket, and the policy that asks for it
refused: too early, and when to try again
refused: a batch, and which of it
batch: sealed, followed to its end, and opened here
in doubt: the password is told with a 504; no answer and no sign-in are told apart
history: by status
renewed: the access token, by a refresh token in memory
confined: no other origin asked, no markup made of texts
forgotten: no password and no token in storage or in any URL
signed out: nothing is left, and an answer that was not asked for is not taken
a stranger's page: reads nothing
";

fn instance(id: &str, team: &str, more: &Value) -> Value {
    let mut tags = vec![json!({"key": "team", "value": team})];
    tags.extend(more["tag"].as_object().into_iter().flatten().map(|(k, v)| json!({"key": k, "value": v})));
    let text = |name: &str, usual: &str| more[name].as_str().unwrap_or(usual).to_owned();
    json!({ "instanceId": id, "instanceName": text("name", &format!("{team}-db")), "zoneId": "asia-east-1a",
        "status": text("status", "RUNNING"), "enableAgent": true, "privateIpAddresses": ["10.0.0.10"],
        "resourceGroupId": format!("rg-{team}"), "tags": {"tags": tags} })
}

#[test]
fn a_page_of_another_origin_resets_and_keeps_no_password() {
    let instances = json!([
        instance("pay-01", "payments", &json!({})),
        instance("pay-02", "payments", &json!({})),
        instance("pay-03", "payments", &json!({"name": "<img src=x onerror=alert(1)>"})),
        instance("pay-04", "payments", &json!({})),
        instance("pay-05", "payments", &json!({})),
        instance("pay-06", "payments", &json!({})),
        instance("pay-07", "payments", &json!({"tag": {"env": "prod"}})),
        instance("pay-08", "payments", &json!({"status": "STOPPED"})),
        instance("pay-09", "payments", &json!({"tag": {"zengate": "frozen"}})),
        instance("web-01", "web", &json!({"tag": {"env": "dev"}})),
    ]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, instances.to_string()).expect("written");
    let simulator = Simulator::with(file.path());
    let folder = configured(&simulator);
    let port = free_port();
    let origin = format!("http://127.0.0.1:{port}");
    let provider = Provider::of_a_page(folder.path(), &format!("{origin}/"));
    let gateway = served(folder.path(), &provider, &format!("[cors]\nallowed_origins = [\"{origin}\"]"));

    let places = json!({ "port": port, "gateway": format!("http://{}", gateway.address),
        "issuer": provider.issuer, "simulator": simulator.url });
    assert_eq!(in_browser("portal.mjs", &[&places.to_string()], folder.path()), SEEN);
}
