use super::*;
use crate::authz::PolicyFault;

/// The cases of a text, or its faults, each with its line.
fn parse(text: &str) -> Result<Vec<Case>, Vec<String>> {
    parse_beside(None, text)
}

/// The same beside these policies.
fn parse_beside(revision: Option<&PolicyRevision>, text: &str) -> Result<Vec<Case>, Vec<String>> {
    let mut faults = Faults::default();
    let (cases, _) =
        table::parse(Text { file: Path::new("t.toml"), text }, &TimeZone::UTC, revision, &mut faults);
    let PolicyFaults(faults) = faults.sorted();
    let line = |fault: &PolicyFault| fault.place.as_ref().map_or(0, |place| place.line);
    let told: Vec<_> = faults.iter().map(|fault| format!("{}: {}", line(fault), fault.message)).collect();
    if told.is_empty() { Ok(cases) } else { Err(told) }
}
use crate::authz::tests::load;

const WEB: &str = r#"
    @id("view-own") permit (principal in Team::"web", action == Action::"ViewInstance", resource in ResourceGroup::"rg-web");
    @id("reset-own") permit (principal in Team::"web", action == Action::"ResetPassword", resource in ResourceGroup::"rg-web")
        when { resource.hasTag("env") && resource.getTag("env") != "prod" } unless { context.local.hour < 9 };"#;
const GLOBAL: &str = r#"
    @id("frozen") forbid (principal, action == Action::"ResetPassword", resource) when { resource.name == "frozen" };
    @id("overflow") forbid (principal, action == Action::"ResetPassword", resource)
        when { context.batchSize + 9223372036854775806 < 0 };
    @id("alice") forbid (principal == User::"corp|alice", action == Action::"ViewReset", resource);"#;

/// The differences of these cases, with instances to ask about.
fn differences(cases: &str) -> Vec<String> {
    let instances = r#"
        [instances.ins-dev]
        resource_group = "rg-web"
        tags = { env = "dev" }
        [instances.ins-frozen]
        name = "frozen"
        [instances.ins-bare]
    "#;
    let revision = load(GLOBAL, &[("web", WEB)], "").unwrap_or_else(|e| panic!("{e}"));
    let cases = parse(&format!("{instances}{cases}")).expect("a good table");
    cases.iter().filter_map(|case| case.run(&revision).err()).map(|found| found.to_string()).collect()
}

