//! Parameters of a query, taken out one by one.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::api::Api;
use crate::api::problem::{FieldError, Problem};
use crate::contract::bodies::MILLISECONDS;
use crate::core::time::Timestamp;
use crate::core::words::parse_duration;

/// The parameters of a query, taken out one by one; [`Params::finish`] tells what was wrong.
pub(in crate::api) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl FromRequestParts<Api> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Params, Problem> {
        match Query::<Vec<(String, String)>>::from_request_parts(parts, api).await {
            Ok(Query(pairs)) => Ok(Params { pairs, known: Vec::new(), errors: Vec::new() }),
            Err(rejection) => Err(Problem::parameters(vec![FieldError {
                field: "?".to_owned(),
                detail: format!("the query cannot be read: {}", rejection.body_text()),
            }])),
        }
    }
}

impl Params {
    /// Says that a parameter is wrong.
    pub(in crate::api) fn wrong(&mut self, field: &str, detail: String) {
        self.errors.push(FieldError { field: field.to_owned(), detail });
    }

    /// A text, where it is there.
    pub(in crate::api) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut values = Vec::new();
        self.pairs.retain(|(key, value)| {
            let mine = key == name;
            if mine {
                values.push(value.clone());
            }
            !mine
        });
        if values.len() > 1 {
            self.wrong(name, format!("`{name}` is there {} times; once is right", values.len()));
        }
        values.into_iter().next()
    }

    /// `true` or `false`, where it is there.
    pub(in crate::api) fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.text(name)?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let detail = format!("`{name}` must be true or false, not {:?}", short(other));
                self.wrong(name, detail);
                None
            }
        }
    }

    /// A whole number from `least` to `most`; `default` if it is not there.
    pub(in crate::api) fn number(&mut self, name: &'static str, least: u64, most: u64, default: u64) -> u64 {
        let Some(text) = self.text(name) else { return default };
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                let upper = if most == u64::MAX { String::new() } else { format!(" to {most}") };
                let detail =
                    format!("`{name}` must be a whole number from {least}{upper}, not {:?}", short(&text));
                self.wrong(name, detail);
                default
            }
        }
    }

    /// A point in time, where it is there: RFC 3339, or Unix milliseconds as dashboards write them.
    pub(in crate::api) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let read = match text.parse::<i64>() {
            Ok(milliseconds) if MILLISECONDS.contains(&milliseconds) => {
                jiff::Timestamp::from_millisecond(milliseconds).ok()
            }
            Ok(_) => None,
            Err(_) => text.parse::<jiff::Timestamp>().ok(),
        };
        if read.is_none() {
            let detail = format!(
                "`{name}` must be a time such as 2026-03-01T10:00:00Z, or Unix milliseconds, not {:?}",
                short(&text)
            );
            self.wrong(name, detail);
        }
        read.map(|time| Timestamp(time.as_millisecond()))
    }

    /// A number from `least` to `most`, where it is there.
    pub(in crate::api) fn decimal(&mut self, name: &'static str, least: f64, most: f64) -> Option<f64> {
        let text = self.text(name)?;
        let number = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let detail = format!("`{name}` must be a number from {least} to {most}, not {:?}", short(&text));
            self.wrong(name, detail);
        }
        number
    }

    /// A duration up to `longest`, such as `90s`, `30m`, `24h` or `7d`, where it is there.
    pub(in crate::api) fn duration(&mut self, name: &'static str, longest: Duration) -> Option<Duration> {
        let text = self.text(name)?;
        let duration = parse_duration(&text).ok();
        if duration.is_none_or(|duration| duration > longest) {
            let days = longest.as_secs() / 86_400;
            let detail = format!(
                "`{name}` must be a time such as 90s, 30m, 24h or 7d, of at most {days}d, not {:?}",
                short(&text)
            );
            self.wrong(name, detail);
            return None;
        }
        duration
    }

    /// One of these words, where it is there.
    pub(in crate::api) fn word(&mut self, name: &'static str, words: &[&str]) -> Option<String> {
        let text = self.text(name)?;
        if !words.contains(&text.as_str()) {
            let detail = format!("`{name}` must be one of {}, not {:?}", words.join(", "), short(&text));
            self.wrong(name, detail);
            return None;
        }
        Some(text)
    }

    /// Refuses what is left, and tells everything that was wrong.
    pub(in crate::api) fn finish(mut self) -> Result<(), Problem> {
        self.done()
    }

    /// The same, for a reader that was only lent the parameters.
    pub(in crate::api) fn done(&mut self) -> Result<(), Problem> {
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        for (name, _) in self.pairs.iter().take(20) {
            let field = short(name);
            self.errors.push(FieldError {
                detail: format!("`{field}` is not known; the parameters are {known}"),
                field,
            });
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::parameters(std::mem::take(&mut self.errors)))
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}
