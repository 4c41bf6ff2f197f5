use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::UnitError;

/// HTTP statuses: one, a class or a range. Written `503`, `5xx`, `502-599`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Statuses {
    first: u16,
    last: u16,
}

impl Statuses {
    /// From this status to that one, both included. `None` unless 100 ≤ `first` ≤ `last` ≤ 599.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first < 100 || first > last || last > 599 { None } else { Some(Self { first, last }) }
    }

    /// Whether this status is one of them.
    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }

    /// All of them.
    pub const fn range(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    fn read(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() == 3);
        match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(class), _) if class.len() == 1 => {
                let class = class.parse::<u16>().ok()?;
                Self::new(class * 100, class * 100 + 99)
            }
            (_, Some((first, last))) => Self::new(number(first)?, number(last)?),
            _ => Self::new(number(text)?, number(text)?),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) if first % 100 == 0 && last == first + 99 => write!(f, "{}xx", first / 100),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for Statuses {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        Self::read(text).ok_or_else(|| {
            let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
            UnitError::new(
                text,
                "an HTTP status",
                "one from 100 to 599, a class or a range, such as `503`, `5xx` or `502-599`",
                Self::read(&plain),
            )
        })
    }
}
