pub(super) mod properties;

use std::path::Path;

use super::*;
use crate::authn::{Call, Identity, Origin};
use crate::domain::{Batch, NewPassword, Password, ResetRequest};
use crate::inventory::{Agent, Attributes, Tag};

const SCHEMA: &str = include_str!("../../policies/schema.cedarschema");

/// A revision whose global policy and limits are given; it permits nothing.
pub(crate) fn revision_with(global_id: &str, limits: &str) -> PolicyRevision {
    let global = format!("@id(\"{global_id}\") forbid (principal, action, resource);");
    load(&global, &[], limits).unwrap_or_else(|e| panic!("{e}"))
}

pub(super) fn load(
    global: &str,
    teams: &[(&str, &str)],
    limits: &str,
) -> Result<PolicyRevision, PolicyFaults> {
    PolicyRevision::load(folder(global, teams, limits).path())
}

fn folder(global: &str, teams: &[(&str, &str)], limits: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    std::fs::create_dir(folder.path().join("teams")).expect("made");
    write("schema.cedarschema", SCHEMA);
    write("global.cedar", global);
    write("limits.toml", limits);
    teams.iter().for_each(|(team, text)| write(&format!("teams/{team}.cedar"), text));
    folder
}

fn policies(global: &str, teams: &[(&str, &str)]) -> Policies {
    Policies::new(load(global, teams, "").unwrap_or_else(|e| panic!("{e}")), TimeZone::UTC, Arc::default())
}

/// A reset by `team` that a policy of its own permits, under these limits.
pub(crate) fn authorized(team: &str, id: &str, limits: &str) -> Authorized {
    authorized_to_set(team, id, limits, typed())
}

pub(crate) fn authorized_to_set(team: &str, id: &str, limits: &str, password: NewPassword) -> Authorized {
    authorized_by(team, id, limits, |call| call.request.password = password)
}

/// An item of a batch.
pub(crate) fn authorized_in_batch(team: &str, id: &str, batch: Batch) -> Authorized {
    authorized_by(team, id, "", |call| call.request.batch = Some(batch))
}

