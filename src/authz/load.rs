use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use cedar_policy::{
    ActionConstraint, Effect, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet,
    PrincipalConstraint, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use sha2::{Digest, Sha256};

use super::blocks::Blocks;
use super::limits::LimitTable;
use super::{Look, PolicyRevision, Rule, RuleSet};
use crate::domain::TeamName;

/// One thing that is wrong in the policies folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    pub file: PathBuf,
    /// Counted from 1.
    pub line: Option<usize>,
    pub message: String,
}

/// Everything that is wrong in the policies folder; at least one.
#[derive(Debug, thiserror::Error)]
pub struct PolicyFaults(pub Vec<PolicyFault>);

impl fmt::Display for PolicyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(PolicyFault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// A `.cedar` file, parsed; every policy is named `<stem>/<@id>`.
struct Source {
    file: PathBuf,
    text: String,
    policies: Vec<Policy>,
}

/// Attempts to read the folder while it stands still.
const ATTEMPTS: u32 = 10;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The folder's state at one moment: files of two states, half of a rename each, never make a revision.
pub(super) fn folder(folder: &Path) -> Result<PolicyRevision, PolicyFaults> {
    for _ in 0..ATTEMPTS {
        let before = Look::at(folder);
        let read = read(folder, before);
        if Look::at(folder) == before {
            return read;
        }
        std::thread::sleep(PAUSE);
    }
    let message =
        "it changes while it is read, again and again: let whatever writes it rename whole files".to_owned();
    Err(PolicyFaults(vec![PolicyFault { file: folder.to_owned(), line: None, message }]))
}

fn read(folder: &Path, look: Look) -> Result<PolicyRevision, PolicyFaults> {
    let mut faults = Faults(Vec::new());
    let mut hash = Sha256::new();
    let schema = faults.schema(&folder.join("schema.cedarschema"), &mut hash);
    let global = faults.source(&folder.join("global.cedar"), "global", &mut hash);
    let teams = faults.teams(&folder.join("teams"), &mut hash);
    let limits = faults.limits(&folder.join("limits.toml"), &mut hash);
    let blocks = faults.blocks(&folder.join("blocks.toml"), &mut hash);
    if let (Some(schema), Some(global)) = (&schema, &global) {
        let validator = Validator::new(schema.clone());
        global.policies.iter().for_each(|policy| faults.forbids_only(global, policy));
        faults.validate(&validator, global);
        for (team, source) in &teams {
            source.policies.iter().for_each(|policy| faults.own_team_only(source, policy, team));
            faults.validate(&validator, source);
        }
    }
    match (global, limits, blocks) {
        (Some(global), Some(limits), Some(blocks)) if faults.0.is_empty() => {
            let id = hex::encode(&hash.finalize()[..8]).parse().expect("8 bytes are 16 digits");
            let sets = teams.iter().map(|(team, source)| (team.clone(), RuleSet::of([&global, source])));
            let teams: HashMap<_, _> = sets.collect();
            Ok(PolicyRevision { id, teams, others: RuleSet::of([&global]), limits, blocks, look })
        }
        _ => Err(PolicyFaults(faults.0)),
    }
}

impl RuleSet {
    fn of<'s>(sources: impl IntoIterator<Item = &'s Source>) -> Self {
        let mut policies = PolicySet::new();
        let mut order = Vec::new();
        for policy in sources.into_iter().flat_map(|source| &source.policies) {
            let actions = match policy.action_constraint() {
                ActionConstraint::Any => None,
                ActionConstraint::Eq(action) => Some(vec![action.id().unescaped().to_owned()]),
                ActionConstraint::In(actions) => {
                    Some(actions.iter().map(|action| action.id().unescaped().to_owned()).collect())
                }
            };
            order.push(Rule {
                id: policy.id().clone(),
                effect: policy.effect(),
                actions,
                conditions: OnceLock::new(),
            });
            policies.add(policy.clone()).expect("no two policies of a set share an id");
        }
        Self { policies, order }
    }
}

struct Faults(Vec<PolicyFault>);

