//! The API against its own specification: schemathesis makes requests of it, good and bad, follows its links, and judges
//! every answer.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{FREE, Gateway, Simulator, configure, configured, payments, python, root, said};

/// Free as well: what it makes up is not there.
const LOOKUPS: &str = "[inventory]\nlookups = { requests = 1000000, period_seconds = 1, burst = 1000000 }\n\
    caller_lookups = { requests = 1000000, period_seconds = 1, burst = 1000000 }\n";

/// So that the trail's pages are judged too.
const MAY_READ_THE_TRAIL: &str = "\n@id(\"audit\")\npermit (principal in Team::\"payments\", action == Action::\"ViewAudit\", resource);\n";

#[test]
fn every_answer_is_as_the_specification_says() {
    let folder = tempfile::tempdir().expect("a folder");
    // As the examples of the specification name them.
    let simulator = Simulator::named((1..=5).map(|n| format!("pay-000{n}")));
    let laid_out = configured(&simulator);
    configure(laid_out.path(), LOOKUPS);
    let policies = laid_out.path().join("policies");
    fs::write(policies.join("limits.toml"), FREE).expect("written");
    let team = policies.join("teams/payments.cedar");
    let text = fs::read_to_string(&team).expect("read");
    fs::write(&team, text + MAY_READ_THE_TRAIL).expect("written");
    let gateway = Gateway::start(laid_out.path(), Stdio::null(), |command| command);

    let report = folder.path().join("report.json");
    let mut command = python();
    command.args(["-m", "schemathesis.cli", "run", &format!("http://{}/openapi.json", gateway.address)]);
    command.args(["--header", &format!("Authorization: Bearer {}", payments()), "--checks", "all"]);
    command.args(["--seed", "1", "--max-examples", "20", "--continue-on-failure", "--no-color"]);
    command.args(["--report", "json", "--report-json-path"]).arg(&report);
    // Its hooks are a module beside this file; what it keeps of a run goes with the folder.
    let modules = root("tests/process");
    command.env("SCHEMATHESIS_HOOKS", "contract_hooks").env("PYTHONPATH", modules);
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder.path());
    let output = command.output().expect("Python runs");
    assert!(output.status.success(), "{}", said(&output));

    let report: Value = serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON");
    let specified = zengate::api::ROUTES.iter().filter(|route| route.pattern.starts_with("/v1/")).count();
    assert_eq!(report["operations"]["tested"], specified, "{report:#}");
    assert!(report["test_cases"]["generated"].as_u64() > Some(500), "{report:#}");
    for phase in ["examples", "coverage", "fuzzing", "stateful"] {
        assert_eq!(report["phases"][phase]["status"], "success", "{phase}: {report:#}");
    }
    for (operation, told) in report["valid_rates"].as_object().expect("each operation") {
        let accepted = |phase: &Value| phase["accepted"].as_u64().unwrap_or_default();
        let accepted: u64 = told.as_object().into_iter().flatten().map(|(_, phase)| accepted(phase)).sum();
        // An id that is there comes by a link alone.
        assert!(accepted > 0 || operation.ends_with("/{id}"), "{operation} never answered well: {report:#}");
    }
    let followed =
        |line: &str| line.trim().strip_prefix("API Links:")?.split_whitespace().next()?.parse().ok();
    let followed: Option<u32> = said(&output).lines().find_map(followed);
    assert!(followed >= Some(4), "links are followed: {}", said(&output));
}
