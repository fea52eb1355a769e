use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use jiff::Timestamp;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::authz::fault::{Faults, Text};
use crate::authz::inquiry::time;

/// A file being read, and what is wrong with it so far.
pub(super) struct Found<'f> {
    pub(super) text: Text<'f>,
    pub(super) faults: &'f mut Faults,
    /// What may be a mistake, and where it is first made.
    pub(super) doubts: BTreeMap<String, Range<usize>>,
}

impl Found<'_> {
    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.faults.at(self.text, span, message);
    }
}

/// A TOML table being taken apart key by key. A fault never stops the reading, and what nobody asked for is one.
pub(super) struct Fields<'t, 'r, 'f> {
    values: DeTable<'t>,
    /// Its name: there it lacks what it lacks.
    name: Range<usize>,
    found: &'r mut Found<'f>,
}

/// A table inside another, by its key.
pub(super) struct Inner<'t> {
    pub(super) key: Spanned<DeString<'t>>,
    pub(super) values: DeTable<'t>,
}

impl<'t, 'r, 'f> Fields<'t, 'r, 'f> {
    pub(super) fn new(name: Range<usize>, values: DeTable<'t>, found: &'r mut Found<'f>) -> Self {
        Self { values, name, found }
    }

    /// A fault of the table as a whole.
    pub(super) fn fault(&mut self, message: impl Into<String>) {
        self.found.add(&self.name, message);
    }

    /// Whether anything stands at `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Where the value of `key` stands.
    pub(super) fn place(&self, key: &str) -> Option<Range<usize>> {
        self.values.get(key).map(Spanned::span)
    }

    /// What stands there may be a mistake.
    pub(super) fn doubt(&mut self, place: Range<usize>, message: String) {
        self.found.doubts.entry(message).or_insert(place);
    }

    /// What stands at `key` is not wanted, and no fault by itself.
    pub(super) fn discard(&mut self, key: &str) {
        self.values.remove(key);
    }

    /// What stands at `key` has no place here, and `why` says so.
    pub(super) fn refuse(&mut self, key: &str, why: &str) {
        if let Some((name, _)) = self.values.remove_entry(key) {
            self.found.add(&name.span(), format!("{key}: {why}"));
        }
    }

    /// What stands at `key`, read by `read`; None: nothing, or a fault.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.values.remove(key)?;
        let fault = |message| self.found.add(&value.span(), format!("{key}: {message}"));
        read(value.get_ref()).map_err(fault).ok()
    }

    /// The same of what must be there.
    pub(super) fn need<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.fault(format!("{key}: is required"));
        }
        self.read(key, read)
    }

    /// The tables in the table at `key`, in the order of the file.
    pub(super) fn tables(&mut self, key: &str) -> Vec<Inner<'t>> {
        let Some(value) = self.values.remove(key) else { return Vec::new() };
        let span = value.span();
        let DeValue::Table(tables) = value.into_inner() else {
            self.found.add(&span, format!("{key}: must be a table of tables"));
            return Vec::new();
        };
        let mut inner = Vec::new();
        for (key, value) in tables {
            match value.into_inner() {
                DeValue::Table(values) => inner.push(Inner { key, values }),
                _ => self.found.add(&key.span(), format!("{}: must be a table", key.get_ref())),
            }
        }
        inner.sort_by_key(|inner| inner.key.span().start);
        inner
    }
}

impl Drop for Fields<'_, '_, '_> {
    fn drop(&mut self) {
        for key in self.values.keys() {
            self.found.add(&key.span(), format!("{}: is not a known key", key.get_ref()));
        }
    }
}

pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "must be a string".to_owned())
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// A text of a kind that says itself what is wrong with it.
pub(super) fn parsed<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Result<T, String> {
    by(T::from_str)(value)
}

/// A text that `parse` takes.
pub(super) fn by<T, E: Display>(
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> impl FnOnce(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let text = text(value)?;
        parse(&text).map_err(|e| format!("{text:?}: {e}"))
    }
}

pub(super) fn list<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Result<Vec<T>, String> {
    listed(T::from_str)(value)
}

/// A list of texts that `parse` takes.
pub(super) fn listed<T, E: Display>(
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl FnOnce(&DeValue<'_>) -> Result<Vec<T>, String> {
    move |value| {
        let items = value.as_array().ok_or("must be a list of strings")?;
        items.iter().map(|item| by(&parse)(item.get_ref())).collect()
    }
}

pub(super) fn whole(bounds: RangeInclusive<i64>) -> impl FnOnce(&DeValue<'_>) -> Result<i64, String> {
    move |value| {
        let number = value.as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        number
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| format!("must be a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// Names and their texts.
pub(super) fn texts(value: &DeValue<'_>) -> Result<Vec<(String, String)>, String> {
    let table = value.as_table().ok_or("must be a table of strings")?;
    let pair = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let text = text(value.get_ref()).map_err(|fault| format!("{}: {fault}", key.get_ref()))?;
        Ok((key.get_ref().to_string(), text))
    };
    table.iter().map(pair).collect()
}

/// A time, as a text or as TOML has it.
pub(super) fn moment(value: &DeValue<'_>) -> Result<Timestamp, String> {
    let text = match value {
        DeValue::Datetime(at) => at.to_string(),
        other => text(other)?,
    };
    time(&text).map_err(|e| format!("{text:?}: {e}"))
}
