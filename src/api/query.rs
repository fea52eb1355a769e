//! The path and the query of any route -> its parameters, each given once and known to the route.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use actix_web::HttpRequest;

use super::ROUTES;
use super::problem::{FieldError, Kind, Problem};
use crate::domain::{NameFault, TeamName};

/// Most faults that one answer names.
const MOST_FAULTS: usize = 20;

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
