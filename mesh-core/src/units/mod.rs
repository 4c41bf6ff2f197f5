//! Quantities with their unit written beside them: [`Rate`], [`Ratio`], [`Size`] and durations; and [`Statuses`].
//!
//! A bare number in a configuration file is a riddle (`timeout: 5`: seconds or milliseconds?), so
//! every quantity carries its unit and a number without one is refused with the likely meaning as
//! a suggestion. All arithmetic is exact: there is no floating point between the text and the
//! value, and `Display` writes a text that parses to an equal value.
//!
//! | quantity | examples | value |
//! | --- | --- | --- |
//! | duration | `250ms`, `2s`, `1h30m`, `0s` | [`std::time::Duration`], by [`parse_duration`] and [`format_duration`] |
//! | [`Rate`] | `100/s`, `60/m`, `5/d`, `100/10s` | a count and a period |
//! | [`Ratio`] | `20%`, `0.5%`, `0.0001%` | parts per million, 0 to 1 000 000 |
//! | [`Size`] | `64KiB`, `10MB`, `512` | bytes |
//! | [`Statuses`] | `503`, `5xx`, `502-599` | a range of HTTP statuses |
//!
//! ```
//! use mesh_core::units::{Rate, Ratio, Size, parse_duration};
//!
//! let rate: Rate = "100/s".parse().unwrap();
//! assert_eq!(rate.count().get(), 100);
//! assert_eq!("0.5%".parse::<Ratio>().unwrap().ppm(), 5_000);
//! assert_eq!("64KiB".parse::<Size>().unwrap().bytes(), 65_536);
//!
//! let refused = parse_duration("5").unwrap_err();
//! assert_eq!(refused.suggestion(), Some("did you mean `5s`?"));
//! ```
//!
//! With the feature `config` all of them are read and written as text by `serde` and described to
//! editors by `schemars`; a field of type `Duration` says `#[serde(with = "mesh_core::units::duration")]`.

#[cfg(feature = "config")]
mod config;
pub mod duration;
mod rate;
mod ratio;
mod size;
mod statuses;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::fmt;

pub use self::duration::{format_duration, parse_duration};
pub use self::rate::Rate;
pub use self::ratio::Ratio;
pub use self::size::Size;
pub use self::statuses::Statuses;

/// A text that is not the quantity it should be: what was expected, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    message: String,
    suggestion: Option<String>,
}

impl UnitError {
    /// `kind` with its article ("a duration"), `expected` as a phrase that follows "expected".
    fn new(text: &str, kind: &str, expected: &str, meant: Option<impl fmt::Display>) -> Self {
        Self {
            message: format!("`{}` is not {kind}: expected {expected}", shorten(text)),
            suggestion: meant.map(|meant| format!("did you mean `{meant}`?")),
        }
    }

    /// What was found and what was expected, without the suggestion.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What was probably meant, as a question to the author of the text.
    pub fn suggestion(&self) -> Option<&str> {
        self.suggestion.as_deref()
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnitError {}

/// At most the first 60 characters: what is quoted in a message should fit on a line.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Splits the ASCII digits off the start of `text`; `None` without any or beyond 64 bits.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// A decimal number kept exact: `digits / 10^places`.
struct Decimal {
    digits: u64,
    places: u32,
}

impl Decimal {
    /// Splits a number such as `12`, `1.5` or `.5` off the start of `text`. Only suggestions are
    /// made of it, so numbers of more than 18 digits are simply not understood.
    fn split(text: &str) -> Option<(Self, &str)> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || digits.len() > 18 {
            return None;
        }
        let decimal = Self { digits: digits.parse().ok()?, places: u32::try_from(fraction.len()).ok()? };
        Some((decimal, rest))
    }

    /// The number times `factor`, if that is a whole number of at most 64 bits.
    fn times(&self, factor: u64) -> Option<u64> {
        let product = u128::from(self.digits) * u128::from(factor);
        let divisor = 10_u128.pow(self.places);
        (product % divisor == 0).then(|| u64::try_from(product / divisor).ok()).flatten()
    }
}