/// The same, of a call that is changed before.
pub(crate) fn authorized_by(
    team: &str,
    id: &str,
    limits: &str,
    change: impl FnOnce(&mut Call),
) -> Authorized {
    let permit = format!(r#"@id("all") permit (principal in Team::"{team}", action, resource);"#);
    let revision = load("", &[(team, &permit)], limits).unwrap_or_else(|e| panic!("{e}"));
    let mut call = call(team, false);
    call.request.instance = id.parse().expect("an id");
    change(&mut call);
    let seen = Seen::for_test(call, Some(Attributes::unknown(id.parse().expect("an id"))));
    Policies::new(revision, TimeZone::UTC, Arc::default()).authorize(seen).expect("permitted")
}

fn shipped() -> Policies {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    Policies::new(
        PolicyRevision::load(&folder).unwrap_or_else(|e| panic!("{e}")),
        TimeZone::UTC,
        Arc::default(),
    )
}

fn call(team: &str, ticket: bool) -> Call {
    let identity = Identity::for_test("alice", &[team]);
    Call {
        principal: identity.acting_for(None).expect("one team"),
        request: ResetRequest {
            instance: "ins-a".parse().expect("an id"),
            password: typed(),
            reason: None,
            ticket: ticket.then(|| "OPS-1".parse().expect("a ticket")),
            batch: None,
        },
        key: None,
        origin: origin(),
    }
}

fn typed() -> NewPassword {
    NewPassword::Typed(Password::parse("Abcd~1234".to_owned()).expect("a password").into())
}

pub(crate) fn origin() -> Origin {
    Origin {
        request_id: crate::domain::RequestId::generate(),
        trace: None,
        address: "192.0.2.7".parse().expect("an address"),
        user_agent: None,
        at: "2026-11-24T12:00:00Z".parse().expect("a time"),
        arrived: std::time::Instant::now(),
    }
}

pub(super) fn instance(group: Option<&str>, tags: &[(&str, &str)]) -> Attributes {
    let mut attributes = Attributes::unknown("ins-a".parse().expect("an id"));
    attributes.status = "RUNNING".into();
    attributes.resource_group = group.map(Into::into);
    attributes.tags = tags.iter().map(|(k, v)| Tag { key: (*k).into(), value: (*v).into() }).collect();
    attributes
}

fn decide(
    policies: &Policies,
    call: Call,
    attributes: Option<Attributes>,
) -> Result<Vec<String>, Box<Denied>> {
    policies.authorize(Seen::for_test(call, attributes)).map(|authorized| authorized.policies().to_vec())
}

#[test]
fn the_shipped_policies_decide_as_they_say() {
    let policies = shipped();
    let (mine, theirs) = ([("team", "payments")], [("team", "web")]);
    let frozen = [("team", "payments"), ("zengate", "frozen")];
    let production = [("team", "payments"), ("env", "prod")];
    let (dev, prod) = ([("env", "dev")], [("env", "prod")]);
    for (row, team, ticket, attributes, permitted) in [
        ("own", "payments", false, instance(None, &mine), Some("payments/reset-own")),
        ("another team's", "payments", false, instance(None, &theirs), None),
        ("untagged", "payments", false, instance(None, &[]), None),
        ("frozen", "payments", true, instance(None, &frozen), None),
        ("production without a ticket", "payments", false, instance(None, &production), None),
        (
            "production with a ticket",
            "payments",
            true,
            instance(None, &production),
            Some("payments/reset-own"),
        ),
        ("own group", "web", false, instance(Some("rg-web"), &dev), Some("web/reset-own-outside-production")),
        ("own group, production", "web", true, instance(Some("rg-web"), &prod), None),
        ("own group, untagged", "web", false, instance(Some("rg-web"), &[]), None),
        ("no group", "web", false, instance(None, &dev), None),
        ("a team without a file", "unheard-of", false, instance(Some("rg-web"), &mine), None),
    ] {
        let decided = decide(&policies, call(team, ticket), Some(attributes));
        assert_eq!(decided.ok(), permitted.map(|id| vec![id.to_owned()]), "{row}");
    }
}

#[test]
fn a_refusal_is_explained_only_to_who_may_view_the_instance() {
    let policies = shipped();
    let explain = |attributes: Option<Attributes>| {
        decide(&policies, call("payments", false), attributes).expect_err("refused").explanation
    };
    let production = instance(None, &[("team", "payments"), ("env", "prod")]);
    let forbidden = Explanation::Forbidden(vec!["global/production-needs-a-ticket".to_owned()]);
    assert_eq!(explain(Some(production)), Some(forbidden));
    assert_eq!(explain(Some(instance(None, &[("team", "web")]))), None);
    assert_eq!(explain(None), None, "a missing instance looks like a foreign one");
    let web =
        decide(&policies, call("web", false), Some(instance(Some("rg-web"), &[]))).expect_err("refused");
    let unmet = Unmet {
        policy: "web/reset-own-outside-production".to_owned(),
        condition: Some("resource.hasTag(\"env\")".to_owned()),
    };
    assert_eq!(web.explanation, Some(Explanation::NoPermit(vec![unmet])));
}

#[test]
fn a_condition_is_shown_exactly_when_its_permit_does_not_fit() {
    let permits = r#"
        @id("one") permit (principal in Team::"a", action == Action::"ResetPassword", resource == Instance::"ins-a");
        @id("name") permit (principal in Team::"a", action in [Action::"ResetPassword", Action::"ViewInstance"], resource) when { resource.name like "pay-*" };
        @id("both") permit (principal in Team::"a", action in [Action::"ResetPassword", Action::"ViewInstance"], resource in ResourceGroup::"rg")
            when { resource.hasTag("env") && resource.getTag("env") == "dev" } when { resource.agent == "PRESENT" };
        @id("unless") permit (principal in Team::"a", action == Action::"ResetPassword", resource is Instance in Zone::"z")
            unless { resource.name == "x" || resource.status == "STOPPED" || !context.reasonGiven };
        @id("window") permit (principal in Team::"a", action == Action::"ResetPassword", resource)
            when { context.local.weekday == Weekday::"tue" && context.local.hour >= 9 && context.local.hour < 12 }
            when { if context.generated then true else context.batchSize <= 1 };
        @id("address") permit (principal in Team::"a", action == Action::"ResetPassword", resource)
            when { context.address.isInRange(ip("10.0.0.0/8")) || context.scopes.containsAny(["x", "y"]) };"#;
    let revision = load("", &[("a", permits)], "").unwrap_or_else(|e| panic!("{e}"));
    let rules = revision.rules(&"a".parse().expect("a name"));
    let (mut fit, mut unfit) = (0, 0);
    for bits in 0..1 << 10_u32 {
        let bit = |n: u32| bits >> n & 1 == 1;
        let mut told = instance(bit(0).then_some("rg"), if bit(1) { &[("env", "dev")] } else { &[] });
        told.id = if bit(2) { "ins-a" } else { "ins-b" }.parse().expect("an id");
        told.name = if bit(3) { "pay-1" } else { "x" }.into();
        told.agent = if bit(4) { Agent::Present } else { Agent::Unknown };
        told.zone = bit(5).then(|| "z".into());
        let asked = Asked {
            reason_given: bit(6),
            generated: bit(7),
            batch_size: if bit(7) { 5 } else { 1 + i64::from(bit(8)) },
            at: if bit(8) { "2026-11-24T09:00:00Z" } else { "2026-11-24T12:00:00Z" }.parse().expect("a time"),
            address: if bit(9) { "::ffff:10.1.1.1" } else { "192.0.2.1" }.parse().expect("an address"),
            ..Asked::by(&call("a", false).principal, &origin())
        };
        let question = Question::of_instance(Action::ResetPassword, &asked, &told, &TimeZone::UTC);
        let answer = Authorizer::new().is_authorized(&question.request, &rules.policies, &question.entities);
        let fitting: Vec<String> = answer.diagnostics().reason().map(ToString::to_string).collect();
        for Unmet { policy, condition } in rules.unmet(Action::ResetPassword, &question) {
            assert_eq!(condition.is_none(), fitting.contains(&policy), "{bits:b}: {policy}: {condition:?}");
            if condition.is_none() { fit += 1 } else { unfit += 1 }
        }
    }
    assert!(fit > 1000 && unfit > 1000, "{fit} fit, {unfit} do not");
}

#[test]
fn a_policy_tells_a_generated_password_from_a_typed_one() {
    let permit = r#"@id("made-up") permit (principal in Team::"a", action == Action::"ResetPassword", resource) when { context.generated };"#;
    let policies = policies("", &[("a", permit)]);
    let ask = |password| {
        let mut call = call("a", false);
        call.request.password = password;
        decide(&policies, call, Some(instance(None, &[]))).is_ok()
    };
    let password = || Password::parse("Abcd~1234".to_owned()).expect("a password").into();
    assert!(!ask(NewPassword::Typed(password())));
    assert!(ask(NewPassword::Generated(password())));
    assert!(ask(NewPassword::Sealed(password(), "jwe".to_owned())));
}

#[test]
fn a_forbid_that_errs_refuses() {
    let permit = r#"@id("all") permit (principal in Team::"a", action, resource);"#;
    let erring = r#"@id("overflow") forbid (principal, action == Action::"ResetPassword", resource)
        when { (if context.reasonGiven then 1 else 2) + 9223372036854775807 == 0 };"#;
    let calm = r#"@id("calm") forbid (principal, action == Action::"ResetPassword", resource) when { context.reasonGiven };"#;
    let good = policies(calm, &[("a", permit)]);
    assert!(decide(&good, call("a", false), Some(instance(None, &[]))).is_ok(), "the permit alone permits");
    let bad = policies(erring, &[("a", permit)]);
    let denied = decide(&bad, call("a", false), Some(instance(None, &[]))).expect_err("refused");
    assert_eq!(denied.explanation, Some(Explanation::Erred));
}

#[test]
fn resets_are_read_by_their_team_unless_forbidden() {
    let auditors = r#"@id("read-payments") permit (principal in Team::"auditors", action == Action::"ViewReset", resource == Team::"payments");"#;
    let open = Arc::new(policies("", &[("auditors", auditors)]));
    let forbid = r#"@id("no") forbid (principal, action == Action::"ViewReset", resource);"#;
    let closed = Arc::new(policies(forbid, &[("auditors", auditors)]));
    let reads = |policies: &Arc<Policies>, team: &str, owner: &str| {
        let owner = owner.parse().expect("a name");
        policies.viewer(&call(team, false).principal, &origin()).may_view_resets(&owner)
    };
    let others = |team: &str| open.viewer(&call(team, false).principal, &origin()).may_view_others_resets();
    assert_eq!(["payments", "web", "auditors"].map(others), [false, false, true], "who has a permit at all");
    for (team, owner, when_open) in [
        ("payments", "payments", true),
        ("web", "payments", false),
        ("auditors", "payments", true),
        ("auditors", "web", false),
    ] {
        assert_eq!(reads(&open, team, owner), when_open, "{team} reads {owner}");
        assert!(!reads(&closed, team, owner), "{team} reads {owner}, forbidden");
    }
}

#[test]
fn records_are_read_by_whom_a_permit_names_and_the_gateways_own_are_a_teams_like_any() {
    let all = r#"@id("all") permit (principal in Team::"a", action == Action::"ViewAudit", resource);"#;
    let own = r#"@id("own") permit (principal in Team::"a", action == Action::"ViewAudit", resource == Team::"a");"#;
    let others = r#"@id("b") permit (principal in Team::"a", action, resource) when { resource in [Team::"b", Team::"@gateway"] };"#;
    let scope = r#"@id("scope") permit (principal in Team::"a", action == Action::"ViewAudit", resource) when { context.scopes.contains("zengate:audit") };"#;
    let errs = r#"@id("errs") forbid (principal, action, resource) when { context.local.hour + 9223372036854775807 > 0 };"#;
    let no_gateway =
        r#"@id("no") forbid (principal, action == Action::"ViewAudit", resource == Team::"@gateway");"#;
    let only_b = r#"@id("no") forbid (principal, action == Action::"ViewAudit", resource) unless { resource == Team::"b" };"#;
    let view = r#"@id("view") permit (principal in Team::"a", action == Action::"ViewReset", resource);"#;
    for (row, global, team, read, any) in [
        ("no policy", "", "", &[][..], false),
        ("a permit for resets", "", view, &[], false),
        ("without a constraint", "", all, &["a", "b", "c", "@gateway"], true),
        ("its own", "", own, &["a"], true),
        ("those it names", "", others, &["b", "@gateway"], true),
        ("a scope that the caller does not have", "", scope, &[], false),
        ("a forbid of the gateway's", no_gateway, all, &["a", "b", "c"], true),
        ("a forbid of all but one", only_b, all, &["b"], true),
        ("a policy that cannot be evaluated", errs, all, &[], false),
    ] {
        let policies = Arc::new(policies(global, &[("a", team)]));
        let mut auditor = policies.auditor(&call("a", false).principal, &origin());
        assert_eq!(auditor.may_read_any(), any, "{row}");
        let owners = ["a", "b", "c", "@gateway"].into_iter();
        let read_now: Vec<_> =
            owners.filter(|owner| auditor.may_read(&owner.parse().expect("an owner"))).collect();
        assert_eq!(read_now, read, "{row}");
        let mut stranger = policies.auditor(&call("c", false).principal, &origin());
        assert!(!stranger.may_read_any(), "{row}: a team without a file");
    }
}

#[test]
fn a_folder_that_is_wrong_says_where() {
    let permit = r#"@id("a") permit (principal in Team::"a", action, resource);"#;
    let long = format!(r#"@id("{}") permit (principal in Team::"a", action, resource);"#, "x".repeat(129));
    let twice = format!("{permit}\n{permit}");
    let in_a = |rest: &str| format!("// A comment: permit (\n@id(\"x\")\n{rest}");
    let (other, all) = (
        in_a(r#"permit (principal in Team::"b", action, resource);"#),
        in_a("permit (principal, action, resource);"),
    );
    let user = in_a(r#"permit (principal == User::"corp|b", action, resource);"#);
    let forbid = in_a(r#"forbid (principal in Team::"b", action, resource);"#);
    let template = in_a("permit (principal in ?principal, action, resource);");
    let view = r#"permit (principal in Team::"a", action == Action::"ViewInstance", resource)"#;
    let attribute = in_a(&format!("{view}\nwhen {{ resource.nmae == \"x\" }};"));
    let tag = in_a(&format!("{view}\nwhen {{ resource.getTag(\"x\") == \"y\" }};"));
    let never = in_a(&format!("{view}\nwhen {{ false }};"));
    for (row, global, team, limits, expected) in [
        (
            "a permit for another team",
            "",
            &*other,
            "",
            "a.cedar:3:9: a/x: its scope must be `principal in Team::\"a\"`",
        ),
        ("a permit for all", "", &all, "", "a.cedar:3:9: a/x: its scope must be"),
        ("a permit for one user", "", &user, "", "a.cedar:3:9: a/x: its scope must be"),
        ("a forbid of another team", "", &forbid, "", "a.cedar:3:9: a/x: its scope must be"),
        (
            "a global permit",
            permit,
            permit,
            "",
            "global.cedar:1:10: global/a is a permit: global.cedar may only forbid",
        ),
        (
            "no @id",
            "",
            r#"permit (principal in Team::"a", action, resource);"#,
            "",
            "a.cedar:1:1: the policy has no @id",
        ),
        (
            "an empty @id",
            "",
            r#"@id(" ") permit (principal in Team::"a", action, resource);"#,
            "",
            "a.cedar:1:1: the policy has no @id",
        ),
        (
            "an @id with a NUL",
            "",
            r#"@id("a\0b") permit (principal in Team::"a", action, resource);"#,
            "",
            "a.cedar:1:1: an @id has at most 128 characters, none of them a control character",
        ),
        ("a long @id", "", &long, "", "a.cedar:1:1: an @id has at most 128 characters"),
        ("one @id twice", "", &twice, "", "a.cedar:2:1: two policies share the @id a/a"),
        ("a template", "", &template, "", "a.cedar:2:1: this is a template"),
        ("no Cedar", "", "permit (", "", "a.cedar:1:9: unexpected end of input"),
        ("an unknown attribute", "", &attribute, "", "a.cedar:4:8: for policy `a/x`, attribute `nmae`"),
        ("a tag without a guard", "", &tag, "", "a.cedar:4:8: for policy `a/x`, unable to guarantee safety"),
        (
            "a condition that never holds",
            "",
            &never,
            "",
            "a.cedar:2:1: for policy `a/x`, policy is impossible",
        ),
        ("no TOML", "", permit, "[default]\nteam = {requests", "limits.toml:2:17: is not TOML: "),
        (
            "an unknown limit",
            "",
            permit,
            "[default]\nteem = 1",
            "limits.toml:2:1: default.teem: is not a known key",
        ),
        (
            "half a quota",
            "",
            permit,
            "[default]\nteam = {requests = 1}",
            "limits.toml:2:1: default.team.period_seconds: is required",
        ),
        (
            "too much",
            "",
            permit,
            "[teams.a]\nteam = {requests = 10000001, period_seconds = 60, burst = 1}",
            "limits.toml:2:9: teams.a.team.requests: is 10000001, out of bounds",
        ),
        (
            "a burst of ages",
            "",
            permit,
            "[default]\nteam = {requests = 1, period_seconds = 31536000, burst = 1000000}",
            "limits.toml:2:50: default.team.burst: must be there again",
        ),
        (
            "no such team",
            "",
            permit,
            "[teams.A]\ninstance_cooldown_seconds = 1",
            "limits.toml:1:8: teams.A: a team's name is",
        ),
    ] {
        let faults = load(global, &[("a", team)], limits).expect_err(row).to_string();
        assert!(faults.contains(expected), "{row}: {faults}");
    }
    assert!(load("", &[("a", permit)], "").is_ok(), "what every row starts from is good");
}

#[test]
fn a_policy_without_an_id_is_told_its_other_faults_too() {
    let global = "forbid (principal, action, resource);\npermit (principal, action, resource);";
    let team =
        r#"permit (principal, action == Action::"ViewInstance", resource) when { resource.nmae == "x" };"#;
    let faults = load(global, &[("a", team)], "").expect_err("wrong").to_string();
    for (row, expected) in [
        ("no name", "global.cedar:1:1: the policy has no @id"),
        ("no name, a second time", "global.cedar:2:1: the policy has no @id"),
        ("a global permit", "global.cedar:2:1: global/(policy 2) is a permit: global.cedar may only forbid"),
        ("no name, in a team's file", "a.cedar:1:1: the policy has no @id"),
        ("a permit for all", "a.cedar:1:9: a/(policy 1): its scope must be"),
        ("an unknown attribute", "a.cedar:1:71: for policy `a/(policy 1)`, attribute `nmae`"),
    ] {
        assert!(faults.contains(expected), "{row}: {faults}");
    }
    assert_eq!(faults.lines().count(), 6, "{faults}");
}

#[test]
fn every_fault_of_a_folder_is_reported_at_once() {
    let faults = load("permit (", &[("a", "forbid ("), ("b", "x")], "[default]\nx = 1").expect_err("wrong").0;
    let files: Vec<_> = faults.iter().filter_map(|f| f.file.file_name()?.to_str()).collect();
    for file in ["global.cedar", "a.cedar", "b.cedar", "limits.toml"] {
        assert!(files.contains(&file), "{file} in {files:?}");
    }
}

#[test]
fn a_fault_is_pictured_below_its_one_line() {
    let text =
        "@id(\"x\")\npermit (principal in Team::\"a\", action, resource)\nwhen { resource.nmae == \"x\" };";
    let faults = load("", &[("a", text)], "").expect_err("wrong");
    let line = faults.to_string();
    assert_eq!(line.lines().count(), 1, "{line}: once, though every action concerns it");
    let lines: Vec<String> = faults.pictured().lines().map(str::to_owned).collect();
    assert_eq!(lines, [&*line, "  3 | when { resource.nmae == \"x\" };", "    |        ^^^^^^^^^^^^^"]);
}

#[test]
fn nothing_but_a_folder_without_blocks_stops_nobody() {
    let folder = folder("", &[], "");
    let blocks = folder.path().join("blocks.toml");
    let loaded = || PolicyRevision::load(folder.path()).map_err(|faults| faults.to_string());
    assert!(loaded().is_ok(), "there is none");
    std::os::unix::fs::symlink("gone.toml", &blocks).expect("linked");
    let faults = loaded().expect_err("a link that leads nowhere");
    assert!(faults.contains("blocks.toml: cannot be read: No such file"), "{faults}");
    std::fs::write(folder.path().join("gone.toml"), "everything = true").expect("written");
    let asked = Asked::anyone("a".parse().expect("a name"));
    assert!(loaded().expect("a link that leads to blocks").stops(&asked));
}

#[test]
fn only_regular_files_of_some_length_are_read() {
    let folder = folder("", &[("a", "")], "");
    let loaded = || PolicyRevision::load(folder.path()).map_err(|faults| faults.to_string());
    let file = folder.path().join("teams/b.cedar");
    let made = std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo runs");
    assert!(made.success());
    let faults = loaded().expect_err("a pipe");
    assert!(faults.contains("b.cedar: cannot be read: it is no regular file"), "{faults}");
    std::fs::remove_file(&file).expect("removed");
    std::fs::write(&file, "/".repeat(4 << 20)).expect("written");
    assert!(loaded().is_ok(), "4 MiB");
    std::fs::write(&file, "/".repeat((4 << 20) + 1)).expect("written");
    let faults = loaded().expect_err("a byte more");
    assert!(faults.contains("b.cedar: cannot be read: it is longer than 4096 KiB"), "{faults}");
}

#[test]
fn a_byte_order_mark_is_called_by_its_name() {
    let folder = folder("", &[("a", "")], "");
    for file in ["schema.cedarschema", "global.cedar", "teams/a.cedar"] {
        let path = folder.path().join(file);
        let good = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, format!("\u{feff}{good}")).expect("written");
        let faults = PolicyRevision::load(folder.path()).expect_err(file).0;
        assert_eq!(faults.len(), 1, "{faults:?}");
        let told = faults[0].to_string();
        assert!(
            told.ends_with(&format!("{file}:1:1: begins with a byte order mark: save it without")),
            "{told}"
        );
        std::fs::write(&path, good).expect("written");
    }
    assert!(PolicyRevision::load(folder.path()).is_ok());
}

#[test]
fn the_revision_is_named_by_the_contents() {
    let id = |limits: &str| revision_with("x", limits).id().clone();
    assert_eq!(id(""), id(""));
    assert_ne!(id(""), id("# another"));
}