impl Faults {
    fn add(&mut self, file: &Path, line: Option<usize>, message: impl Into<String>) {
        let fault = PolicyFault { file: file.to_owned(), line, message: message.into() };
        // Cedar reports some faults once for each kind of request they concern.
        if !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    /// The file's text; it becomes part of the revision's name.
    fn read(&mut self, file: &Path, hash: &mut Sha256) -> Option<String> {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                hash.update(file.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default());
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(&text);
                Some(text)
            }
            Err(e) => {
                self.add(file, None, format!("cannot be read: {e}"));
                None
            }
        }
    }

    fn schema(&mut self, file: &Path, hash: &mut Sha256) -> Option<Schema> {
        let text = self.read(file, hash)?;
        match Schema::from_cedarschema_str(&text) {
            Ok((schema, warnings)) => {
                warnings.for_each(|warning| self.add(file, None, warning.to_string()));
                Some(schema)
            }
            Err(e) => {
                self.diagnostic(file, &text, &e);
                None
            }
        }
    }

    fn source(&mut self, file: &Path, stem: &str, hash: &mut Sha256) -> Option<Source> {
        let text = self.read(file, hash)?;
        let set: PolicySet = match text.parse() {
            Ok(set) => set,
            Err(e) => {
                self.diagnostic(file, &text, &e);
                return None;
            }
        };
        if set.num_of_templates() > 0 {
            self.add(file, None, "holds a template (?principal or ?resource); policies must be whole");
        }
        let mut parsed: Vec<Policy> = set.policies().cloned().collect();
        // Cedar names the policies of a text policy0, policy1, … in their order.
        parsed
            .sort_by_key(|policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().ok());
        let mut policies: Vec<Policy> = Vec::new();
        for (index, policy) in parsed.iter().enumerate() {
            let Some(id) = policy.annotation("id").filter(|id| !id.trim().is_empty()) else {
                self.add(file, None, format!("policy {} of the file has no @id(\"…\")", index + 1));
                continue;
            };
            let id = PolicyId::new(format!("{stem}/{id}"));
            if policies.iter().any(|other| *other.id() == id) {
                self.add(file, None, format!("two policies share the @id {id}"));
                continue;
            }
            policies.push(policy.new_id(id));
        }
        Some(Source { file: file.to_owned(), text, policies })
    }

    fn teams(&mut self, folder: &Path, hash: &mut Sha256) -> BTreeMap<TeamName, Source> {
        let files = match std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()),
            Err(e) => {
                self.add(folder, None, format!("cannot be read: {e}"));
                return BTreeMap::new();
            }
        };
        let mut files: Vec<PathBuf> =
            files.filter(|file| file.extension().is_some_and(|e| e == "cedar")).collect();
        files.sort();
        let mut teams = BTreeMap::new();
        for file in files {
            let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            match stem.parse::<TeamName>() {
                // Its policies would be taken for the global ones.
                Ok(team) if team.as_str() == "global" => self.add(&file, None, "no team can be named global"),
                Ok(team) => {
                    if let Some(source) = self.source(&file, stem, hash) {
                        teams.insert(team, source);
                    }
                }
                Err(fault) => self.add(&file, None, format!("the file's name is not a team's: {fault}")),
            }
        }
        teams
    }

    fn limits(&mut self, file: &Path, hash: &mut Sha256) -> Option<LimitTable> {
        let text = self.read(file, hash)?;
        match LimitTable::parse(&text) {
            Ok(limits) => Some(limits),
            Err(faults) => {
                faults.iter().for_each(|fault| self.add(file, None, fault.to_string()));
                None
            }
        }
    }

    /// Without the file nobody is stopped.
    fn blocks(&mut self, file: &Path, hash: &mut Sha256) -> Option<Blocks> {
        if !file.exists() {
            return Some(Blocks::default());
        }
        let text = self.read(file, hash)?;
        match Blocks::parse(&text) {
            Ok(blocks) => Some(blocks),
            Err(faults) => {
                faults.iter().for_each(|fault| self.add(file, None, fault.to_string()));
                None
            }
        }
    }

    fn forbids_only(&mut self, source: &Source, policy: &Policy) {
        if policy.effect() == Effect::Permit {
            let message = format!(
                "{} is a permit: global.cedar may only forbid; permits belong to a team",
                policy.id()
            );
            self.add(&source.file, None, message);
        }
    }

    /// A team's file speaks of that team's principals alone.
    fn own_team_only(&mut self, source: &Source, policy: &Policy, team: &TeamName) {
        let kind: EntityTypeName = "Team".parse().expect("a type of the schema");
        let own = EntityUid::from_type_name_and_id(kind, EntityId::new(team.as_str()));
        let scoped = match policy.principal_constraint() {
            PrincipalConstraint::In(scope) => scope == own,
            PrincipalConstraint::Any => policy.effect() == Effect::Forbid,
            _ => false,
        };
        if !scoped {
            let message = format!(
                "{}: its scope must be `principal in Team::\"{team}\"`, the file's own team",
                policy.id()
            );
            self.add(&source.file, None, message);
        }
    }

    /// Cedar's warnings (a condition that can never hold, say) are faults here.
    fn validate(&mut self, validator: &Validator, source: &Source) {
        let set = RuleSet::of([source]);
        let result = validator.validate(&set.policies, ValidationMode::Strict);
        result.validation_errors().for_each(|e| self.diagnostic(&source.file, &source.text, e));
        result.validation_warnings().for_each(|w| self.diagnostic(&source.file, &source.text, w));
    }

    fn diagnostic(&mut self, file: &Path, text: &str, diagnostic: &dyn Diagnostic) {
        let offset = diagnostic.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        let line = offset.map(|at| 1 + text.bytes().take(at).filter(|b| *b == b'\n').count());
        let help = diagnostic.help().map(|help| format!("; {help}")).unwrap_or_default();
        self.add(file, line, format!("{diagnostic}{help}"));
        for related in diagnostic.related().into_iter().flatten() {
            self.diagnostic(file, text, related);
        }
    }
}
