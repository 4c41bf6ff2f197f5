//! Durations as text: `250ms`, `2s`, `1h30m`.
//!
//! With the feature `config` the module serves `#[serde(with = "mesh_core::units::duration")]` on
//! a field of type [`Duration`]; the schema of such a field is given by
//! `#[schemars(schema_with = "mesh_core::units::duration::schema")]`. For an `Option<Duration>`
//! there is `#[serde(default, with = "mesh_core::units::duration::option")]`.

use std::fmt::Write as _;
use std::time::Duration;

#[cfg(feature = "config")]
pub use super::config::duration::{deserialize, option, schema, serialize};
use super::{Decimal, UnitError, split_number};

/// Units from the longest to the shortest with their nanoseconds; a text uses each at most once, in this order.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a duration such as `250ms`, `2s`, `1h30m` or `0s`.
///
/// Whole numbers, each followed by its unit (`d`, `h`, `m`, `s`, `ms`, `us`, `ns`), from the
/// longest unit to the shortest, each unit at most once. The longest duration is what fits into
/// 64 bits of nanoseconds, 584 years, so every duration that was read can be counted in those.
///
/// # Errors
/// Anything else, including a number without a unit; the error suggests what was probably meant.
///
/// ```
/// # use std::time::Duration;
/// # use mesh_core::units::parse_duration;
/// assert_eq!(parse_duration("1m30s").unwrap(), Duration::from_secs(90));
/// assert_eq!(
///     parse_duration("1.5s").unwrap_err().suggestion(),
///     Some("did you mean `1s500ms`?"),
/// );
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    strict(text).map(Duration::from_nanos).ok_or_else(|| {
        UnitError::new(
            text,
            "a duration",
            "whole numbers with units, such as `250ms`, `2s` or `1h30m`, at most 213503d",
            lenient(text).map(format_duration),
        )
    })
}

/// Writes a duration as [`parse_duration`] reads it: `1h30m`, `250ms`, `0s`.
///
/// Exact to the nanosecond: the text parses to an equal duration (unless it is longer than the 584
/// years that are read).
pub fn format_duration(duration: Duration) -> String {
    let mut left = duration.as_nanos();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        let nanos = u128::from(nanos);
        let number = left / nanos;
        left %= nanos;
        if number > 0 {
            // Writing into a `String` cannot fail.
            let _ = write!(text, "{number}{unit}");
        }
    }
    text
}

/// Nanoseconds of a text that keeps to the rules.
pub(super) fn strict(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    let mut rest = text;
    loop {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        // The iterator goes on from unit to unit: a unit out of order or repeated is not found.
        let (_, nanos) = units.find(|(unit, _)| *unit == name)?;
        total = total.checked_add(number.checked_mul(*nanos)?)?;
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

/// What a text that breaks the rules probably means: other names of units, spaces, fractions, and
/// seconds for a bare number.
pub(super) fn lenient(text: &str) -> Option<Duration> {
    let text: String = text.to_lowercase().split_whitespace().collect();
    let mut total = 0_u64;
    let mut rest = text.as_str();
    loop {
        let (number, after) = Decimal::split(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        total = total.checked_add(number.times(unit_of(name)?)?)?;
        if after.is_empty() {
            return Some(Duration::from_nanos(total));
        }
        rest = after;
    }
}

/// Nanoseconds of a unit, by any name people give it.
pub(super) fn unit_of(name: &str) -> Option<u64> {
    let unit = match name {
        "day" | "days" => "d",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "min" | "mins" | "minute" | "minutes" => "m",
        "" | "sec" | "secs" | "second" | "seconds" => "s",
        "msec" | "msecs" | "milli" | "millis" | "millisecond" | "milliseconds" => "ms",
        "µs" | "μs" | "usec" | "usecs" | "micros" | "microsecond" | "microseconds" => "us",
        "nsec" | "nsecs" | "nanos" | "nanosecond" | "nanoseconds" => "ns",
        other => other,
    };
    UNITS.iter().find(|(known, _)| *known == unit).map(|(_, nanos)| *nanos)
}

/// Nanoseconds of a unit by its one proper name.
pub(super) fn proper_unit(name: &str) -> Option<u64> {
    UNITS.iter().find(|(known, _)| *known == name).map(|(_, nanos)| *nanos)
}

/// The unit that is exactly this long.
pub(super) fn unit_name(duration: Duration) -> Option<&'static str> {
    UNITS.iter().find(|(_, nanos)| u128::from(*nanos) == duration.as_nanos()).map(|(name, _)| *name)
}
