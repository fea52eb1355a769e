//! The examples of docs/api.md that say `run` are run as they stand there, against a real gateway.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{
    FREE, Gateway, Simulator, configured, node_modules, payments, python, root, said, tool,
};

/// The language and the text of each block whose first line says `run`.
fn examples() -> Vec<(String, String)> {
    let page = fs::read_to_string(root("docs/api.md")).expect("read");
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```").and_then(|info| info.strip_suffix(" run")) {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), text.join("\n")));
        }
    }
    blocks
}

fn command(language: &str, text: &str, folder: &Path) -> Command {
    let file = |name: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("written");
        path
    };
    match language {
        "sh" => {
            let mut command = Command::new("sh");
            command.arg("-eu").arg(file("example.sh"));
            command
        }
        "python" => {
            let mut command = python();
            command.arg(file("example.py"));
            command
        }
        "ts" => {
            compiled(&file("example.mts"));
            let mut command = tool("ZENGATE_TEST_NODE", "node");
            command.arg(folder.join("example.mjs"));
            command
        }
        other => panic!("nobody runs {other} here"),
    }
}

/// Checked strictly, so that it says what it means to a reader's compiler too.
fn compiled(file: &Path) {
    let mut tsc = tool("ZENGATE_TEST_NODE", "node");
    tsc.arg(node_modules().join("typescript/bin/tsc"));
    tsc.args(["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]);
    // What Node.js declares beyond a browser, as far as the example has it.
    let node = file.with_file_name("node.d.mts");
    fs::write(
        &node,
        "declare global { const process: { env: Record<string, string | undefined> } }\nexport {};\n",
    )
    .expect("written");
    let output = tsc.arg(file).arg(node).output().expect("runs");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_examples_run_as_they_stand() {
    let instance = |n: usize| {
        json!({ "instanceId": format!("pay-{n:04}"), "status": "RUNNING", "enableAgent": true,
            "tags": { "tags": [{ "key": "team", "value": "payments" }] } })
    };
    let folder = tempfile::tempdir().expect("a folder");
    let instances = folder.path().join("instances.json");
    fs::write(&instances, (1..=5).map(instance).collect::<Value>().to_string()).expect("written");
    let simulator = Simulator::with(&instances);
    let laid_out = configured(&simulator);
    fs::write(laid_out.path().join("policies/limits.toml"), FREE).expect("written");
    let gateway = Gateway::start(laid_out.path(), Stdio::null(), |command| command);
    let examples = examples();
    let of = |language: &str| examples.iter().filter(|(own, _)| own == language).count();
    assert!(of("sh") >= 2 && of("python") == 1 && of("ts") == 1, "{examples:#?}");
    for (language, text) in &examples {
        let before = resets(&simulator);
        let output: Output = command(language, text, folder.path())
            .env("GATEWAY", format!("http://{}", gateway.address))
            .env("TOKEN", payments())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{language}: {text}\n{}", said(&output));
        let told = said(&output);
        let made = resets(&simulator) - before;
        match language.as_str() {
            "sh" if text.contains("dryRun=true") => {
                assert_eq!(made, 0);
                assert!(told.contains(r#""allowed":true"#), "{told}");
            }
            "sh" => {
                assert_eq!(made, 1);
                assert!(told.contains(r#""status":"accepted""#), "{told}");
            }
            _ => {
                assert_eq!(made, 3, "one, and a batch of two: {told}");
                assert!(told.contains("accepted") && told.contains('2'), "{told}");
            }
        }
    }
}

fn resets(simulator: &Simulator) -> u64 {
    let instances = simulator.get("instances")["instances"].as_array().cloned().expect("a list");
    instances.iter().map(|instance| instance["resets"].as_u64().expect("a number")).sum()
}
