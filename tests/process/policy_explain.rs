//! `zengate policy explain`.

use std::fs;
use std::process::{Output, Stdio};

use serde_json::json;

use crate::http::call;
use crate::keys::{claims, token};
use crate::support::{Gateway, Simulator, beside, configured, root, said, zengate};

fn explain(arguments: &[&str]) -> Output {
    zengate().args(["policy", "explain"]).args(arguments).output().expect("runs")
}

/// By the shipped folder and the simulator's instances, without a configuration.
fn by_hand(arguments: &[&str]) -> Output {
    let policies = root("policies");
    let mut command = zengate();
    command.args(["policy", "explain", "--policies"]).arg(policies);
    command.arg("--inventory").arg(beside("instances.json"));
    command.args(arguments).output().expect("runs")
}

/// The lines of the output that stand below `head`.
fn block(output: &Output, head: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().skip_while(|line| *line != head).skip(1);
    let lines: Vec<_> = lines.take_while(|line| line.starts_with(' ')).collect();
    assert!(!lines.is_empty(), "{head} in {}", said(output));
    lines.join("\n")
}

#[test]
fn a_decision_is_explained_policy_by_policy() {
    let at = "2026-11-24T09:00:00+01:00";
    let output =
        by_hand(&["--team", "web", "--instance", "ins-b", "--at", at, "--user", "corp|bob", "--ticket"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let question = block(&output, "question");
    for line in [
        "team       web",
        "user       corp|bob",
        "tue 08:00 in UTC",
        "ticket     given",
        "password   the caller's",
    ] {
        assert!(question.contains(line), "{line} in {question}");
    }
    assert!(block(&output, "instance ins-b").contains("\n  group      rg-web\n  tags       team=web"));
    let answer = block(&output, "answer");
    assert!(answer.contains("decision   deny   since no permit fits"), "{answer}");
    assert!(answer.contains("may view   yes, by web/view-own: a refusal says why"), "{answer}");
    assert_eq!(
        block(&output, "policies that speak of ResetPassword, in the order of their files"),
        r#"  forbid global/frozen: does not apply
    true   action == Action::"ResetPassword"
    false  resource.hasTag("zengate")
    -      resource.getTag("zengate") == "frozen"
  forbid global/production-needs-a-ticket: does not apply
    true   action == Action::"ResetPassword"
    false  resource.hasTag("env")
    -      resource.getTag("env") == "prod"
    false  !(context.ticketGiven)
    true   !(context.scopes.contains("zengate:break-glass"))
  permit web/reset-own-outside-production: does not apply
    true   principal in Team::"web"
    true   action == Action::"ResetPassword"
    true   resource in ResourceGroup::"rg-web"
    false  resource.hasTag("env")
    -      resource.getTag("env") != "prod""#
    );
    assert_eq!(by_hand(&["--team", "payments", "--instance", "ins-a"]).status.code(), Some(0));
    let own = by_hand(&["--team", "web", "--action", "ViewReset", "--owner", "web"]);
    assert_eq!(own.status.code(), Some(0), "{}", said(&own));
    assert!(said(&own).contains("decision   allow  without a permit"), "{}", said(&own));
    let missing = by_hand(&["--team", "web", "--instance", "ins-x"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("ins-x: there is no such instance, so all of it is unknown\n"));
}

#[test]
fn a_team_that_the_folder_does_not_know_is_said() {
    let output = by_hand(&["--team", "wbe", "--instance", "ins-b"]);
    let question = block(&output, "question");
    assert!(question.contains("team       wbe: the folder has no policies of it\n"), "{question}");
}

#[test]
fn arguments_that_do_not_fit_together_are_bad_usage() {
    for arguments in [
        &[][..],
        &["--team", "web"],
        &["--team", "web", "--owner", "web"],
        &["--team", "web", "--action", "ViewAudit", "--instance", "ins-a"],
        &["--team", "web", "--action", "ViewReset", "--owner", "@gateway"],
        &["--team", "web", "--action", "ViewInstance", "--instance", "ins-a", "--ticket"],
        &["--team", "web", "--instance", "ins-a", "--action", "Reset"],
        &["--team", "web", "--instance", "ins-a", "--user", "alice"],
        &["--team", "web", "--instance", "ins-a", "--at", "noon"],
        &["--team", "web", "--instance", "ins-a", "--batch-size", "101"],
        &["some-id", "--team", "web"],
    ] {
        let output = by_hand(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn what_was_decided_is_compared_with_what_would_be_now() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let config = folder.path().join("zengate.toml");
    let text = fs::read_to_string(&config).expect("read");
    let scopes = "may_assert_teams = [\"payments\"]\nmay_assert_scopes = [\"zengate:break-glass\"]";
    fs::write(&config, text.replace("may_assert_teams = [\"payments\"]", scopes)).expect("written");
    let config = config.to_str().expect("text");
    let gateway = Gateway::start(folder.path(), Stdio::null(), |command| command);
    let made = gateway.reset("ins-a", "Abcd~1234").json();
    let id = made["id"].as_str().expect("an id").to_owned();
    let mut claims = claims("bob", json!(["payments"]));
    claims["scope"] = json!("zengate:break-glass");
    let body = json!({ "generate": true, "ticket": "OPS-1" }).to_string();
    let path = "/v1/instances/ins-b/password-resets";
    let refused = call(gateway.address, "POST", path, Some(&token(&claims)), Some(&body));
    assert_eq!(refused.status, 403);
    let request = refused.header("x-request-id").expect("an id").to_owned();

    let past = |id: &str| explain(&[id, "--config", config]);
    let output = past(&id);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = said(&output);
    for line in [
        "recorded: intent at ",
        &format!("  reset      {id}\n"),
        "  user       corp|alice\n",
        "  decision   allow  by payments/reset-own\n",
        "  outcome    accepted at ",
        "  password   the caller's\n  batch size not on record, taken as 1\n",
        "  name       Payments-db-1\n",
        "  may view   yes, by payments/view-own: a refusal says why\n",
        "compared with the record\n  revision   the same\n  decision   the same\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let by_request = past(made["requestId"].as_str().expect("an id"));
    assert_eq!(said(&by_request), text, "a reset is found by its call too");

    let output = wait_for_record(&request, &past);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    for line in [
        "recorded: refused at ",
        "  ticket     OPS-1\n",
        "  decision   deny   since no permit fits, or a policy could not be evaluated\n",
        "  refused    policy\n",
        "  scopes     zengate:break-glass\n",
        "  ticket     given\n",
        "  password   generated\n  batch size",
        "  may view   no, since no permit fits: a refusal does not say why\n",
        "    false  resource.getTag(\"team\") == \"payments\"\n",
        "  decision   the same\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }

    let global = folder.path().join("policies/global.cedar");
    let forbid = "@id(\"alice\") forbid (principal == User::\"corp|alice\", action, resource);";
    let text = fs::read_to_string(&global).expect("read");
    fs::write(&global, text + forbid).expect("written");
    let output = past(&id);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("  decision   deny   by global/alice\n"), "{text}");
    assert!(
        text.contains(
            ": the policies have changed since\n  decision   was another: allow  by payments/reset-own\n"
        ),
        "{text}"
    );

    fs::write(
        folder.path().join("policies/blocks.toml"),
        "clients = [\"corp|x\"]\nsubjects = [\"corp|bob\"]",
    )
    .expect("written");
    assert!(
        said(&past(&request)).contains("  blocked    blocks.toml stops this caller"),
        "{}",
        said(&past(&request))
    );
    let unknown = past("00000000-0000-7000-8000-000000000000");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("has no decision on 00000000-"), "{}", said(&unknown));
}

/// Refusals are recorded without anyone waiting.
fn wait_for_record(id: &str, past: &impl Fn(&str) -> Output) -> Output {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let output = past(id);
        if !output.stdout.is_empty() {
            return output;
        }
        assert!(std::time::Instant::now() < until, "{}", said(&output));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
