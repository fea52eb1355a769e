use std::collections::HashSet;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Value;
use zeroize::Zeroizing;

use super::{Env, read_file, read_text};

const PREFIX: &str = "ZENGATE__";
/// Longest file of settings, or that a setting names.
pub(super) const LONGEST: usize = 1 << 20;

/// One thing that is wrong, by the path of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `server.listen`; empty when the whole file is meant.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.message),
            key => write!(f, "{key}: {}", self.message),
        }
    }
}

/// A settings file being taken apart, key by key. What is asked for is removed, so what is left over at the
/// end is unknown; a fault never stops the reading.
pub struct Reader {
    values: toml::Table,
    effective: toml::Table,
    from_env: HashSet<String>,
    faults: Vec<Fault>,
    folder: PathBuf,
}

/// One table of a [`Reader`].
pub struct Table<'r> {
    reader: &'r mut Reader,
    path: String,
    values: toml::Table,
}

impl Reader {
    /// Reads `file` and lays the `ZENGATE__…` variables of `env` over it.
    pub fn open(file: &Path, env: &impl Env) -> Result<Self, Fault> {
        let text = read_text(file, LONGEST)
            .map_err(|e| Fault { key: String::new(), message: format!("cannot be read: {e}") })?;
        Self::parse(&text, file.parent().unwrap_or(Path::new("")), env)
    }

    /// The same of a text whose paths are relative to `folder`.
    pub fn parse(text: &str, folder: &Path, env: &impl Env) -> Result<Self, Fault> {
        let mut values: toml::Table = text.parse().map_err(|e: toml::de::Error| Fault {
            key: String::new(),
            message: format!("is not TOML: {e}"),
        })?;
        let mut faults = Vec::new();
        let mut from_env = HashSet::new();
        for (name, value) in env.variables() {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
            match place(&mut values, &path, value) {
                Ok(()) => _ = from_env.insert(path.join(".")),
                Err(()) => faults.push(Fault { key: name, message: "does not name a key".to_owned() }),
            }
        }
        Ok(Self { values, effective: toml::Table::new(), from_env, faults, folder: folder.to_owned() })
    }

    /// Takes the whole file as one table.
    pub fn root(&mut self) -> Table<'_> {
        let values = std::mem::take(&mut self.values);
        Table { reader: self, path: String::new(), values }
    }

    /// Takes the table `name`; a missing one is an empty one.
    pub fn table(&mut self, name: &str) -> Table<'_> {
        let values = take_table(&mut self.values, name, name, &mut self.faults);
        Table { reader: self, path: name.to_owned(), values }
    }

    /// The settings in force, and everything that was wrong.
    pub fn finish(mut self) -> (toml::Table, Vec<Fault>) {
        let unknown: Vec<String> = self.values.keys().cloned().collect();
        unknown.iter().for_each(|key| self.unknown(key));
        (self.effective, self.faults)
    }

    fn unknown(&mut self, path: &str) {
        let variable = || format!(" (from {PREFIX}{})", path.to_ascii_uppercase().replace('.', "__"));
        let deeper = format!("{path}.");
        let by_env = self.from_env.iter().any(|p| p == path || p.starts_with(&deeper));
        let source = if by_env { variable() } else { String::new() };
        self.faults.push(Fault { key: path.to_owned(), message: format!("is not a known key{source}") });
    }
}

fn place(table: &mut toml::Table, path: &[String], value: String) -> Result<(), ()> {
    match path {
        [key] if !key.is_empty() => _ = table.insert(key.clone(), Value::String(value)),
        [key, rest @ ..] if !key.is_empty() => {
            let next = table.entry(key.clone()).or_insert_with(|| Value::Table(toml::Table::new()));
            return place(next.as_table_mut().ok_or(())?, rest, value);
        }
        _ => return Err(()),
    }
    Ok(())
}

fn take_table(values: &mut toml::Table, name: &str, path: &str, faults: &mut Vec<Fault>) -> toml::Table {
    match values.remove(name) {
        None => toml::Table::new(),
        Some(Value::Table(table)) => table,
        Some(other) => {
            let message = format!("must be a table, not {}", kind(&other));
            faults.push(Fault { key: path.to_owned(), message });
            toml::Table::new()
        }
    }
}

