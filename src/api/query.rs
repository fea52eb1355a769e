//! The path and the query of any route -> its parameters, each given once and known to the route.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use actix_web::HttpRequest;
use jiff::Timestamp;

use super::ROUTES;
use super::problem::{FieldError, Kind, Problem};
use crate::authz;
use crate::domain::{NameFault, TeamName};

/// Most faults that one answer names.
const MOST_FAULTS: usize = 20;
/// Longest filter in a record, in characters.
const LONGEST_FILTER: usize = 1024;

/// What a route was asked with.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// The team to act for.
    pub(super) team: Option<TeamName>,
    /// The route's own, by name.
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Refuses what the route does not know, and what is given twice.
    pub(super) fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        let known = parameters(request);
        let mut query = Self::default();
        let mut faults = Faults::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            if seen.contains(&name) {
                faults.add(&name, format!("`{name}` is given twice."));
            } else if name == "team" {
                query.team = faults.parsed("team", &value);
            } else if known.contains(&name.as_str()) {
                query.parameters.push((name.clone(), value.into_owned()));
            } else {
                faults.add(&name, format!("`{name}` is not a known parameter."));
            }
            seen.push(name);
            if faults.0.len() >= MOST_FAULTS {
                break;
            }
        }
        faults.none()?;
        Ok(query)
    }

    /// The parameter as it was given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// What was asked for, as a query, for the record of a read. A page's place and length are no part of it.
    pub(super) fn given(&self, names: &[&str]) -> Option<String> {
        let names = names.iter().filter(|name| !["limit", "cursor"].contains(name));
        let given = names.filter_map(|name| Some((*name, self.text(name)?)));
        let mut text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        text.truncate(LONGEST_FILTER);
        Some(text).filter(|text| !text.is_empty())
    }

    /// `true` or `false`; false when not given.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => {
                let fault = FieldError::parameter(name, format!("`{name}` must be `true` or `false`."));
                Err(Problem::in_places(Kind::InvalidRequest, vec![fault]))
            }
        }
    }
}

/// Everything that is wrong with a query.
#[derive(Default)]
pub(super) struct Faults(Vec<FieldError>);

impl Faults {
    pub(super) fn add(&mut self, name: &str, detail: String) {
        self.0.push(FieldError::parameter(name, detail));
    }

    /// A value of a kind that says itself what is wrong with it.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str, value: &str) -> Option<T> {
        value.parse().map_err(|fault| self.add(name, format!("`{name}`: {fault}."))).ok()
    }

    /// A parameter by what reads it, if it is given.
    pub(super) fn read<T, E: Display>(
        &mut self,
        query: &Query,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        read(query.text(name)?).map_err(|fault| self.add(name, format!("`{name}`: {fault}."))).ok()
    }

    /// A time, if it is given: the first whole millisecond that is not before it.
    pub(super) fn time(&mut self, query: &Query, name: &str) -> Option<Timestamp> {
        self.read(query, name, authz::time).map(whole_milliseconds)
    }

    /// A whole number within `bounds`, or the default.
    pub(super) fn number(
        &mut self,
        query: &Query,
        name: &str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> usize {
        let Some(text) = query.text(name) else { return default };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && bounds.contains(number));
        number.unwrap_or_else(|| {
            let (low, high) = bounds.into_inner();
            self.add(name, format!("`{name}` must be a whole number from {low} to {high}."));
            default
        })
    }

    /// Nothing was wrong, or the problem that says what was.
    pub(super) fn none(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::in_places(Kind::InvalidRequest, self.0)) }
    }
}

/// Resets and records tell whole milliseconds: the first of them that is not before this time.
fn whole_milliseconds(time: Timestamp) -> Timestamp {
    let begun = time.subsec_nanosecond() % 1_000_000 != 0;
    Timestamp::from_millisecond(time.as_millisecond() + i64::from(begun)).unwrap_or(time)
}

fn parameters(request: &HttpRequest) -> &'static [&'static str] {
    let pattern = request.match_pattern();
    let route = ROUTES
        .iter()
        .find(|route| Some(route.pattern) == pattern.as_deref() && request.method().as_str() == route.method);
    route.map_or(&[], |route| route.parameters)
}

/// A part of the path, of its type.
pub(super) fn segment<T: FromStr<Err = NameFault>>(request: &HttpRequest, name: &str) -> Result<T, Problem> {
    request.match_info().query(name).parse().map_err(|fault: NameFault| {
        Problem::in_places(
            Kind::InvalidRequest,
            vec![FieldError::parameter(name, format!("`{name}`: {fault}."))],
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_within_a_millisecond_is_after_the_record_of_its_beginning() {
        for (given, first) in [
            ("2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z"),
            ("2026-11-24T12:00:00.001Z", "2026-11-24T12:00:00.001Z"),
            ("2026-11-24T12:00:00.0010001Z", "2026-11-24T12:00:00.002Z"),
            ("2026-11-24T12:00:00.9999Z", "2026-11-24T12:00:01Z"),
            ("2026-11-24T13:00:00.5+01:00", "2026-11-24T12:00:00.5Z"),
        ] {
            let time = |text: &str| text.parse::<Timestamp>().expect("a time");
            assert_eq!(whole_milliseconds(time(given)), time(first), "{given}");
        }
    }
}