#[test]
fn a_case_passes_exactly_when_the_gateway_decides_as_it_says() {
    for (row, case, passes) in [
        ("allowed", r#"instance = "ins-dev", expect = "allow""#, true),
        ("not denied", r#"instance = "ins-dev", expect = "deny""#, false),
        ("by that permit", r#"instance = "ins-dev", expect = "allow", rules = ["web/reset-own"]"#, true),
        ("not by another", r#"instance = "ins-dev", expect = "allow", rules = ["web/view-own"]"#, false),
        (
            "not by two",
            r#"instance = "ins-dev", expect = "allow", rules = ["web/reset-own", "web/x"]"#,
            false,
        ),
        ("no permit", r#"instance = "ins-bare", expect = "deny", rules = []"#, true),
        ("a forbid", r#"instance = "ins-frozen", expect = "deny", rules = ["global/frozen"]"#, true),
        ("a forbid is no missing permit", r#"instance = "ins-frozen", expect = "deny", rules = []"#, false),
        (
            "too early for TOML",
            r#"instance = "ins-dev", time = 2026-01-05T09:59:59+01:00, expect = "deny""#,
            true,
        ),
        ("soon enough", r#"instance = "ins-dev", time = 2026-01-05 09:00:00Z, expect = "allow""#, true),
        ("too early", r#"instance = "ins-dev", time = "2026-01-05T08:59:59Z", expect = "deny""#, true),
        ("another team", r#"instance = "ins-dev", team = "x", expect = "deny", rules = []"#, true),
        ("a failing forbid", r#"instance = "ins-dev", batch_size = 2, expect = "allow""#, false),
        ("a failing forbid refuses", r#"instance = "ins-dev", batch_size = 2, expect = "deny""#, true),
        (
            "and decides",
            r#"instance = "ins-dev", batch_size = 2, expect = "deny", rules = ["global/overflow"]"#,
            true,
        ),
        (
            "it is no missing permit",
            r#"instance = "ins-dev", batch_size = 2, expect = "deny", rules = []"#,
            false,
        ),
        (
            "a view",
            r#"instance = "ins-dev", action = "ViewInstance", expect = "allow", rules = ["web/view-own"]"#,
            true,
        ),
        ("own resets", r#"owner = "web", action = "ViewReset", expect = "allow", rules = []"#, true),
        ("another team's resets", r#"owner = "x", action = "ViewReset", expect = "deny", rules = []"#, true),
        (
            "own resets, forbidden",
            r#"owner = "web", action = "ViewReset", user = "corp|alice", expect = "deny", rules = ["global/alice"]"#,
            true,
        ),
        ("own records", r#"owner = "web", action = "ViewAudit", expect = "deny", rules = []"#, true),
        (
            "the gateway's records",
            r#"owner = "@gateway", action = "ViewAudit", expect = "deny", rules = []"#,
            true,
        ),
    ] {
        let team = if case.contains("team =") { "" } else { r#", team = "web""# };
        let found = differences(&format!("[cases]\n\"{row}\" = {{ {case}{team} }}\n"));
        assert_eq!(found.is_empty(), passes, "{row}: {found:?}");
    }
}

#[test]
fn a_difference_reads_alone() {
    let cases = r#"
        [cases.one]
        team = "web"
        instance = "ins-dev"
        time = "2026-01-05T08:00:00Z"
        expect = "allow"
        rules = ["web/reset-own"]
        [cases.two]
        team = "web"
        instance = "ins-frozen"
        expect = "deny"
        rules = []
        [cases.three]
        team = "x"
        action = "ViewReset"
        owner = "web"
        expect = "allow"
        [cases.four]
        team = "web"
        instance = "ins-dev"
        batch_size = 2
        expect = "allow"
    "#;
    assert_eq!(
        differences(cases),
        [
            "web, ResetPassword on ins-dev\n\
         expected  allow  by web/reset-own\n\
         got       deny   since no permit fits\n\
         \u{20}         web/reset-own: does not hold: !(context.local.hour < 9)",
            "web, ResetPassword on ins-frozen\n\
         expected  deny   since no permit fits\n\
         got       deny   by global/frozen",
            "x, ViewReset of web\n\
         expected  allow\n\
         got       deny   since no permit fits\n\
         \u{20}         the team has no permit for the action",
            "web, ResetPassword on ins-dev\n\
         expected  allow\n\
         got       deny   since a policy cannot be evaluated: global/overflow: integer overflow while attempting to add the values `2` and `9223372036854775806`",
        ]
    );
}

#[test]
fn a_faulty_table_says_what_and_where() {
    const GOOD: &str =
        "[instances.ins-a]\n[cases.x]\nteam = \"web\"\ninstance = \"ins-a\"\nexpect = \"deny\"\n";
    assert!(parse(GOOD).is_ok(), "what most rows add to");
    let more = |line: &str| format!("{GOOD}{line}\n");
    for (row, text, expected) in [
        ("no TOML", "[cases.x\n".to_owned(), &["1: is not TOML: unclosed table, expected `]`"][..]),
        ("a case twice", format!("{GOOD}[cases.x]\n"), &["6: is not TOML: duplicate key"]),
        ("an unknown key", format!("timezone = \"UTC\"\n{GOOD}"), &["1: timezone: is not a known key"]),
        ("an unknown zone", format!("\ntime_zone = \"x\"\n{GOOD}"), &["2: time_zone: \"x\": must be an IANA name such as \"Europe/Berlin\""]),
        ("no table", "cases = 1\ninstances = { ins-a = 2 }".to_owned(), &["1: cases: must be a table of tables", "2: ins-a: must be a table"]),
        ("an instance's keys", "[instances.ins-a]\nzone = 1\nagent = \"HERE\"\naddresses = [\"10.0.0.300\"]\ntags = { env = 1 }\ncpu = 4".to_owned(), &[
            "2: zone: must be a string",
            "3: agent: \"HERE\": must be PRESENT, ABSENT or UNKNOWN",
            "4: addresses: \"10.0.0.300\": invalid IP address syntax",
            "5: tags: env: must be a string",
            "6: cpu: is not a known key",
        ]),
        ("an instance's id", "\n[instances.\"a b\"]".to_owned(), &["2: \"a b\": an instance's id is 1 to 64 of A-Z, a-z, 0-9, - and _, beginning with a letter or digit"]),
        ("nothing said", "\n[cases.x]".to_owned(), &["2: team: is required", "2: instance: is required", "2: expect: is required"]),
        ("no name", GOOD.replace("[cases.x]", "[cases.\" \"]"), &["2: a case's name says what should be, and this one is empty"]),
        ("an unknown instance", GOOD.replace("instance = \"ins-a\"", "instance = \"ins-b\""), &["4: instance: \"ins-b\": is not one of the file's [instances]"]),
        ("a faulty instance is one fault", GOOD.replace("[cases.x]", "x = 1\n[cases.x]"), &["2: x: is not a known key"]),
        ("no team's name", GOOD.replace("web", "Web"), &["3: team: \"Web\": a team's name is 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit"]),
        ("neither", GOOD.replace("deny", "no"), &["5: expect: \"no\": must be allow or deny"]),
        ("an unknown action", more("action = \"Reset\""), &["6: action: \"Reset\": must be ResetPassword, ViewInstance, ViewReset or ViewAudit"]),
        ("an owner of a reset", more("owner = \"web\""), &["6: owner: does not fit: the action is asked of an instance"]),
        ("an instance of a team's", more("action = \"ViewAudit\"\nbatch_size = 2"), &[
            "2: owner: is required",
            "4: instance: does not fit: the action is asked of the team that is `owner`",
            "7: batch_size: does not fit: only ResetPassword has it",
        ]),
        ("the gateway's resets", GOOD.replace("instance = \"ins-a\"", "action = \"ViewReset\"\nowner = \"@gateway\""), &["5: owner: \"@gateway\": a team's name is 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit"]),
        ("a view's reason", more("action = \"ViewInstance\"\nreason_given = true"), &["7: reason_given: does not fit: only ResetPassword has it"]),
        ("a day", more("time = 2026-01-05"), &["6: time: \"2026-01-05\": must be an RFC 3339 time since 1970, as \"2026-11-24T09:00:00+01:00\""]),
        ("no offset", more("time = 2026-01-05T09:00:00"), &["6: time: \"2026-01-05T09:00:00\": must be an RFC 3339 time since 1970, as \"2026-11-24T09:00:00+01:00\""]),
        ("values", more("user = \"alice\"\nscopes = \"x\"\naddress = \"here\"\ntime = \"noon\"\nreason_given = \"yes\"\nbatch_size = 101\nrules = [1]"), &[
            "6: user: \"alice\": must be an issuer's name, a bar and its name for the user, as \"corp|alice\"",
            "7: scopes: must be a list of strings",
            "8: address: \"here\": invalid IP address syntax",
            "9: time: \"noon\": must be an RFC 3339 time since 1970, as \"2026-11-24T09:00:00+01:00\"",
            "10: reason_given: must be true or false",
            "11: batch_size: must be a whole number from 1 to 100",
            "12: rules: must be a string",
        ]),
    ] {
        let told = parse(&text).expect_err(row);
        assert_eq!(told, expected, "{row}");
    }
}

#[test]
fn a_case_names_policies_that_can_decide_it() {
    let other = r#"@id("own") permit (principal in Team::"x", action, resource);"#;
    let revision = load(GLOBAL, &[("web", WEB), ("x", other)], "").unwrap_or_else(|e| panic!("{e}"));
    let case = |team: &str, rules: &str| {
        let keys = format!("team = \"{team}\"\naction = \"ViewReset\"\nowner = \"web\"\nexpect = \"deny\"");
        format!("[cases.x]\n{keys}\nrules = [{rules}]\n")
    };
    let none = |team: &str, name: &str| {
        vec![format!("6: rules: \"{name}\": is no policy of teams/{team}.cedar or global.cedar")]
    };
    for (row, team, rules, told) in [
        ("none", "web", "", None),
        ("its own and a global one", "web", r#""web/reset-own", "global/alice""#, None),
        ("a misspelt one", "web", r#""web/view-own", "web/reset-onw""#, Some(none("web", "web/reset-onw"))),
        ("without its file", "web", r#""frozen""#, Some(none("web", "frozen"))),
        ("another team's", "web", r#""x/own""#, Some(none("web", "x/own"))),
        ("of a team without a file", "y", r#""global/frozen", "y/own""#, Some(none("y", "y/own"))),
    ] {
        assert_eq!(parse_beside(Some(&revision), &case(team, rules)).err(), told, "{row}");
        assert!(parse(&case(team, rules)).is_ok(), "{row}: nothing is said beside faulty policies");
    }
}

#[test]
fn every_file_s_faults_are_told_at_once_and_a_folder_has_a_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = || cases(folder.path(), &TimeZone::UTC, None).expect_err("faults").to_string();
    assert!(told().contains("tests: cannot be read: "), "{}", told());
    let tests = folder.path().join("tests");
    std::fs::create_dir(&tests).expect("made");
    let write = |name: &str, text: &str| std::fs::write(tests.join(name), text).expect("written");
    write("notes.txt", "not a table");
    assert!(told().contains("tests: has no case; create tests/"), "{}", told());
    write("b.toml", "[instances.ins-a]\n");
    assert!(told().contains("tests: has no case; create tests/"), "{}", told());
    write("a.toml", "x = 1");
    write("c.toml", "y = 1\nz = 1");
    let lines: Vec<String> =
        told().lines().map(|line| line.rsplit('/').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        lines,
        [
            "a.toml:1:1: x: is not a known key",
            "c.toml:1:1: y: is not a known key",
            "c.toml:2:1: z: is not a known key",
        ]
    );
    write("a.toml", "");
    write(
        "c.toml",
        "[cases.second]\nteam = \"a\"\naction = \"ViewReset\"\nowner = \"a\"\nexpect = \"allow\"\n[cases.first]\nteam = \"a\"\naction = \"ViewReset\"\nowner = \"a\"\nexpect = \"allow\"\n",
    );
    let read = cases(folder.path(), &TimeZone::UTC, None).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<_> = read.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["tests/a.toml", "tests/b.toml", "tests/c.toml"]);
    let names: Vec<_> = read[2].cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, ["second", "first"], "in the order of the file");
}

#[test]
fn a_table_is_a_regular_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("tests/x.toml");
    std::fs::create_dir(folder.path().join("tests")).expect("made");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let faults = cases(folder.path(), &TimeZone::UTC, None).expect_err("a pipe").to_string();
    assert!(faults.ends_with("x.toml: cannot be read: it is no regular file"), "{faults}");
}