impl Table<'_> {
    /// The path of `key` in this table, as faults name it.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports a fault at `key`.
    pub fn fault(&mut self, key: &str, message: impl Into<String>) {
        let key = if key.is_empty() { self.path.clone() } else { self.path_of(key) };
        self.reader.faults.push(Fault { key, message: message.into() });
    }

    /// Whether anything stands at `key`.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The keys that nobody has asked for yet.
    pub fn keys(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    /// Takes the table `name` inside this one; a missing one is an empty one.
    pub fn table(&mut self, name: &str) -> Table<'_> {
        let path = self.path_of(name);
        let values = take_table(&mut self.values, name, &path, &mut self.reader.faults);
        Table { reader: &mut *self.reader, path, values }
    }

    /// A whole number within `bounds`.
    pub fn integer(&mut self, key: &str, default: Option<u64>, bounds: RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (*bounds.start(), *bounds.end());
        let wanted = format!("a whole number from {low} to {high}");
        self.take(key, default, &wanted, |value, by_env| match value {
            Value::Integer(n) => u64::try_from(*n).ok(),
            Value::String(s) if by_env => s.parse().ok(),
            _ => None,
        })
        .filter(|n| {
            let inside = bounds.contains(n);
            if !inside {
                self.fault(key, format!("is {n}, out of bounds: must be {wanted}"));
            }
            inside
        })
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str, default: bool) -> Option<bool> {
        self.take(key, Some(default), "true or false", |value, by_env| match value {
            Value::Boolean(b) => Some(*b),
            Value::String(s) if by_env => s.parse().ok(),
            _ => None,
        })
    }

    /// A text.
    pub fn string(&mut self, key: &str, default: Option<&str>) -> Option<String> {
        self.take(key, default.map(str::to_owned), "a string", |value, _| value.as_str().map(str::to_owned))
    }

    /// A text of a kind that says itself what is wrong with it.
    pub fn parse<T: FromStr<Err: Display>>(&mut self, key: &str, default: Option<&str>) -> Option<T> {
        let text = self.string(key, default)?;
        text.parse().map_err(|e| self.fault(key, format!("{text:?}: {e}"))).ok()
    }

    /// One of the named choices.
    pub fn choice<T: Copy>(&mut self, key: &str, default: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(key, Some(default))?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            self.fault(key, format!("is {text:?}: must be one of {}", names.join(", ")));
        }
        found
    }

    /// A list of texts of one kind; from the environment as TOML (`["a", "b"]`) or separated by commas.
    pub fn list<T: FromStr<Err: Display>>(&mut self, key: &str, default: Option<&[&str]>) -> Option<Vec<T>> {
        let default = default.map(|items| items.iter().map(|&s| s.to_owned()).collect());
        let texts = |items: &[Value]| items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        let texts: Vec<String> =
            self.take(key, default, "a list of strings", |value, by_env| match value {
                Value::Array(items) => texts(items),
                Value::String(text) if by_env => match text.parse() {
                    Ok(Value::Array(items)) => texts(&items),
                    _ => {
                        Some(text.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect())
                    }
                },
                _ => None,
            })?;
        let parsed: Vec<_> =
            texts.iter().map(|text| text.parse().map_err(|e| format!("{text:?}: {e}"))).collect();
        parsed.into_iter().map(|item| item.map_err(|message| self.fault(key, message)).ok()).collect()
    }

    /// A path: relative to the file's folder, or to the working directory when the environment gave it.
    pub fn path(&mut self, key: &str, default: Option<&str>) -> Option<PathBuf> {
        let by_env = self.by_env(key);
        let text = self.string(key, default)?;
        if text.is_empty() {
            self.fault(key, "must be a path, not empty");
            return None;
        }
        Some(if by_env { PathBuf::from(text) } else { self.reader.folder.join(text) })
    }

    /// What stands at `key` is not wanted, and no fault by itself.
    pub fn discard(&mut self, key: &str) {
        self.values.remove(key);
    }

    /// The contents of the file named at `key`, if one is named; None only for a fault.
    pub fn optional_file(&mut self, key: &str) -> Option<Option<Vec<u8>>> {
        if self.has(key) { self.file(key).map(|(_, bytes)| Some(bytes.to_vec())) } else { Some(None) }
    }

    /// The contents of the file named at `key`; one line end at its end is not part of them.
    pub fn file(&mut self, key: &str) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
        let path = self.path(key, None)?;
        match read_file(&path, LONGEST) {
            Ok(mut bytes) => {
                let length = without_line_end(&bytes).len();
                bytes.truncate(length);
                Some((path, bytes))
            }
            Err(e) => {
                self.fault(key, format!("{} cannot be read: {e}", path.display()));
                None
            }
        }
    }

    fn by_env(&self, key: &str) -> bool {
        self.reader.from_env.contains(&self.path_of(key))
    }

    fn take<T: Clone + Into<Shown>>(
        &mut self,
        key: &str,
        default: Option<T>,
        wanted: &str,
        read: impl FnOnce(&Value, bool) -> Option<T>,
    ) -> Option<T> {
        let by_env = self.by_env(key);
        let value = match self.values.remove(key) {
            None if default.is_none() => {
                self.fault(key, format!("is required: {wanted}"));
                return None;
            }
            None => default,
            Some(value) => {
                let read = read(&value, by_env);
                if read.is_none() {
                    let given = if by_env { format!("{value}") } else { kind(&value).to_owned() };
                    self.fault(key, format!("must be {wanted}, not {given}"));
                }
                read
            }
        }?;
        self.show(key, value.clone().into().0);
        Some(value)
    }

    fn show(&mut self, key: &str, value: Value) {
        let mut table = &mut self.reader.effective;
        for part in self.path.split('.').filter(|part| !part.is_empty()) {
            let next = table.entry(part).or_insert_with(|| Value::Table(toml::Table::new()));
            let Value::Table(inner) = next else { return };
            table = inner;
        }
        table.insert(key.to_owned(), value);
    }
}

/// What nobody asked for is unknown.
impl Drop for Table<'_> {
    fn drop(&mut self) {
        let unknown: Vec<String> = self.keys().iter().map(|key| self.path_of(key)).collect();
        unknown.iter().for_each(|path| self.reader.unknown(path));
    }
}

/// A setting in force, as `check --show` prints it.
pub struct Shown(Value);

impl From<u64> for Shown {
    fn from(n: u64) -> Self {
        Self(Value::Integer(i64::try_from(n).unwrap_or(i64::MAX)))
    }
}

impl From<bool> for Shown {
    fn from(b: bool) -> Self {
        Self(Value::Boolean(b))
    }
}

impl From<String> for Shown {
    fn from(s: String) -> Self {
        Self(Value::String(s))
    }
}

impl From<Vec<String>> for Shown {
    fn from(items: Vec<String>) -> Self {
        Self(Value::Array(items.into_iter().map(Value::String).collect()))
    }
}

/// A text without the one line end at its end, which editors add.
pub fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if line.len() < bytes.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { bytes }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
