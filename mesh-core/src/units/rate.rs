use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use super::duration::{lenient, proper_unit, strict, unit_name, unit_of};
use super::{Decimal, UnitError, format_duration, shorten};

/// How often something may happen: a count in a period, written `100/s`, `60/m` or `100/10s`.
///
/// Both parts are kept as they were given, so nothing is rounded; two rates are equal when both
/// parts are (`60/m` is not `1/s`, though as fast).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: NonZeroU64,
    per: Duration,
}

impl Rate {
    /// `count` times in every `per`.
    ///
    /// # Errors
    /// A period of zero, or one longer than 584 years.
    pub fn new(count: NonZeroU64, per: Duration) -> Result<Self, UnitError> {
        if per.is_zero() || u64::try_from(per.as_nanos()).is_err() {
            return Err(UnitError {
                message: format!(
                    "`{}` is not a period of a rate: expected more than 0s and at most 213503d",
                    format_duration(per)
                ),
                suggestion: None,
            });
        }
        Ok(Self { count, per })
    }

    /// `count` times a second.
    pub const fn per_second(count: NonZeroU64) -> Self {
        Self { count, per: Duration::from_secs(1) }
    }

    /// How often in one [period](Self::per).
    pub const fn count(self) -> NonZeroU64 {
        self.count
    }

    /// The period; never zero, and its nanoseconds fit into 64 bits.
    pub const fn per(self) -> Duration {
        self.per
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        strictly(text).ok_or_else(|| {
            let zero =
                text.split_once('/').is_some_and(|(count, _)| count.bytes().all(|c| c == b'0') && !count.is_empty());
            if zero {
                return UnitError {
                    message: format!("`{}` is not a rate: expected a count of at least 1", shorten(text)),
                    suggestion: None,
                };
            }
            UnitError::new(
                text,
                "a rate",
                "a whole number in a period, such as `100/s`, `60/m` or `100/10s`",
                leniently(text),
            )
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match unit_name(self.per) {
            Some(unit) => write!(f, "{}/{unit}", self.count),
            None => write!(f, "{}/{}", self.count, format_duration(self.per)),
        }
    }
}

fn strictly(text: &str) -> Option<Rate> {
    let (count, period) = text.split_once('/')?;
    if !count.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let nanos = proper_unit(period).or_else(|| strict(period))?;
    Rate::new(count.parse().ok()?, Duration::from_nanos(nanos)).ok()
}

/// What a text that breaks the rules probably means: `5` is `5/s`, `0.5/s` is `1/2s`, `100 rpm` is `100/m`.
fn leniently(text: &str) -> Option<Rate> {
    let text: String = text.to_lowercase().split_whitespace().collect();
    let text = text
        .replace("requests", "")
        .replace("req", "")
        .replace("rps", "/s")
        .replace("qps", "/s")
        .replace("rpm", "/m")
        .replace("per", "/");
    let (count, period) = text.split_once('/').unwrap_or((&text, "s"));
    let (number, "") = Decimal::split(count)? else {
        return None;
    };
    let per = match unit_of(period) {
        Some(nanos) => Duration::from_nanos(nanos),
        None => lenient(period)?,
    };
    let scale = 10_u64.pow(number.places);
    let common = gcd(number.digits, scale);
    let per = per.checked_mul(u32::try_from(scale / common).ok()?)?;
    Rate::new(NonZeroU64::new(number.digits / common)?, per).ok()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
