use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use cedar_policy::{ActionConstraint, PolicySet, Schema, Validator};
use sha2::{Digest, Sha256};

use super::blocks::Blocks;
use super::bounds;
use super::deep::deep;
use super::fault::{Faults, Text};
use super::limits::LimitTable;
use super::source::Source;
use super::{Look, PolicyFaults, PolicyRevision, Rule, RuleSet, key};
use crate::config::{Fault, read_text};
use crate::domain::TeamName;

/// Longest file of the folder, in bytes.
pub(super) const LONGEST: usize = 4 << 20;

/// The byte order mark, which some editors write before a text.
const MARK: char = '\u{feff}';

/// Attempts to read the folder while it stands still.
const ATTEMPTS: u32 = 10;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The folder's state at one moment: files of two states, half of a rename each, never make a revision.
pub(super) fn folder(folder: &Path) -> Result<PolicyRevision, PolicyFaults> {
    deep(|| standing(folder)).unwrap_or_else(|| {
        let mut faults = Faults::default();
        faults.whole(folder, "there is no thread to be had to read it");
        Err(faults.sorted())
    })
}

fn standing(folder: &Path) -> Result<PolicyRevision, PolicyFaults> {
    let mut faults = Faults::default();
    if !folder.is_dir() {
        faults.whole(folder, "is not a folder that can be read");
        return Err(faults.sorted());
    }
    for _ in 0..ATTEMPTS {
        let before = Look::at(folder);
        let read = read(folder, before);
        if Look::at(folder) == before {
            return read;
        }
        std::thread::sleep(PAUSE);
    }
    faults.whole(
        folder,
        "it changes while it is read, again and again: let whatever writes it rename whole files",
    );
    Err(faults.sorted())
}

fn read(folder: &Path, look: Look) -> Result<PolicyRevision, PolicyFaults> {
    let mut reading = Reading { faults: Faults::default(), hash: Sha256::new() };
    let schema = reading.schema(&folder.join("schema.cedarschema"));
    let global = reading.source(&folder.join("global.cedar"), "global");
    let teams = reading.teams(&folder.join("teams"));
    let limits = reading.settings(&folder.join("limits.toml"), LimitTable::parse);
    let blocks = reading.blocks(&folder.join("blocks.toml"));
    let Reading { mut faults, hash } = reading;
    if let (Some(schema), Some(global)) = (schema, &global) {
        let validator = Validator::new(schema);
        global.forbids_only(&mut faults);
        global.validate(&validator, &mut faults);
        for (team, source) in &teams {
            source.own_team_only(team, &mut faults);
            source.validate(&validator, &mut faults);
        }
    }
    match (global, limits, blocks) {
        (Some(global), Some(limits), Some(blocks)) if faults.is_empty() => {
            let id = hex::encode(&hash.finalize()[..8]).parse().expect("8 bytes are 16 digits");
            let sets = teams.iter().map(|(team, source)| (team.clone(), RuleSet::of([&global, source])));
            let sets = sets.collect();
            let places = teams.values().chain([&global]).flat_map(Source::places).collect();
            Ok(PolicyRevision {
                id,
                teams: sets,
                others: RuleSet::of([&global]),
                places,
                limits,
                blocks,
                look,
            })
        }
        _ => Err(faults.sorted()),
    }
}

impl RuleSet {
    pub(super) fn of<'s>(sources: impl IntoIterator<Item = &'s Source>) -> Self {
        let mut policies = PolicySet::new();
        let mut order = Vec::new();
        for placed in sources.into_iter().flat_map(|source| &source.policies) {
            let policy = &placed.policy;
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

/// A folder being read: what was wrong so far, and the hash that names its state.
struct Reading {
    faults: Faults,
    hash: Sha256,
}

impl Reading {
    /// The file's text; it becomes part of the revision's name.
    fn text(&mut self, file: &Path) -> Option<String> {
        match read_text(file, LONGEST) {
            Ok(text) => {
                self.hash.update(file.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default());
                self.hash.update((text.len() as u64).to_be_bytes());
                self.hash.update(&text);
                Some(text)
            }
            Err(e) => {
                self.faults.whole(file, format!("cannot be read: {e}"));
                None
            }
        }
    }

    /// The same of a text that Cedar reads. It would find fault with a byte order mark as with any odd letter.
    fn cedar(&mut self, file: &Path) -> Option<String> {
        let text = self.text(file)?;
        if !text.starts_with(MARK) {
            return Some(text);
        }
        let message = "begins with a byte order mark: save it without";
        self.faults.at(Text { file, text: &text }, &(0..MARK.len_utf8()), message);
        None
    }

    fn schema(&mut self, file: &Path) -> Option<Schema> {
        let text = &self.cedar(file)?;
        let told = Text { file, text };
        if !bounds::schema(told, &mut self.faults) {
            return None;
        }
        match Schema::from_cedarschema_str(text) {
            Ok((schema, warnings)) => {
                warnings.for_each(|warning| self.faults.diagnostic(told, None, &warning));
                Some(schema)
            }
            Err(e) => {
                self.faults.diagnostic(told, None, &e);
                None
            }
        }
    }

    fn source(&mut self, file: &Path, stem: &str) -> Option<Source> {
        let text = self.cedar(file)?;
        Source::parse(file, stem, text, &mut self.faults)
    }

    fn teams(&mut self, folder: &Path) -> BTreeMap<TeamName, Source> {
        let files = match std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()),
            Err(e) => {
                self.faults.whole(folder, format!("cannot be read: {e}"));
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
                Ok(team) if team.as_str() == "global" => {
                    self.faults.whole(&file, "no team can be named global");
                }
                Ok(team) => {
                    if let Some(source) = self.source(&file, stem) {
                        teams.insert(team, source);
                    }
                }
                Err(fault) => {
                    self.faults.whole(&file, format!("the file's name is not a team's: {fault}"));
                }
            }
        }
        teams
    }

    /// Without the file nobody is stopped.
    fn blocks(&mut self, file: &Path) -> Option<Blocks> {
        // A link that leads nowhere is a fault: it may have led to blocks.
        match file.symlink_metadata() {
            Err(e) if e.kind() == ErrorKind::NotFound => Some(Blocks::default()),
            _ => self.settings(file, Blocks::parse),
        }
    }

    fn settings<T>(&mut self, file: &Path, parse: impl FnOnce(&str) -> Result<T, Vec<Fault>>) -> Option<T> {
        let text = &self.text(file)?;
        let told = Text { file, text };
        // Read on its own first: the fault of a text that is no TOML has its place only here.
        if let Err(e) = text.parse::<toml::Table>() {
            let message = format!("is not TOML: {}", e.message());
            match e.span() {
                Some(span) => self.faults.at(told, &span, message),
                None => self.faults.whole(file, message),
            }
            return None;
        }
        let faults = match parse(text) {
            Ok(settings) => return Some(settings),
            Err(faults) => faults,
        };
        for fault in faults {
            match key::span(text, &fault.key) {
                Some(span) => self.faults.at(told, &span, fault.to_string()),
                None => self.faults.whole(file, fault.to_string()),
            }
        }
        None
    }
}
