//! Who may read whose records.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::{ALL, AUDITORS, audited, auditor, items, lived_in, owner, read, scoped};
use crate::gateway::{TestGateway, payments};
use crate::keys::{claims, token};

/// Puts other policies of the auditors, and a further forbid, into force.
fn put(gateway: &TestGateway, policies: &str, forbid: &str) {
    let folder = gateway.folder.path().join("policies");
    fs::write(folder.join(format!("teams/{AUDITORS}.cedar")), policies).expect("written");
    let global = folder.join("global.cedar");
    let text = fs::read_to_string(&global).expect("read");
    let shipped = text.split("// Of the test").next().expect("all of it");
    fs::write(&global, format!("{shipped}// Of the test\n{forbid}")).expect("written");
    gateway.reloader.reload().unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn policy_says_who_reads_whose_records() {
    let gateway = audited("");
    lived_in(&gateway);
    let permit = |id: &str, rest: &str| {
        format!(
            r#"@id("{id}") permit (principal in Team::"{AUDITORS}", action == Action::"ViewAudit", {rest};"#
        )
    };
    let own = permit("own", r#"resource == Team::"shop-audit")"#);
    let two = permit("two", r#"resource) when { resource in [Team::"payments", Team::"@gateway"] }"#);
    let scope = permit("scope", r#"resource) when { context.scopes.contains("zengate:audit") }"#);
    let gone = permit("gone", r#"resource == Team::"gone")"#);
    let resets = ALL.replace("ViewAudit", "ViewReset");
    let everything = ALL.replace(r#"action == Action::"ViewAudit""#, "action");
    let no_gateway =
        r#"@id("no") forbid (principal, action == Action::"ViewAudit", resource == Team::"@gateway");"#;
    let errs = r#"@id("errs") forbid (principal, action == Action::"ViewAudit", resource)
        when { context.local.hour + 9223372036854775807 > 0 };"#;
    let all = &["@gateway", "payments", AUDITORS, "web"][..];
    for (row, policies, forbid, token, owners) in [
        ("no permit", "", "", auditor(), None),
        ("a permit for resets", resets.as_str(), "", auditor(), None),
        ("without a constraint", ALL, "", auditor(), Some(all)),
        ("of every action", &everything, "", auditor(), Some(all)),
        ("its own alone", &own, "", auditor(), Some(&[AUDITORS][..])),
        ("two that it names", &two, "", auditor(), Some(&["@gateway", "payments"])),
        ("a scope, with it", &scope, "", scoped(), Some(all)),
        ("a scope, without it", &scope, "", auditor(), None),
        ("a team that has no records", &gone, "", auditor(), Some(&[])),
        ("a forbid", ALL, no_gateway, auditor(), Some(&["payments", AUDITORS, "web"])),
        ("a policy that cannot be evaluated", ALL, errs, auditor(), None),
        ("a permit of another team's", ALL, "", payments(), None),
    ] {
        put(&gateway, policies, forbid);
        let answer = read(&gateway, &token, "limit=200");
        match owners {
            None => assert_eq!(answer.problem(), "forbidden", "{row}: {answer:?}"),
            Some(owners) => {
                let read: BTreeSet<String> = items(&answer).iter().map(owner).collect();
                // Its own records come with its refusals.
                let expected: BTreeSet<String> = owners.iter().map(|&owner| owner.to_owned()).collect();
                assert_eq!(read, expected, "{row}");
            }
        }
        for of in ["@gateway", "payments", AUDITORS, "web", "gone"] {
            let answer = read(&gateway, &token, &format!("ofTeam={of}"));
            let may = owners.is_some_and(|owners| match row {
                "a team that has no records" => of == "gone",
                _ => owners.contains(&of) || (of == "gone" && owners.contains(&"web")),
            });
            if may {
                assert!(items(&answer).iter().all(|item| owner(item) == of), "{row}: {of}");
                assert_eq!(items(&answer).is_empty(), of == "gone", "{row}: {of}");
            } else {
                assert_eq!(answer.problem(), "forbidden", "{row}: {of}: {answer:?}");
                let detail = "No policy permits the acting team to read these records.";
                assert_eq!(answer.json()["detail"], detail, "{row}: the same words for any");
            }
        }
    }
    assert!(gateway.metric("zengate_policy_errors_total") >= 1.0);
}

#[test]
fn what_is_not_permitted_is_put_on_record_and_so_is_every_read() {
    let gateway = audited(ALL);
    let refused = read(&gateway, &payments(), "ofTeam=web&kind=refused&limit=7");
    assert_eq!(refused.problem(), "forbidden");
    let record = gateway.records_of("refused", 1).remove(0);
    for (field, value) in [
        ("action", json!("ViewAudit")),
        ("team", json!("payments")),
        ("subject", json!("alice")),
        ("refused", json!("policy")),
        ("filter", json!("kind=refused&ofTeam=web")),
    ] {
        assert_eq!(record[field], value, "{field}: {record}");
    }
    assert_eq!(read(&gateway, &auditor(), "limit=0").problem(), "invalid-request");
    assert_eq!(items(&read(&gateway, &auditor(), "user=corp|alice")).len(), 1);
    assert!(!items(&read(&gateway, &auditor(), "")).is_empty());
    let reads = gateway.records_of("read", 2);
    assert_eq!(
        (&reads[0]["action"], &reads[0]["team"], &reads[0]["subject"], &reads[0]["filter"]),
        (&json!("ViewAudit"), &json!(AUDITORS), &json!("audrey"), &json!("user=corp%7Calice"))
    );
    assert!(reads[1].get("filter").is_none(), "nothing was asked for: {}", reads[1]);
    assert!(reads[1]["requestId"].is_string() && reads[1]["clientAddress"].is_string());
    let shown = items(&read(&gateway, &auditor(), "kind=read"));
    assert_eq!(shown.len(), 2, "reads are records like any: {shown:#?}");
}

#[test]
fn a_page_is_decided_when_it_is_asked_for() {
    let gateway = audited(ALL);
    lived_in(&gateway);
    let first = read(&gateway, &auditor(), "limit=2").json();
    let cursor = first["nextCursor"].as_str().expect("there are more").to_owned();
    let next = |token: &str| read(&gateway, token, &format!("limit=2&cursor={cursor}"));
    assert_eq!(items(&next(&auditor())).len(), 2);
    assert_eq!(next(&payments()).problem(), "forbidden", "a cursor is no leave");
    let narrow = ALL.replace(", resource)", r#", resource == Team::"web")"#);
    put(&gateway, &narrow, "");
    assert!(items(&next(&auditor())).iter().all(|item| owner(item) == "web"), "less may be read now");
    put(&gateway, "", "");
    assert_eq!(next(&auditor()).problem(), "forbidden", "and now nothing");
}

#[test]
fn whoever_acts_for_no_team_reads_nothing() {
    let gateway = audited(ALL);
    let nobody = token(&claims("carol", json!([])));
    assert_eq!(read(&gateway, &nobody, "").problem(), "forbidden");
    let several = token(&claims("dave", json!(["web", AUDITORS])));
    assert_eq!(read(&gateway, &several, "").places(), ["team"]);
    assert_eq!(read(&gateway, &several, "team=web").problem(), "forbidden");
    assert!(!items(&read(&gateway, &several, &format!("team={AUDITORS}"))).is_empty());
}
