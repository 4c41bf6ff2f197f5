use std::fmt;
use std::str::FromStr;

use super::{Decimal, UnitError};

/// A part of a whole, exact in parts per million and written as a percentage: `20%`, `0.5%`, `0.0001%`.
///
/// From nothing (`0%`) to all (`100%`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

impl Ratio {
    /// Nothing: `0%`.
    pub const ZERO: Self = Self(0);
    /// Everything: `100%`.
    pub const ONE: Self = Self(1_000_000);

    /// From parts per million; `None` beyond 1 000 000.
    pub const fn from_ppm(ppm: u32) -> Option<Self> {
        if ppm <= Self::ONE.0 { Some(Self(ppm)) } else { None }
    }

    /// From whole percent; `None` beyond 100.
    pub const fn from_percent(percent: u8) -> Option<Self> {
        Self::from_ppm(percent as u32 * 10_000)
    }

    /// Parts per million, 0 to 1 000 000.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// Whether a draw falls into this part of the whole.
    ///
    /// `random` is 64 uniformly distributed bits; the probability is exact to 2⁻⁴⁴. Never true of
    /// [`ZERO`](Self::ZERO), always true of [`ONE`](Self::ONE).
    pub const fn contains(self, random: u64) -> bool {
        ((random as u128 * 1_000_000) >> 64) < self.0 as u128
    }

    /// The part as a number between 0 and 1, for display and for arithmetic that is not exact.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl FromStr for Ratio {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        strictly(text).ok_or_else(|| {
            UnitError::new(
                text,
                "a percentage",
                "a number from 0 to 100 with at most four decimals and a percent sign, such as `20%` or `0.5%`",
                leniently(text),
            )
        })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            write!(f, "{percent}%")
        } else {
            let decimals = format!("{rest:04}");
            write!(f, "{percent}.{}%", decimals.trim_end_matches('0'))
        }
    }
}

fn strictly(text: &str) -> Option<Ratio> {
    let number = text.strip_suffix('%')?;
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('.') {
        return None;
    }
    percent(number)
}

/// What a text that breaks the rules probably means: `0.2` is `20%`, `20` and `20 %` are `20%`.
fn leniently(text: &str) -> Option<Ratio> {
    let text: String = text.split_whitespace().collect();
    match text.strip_suffix('%') {
        Some(number) => percent(number),
        None if text.contains('.') => {
            let (decimal, "") = Decimal::split(&text)? else {
                return None;
            };
            Ratio::from_ppm(u32::try_from(decimal.times(1_000_000)?).ok()?).or_else(|| percent(&text))
        }
        None => percent(&text),
    }
}

fn percent(number: &str) -> Option<Ratio> {
    let (decimal, "") = Decimal::split(number)? else {
        return None;
    };
    if decimal.places > 4 {
        return None;
    }
    Ratio::from_ppm(u32::try_from(decimal.times(10_000)?).ok()?)
}
