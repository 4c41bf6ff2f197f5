use std::fmt;
use std::str::FromStr;

use super::{Decimal, UnitError, split_number};

/// Units from the largest to the smallest, the order in which `Display` tries them.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// An amount of bytes, written `64KiB`, `10MB` or as a plain number of bytes.
///
/// `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024; `KB`, `MB`, `GB`, `TB` are powers of 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// An amount of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `kib` times 1024 bytes; the largest size where that is beyond 64 bits.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }

    /// `mib` times 1024² bytes; the largest size where that is beyond 64 bits.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// The amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The amount in bytes as a length in memory; the largest length where it does not fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        strictly(text).ok_or_else(|| {
            UnitError::new(
                text,
                "a size",
                "a whole number of bytes or one with a unit, such as `512`, `64KiB` or `10MB`, below 16777216TiB",
                leniently(text),
            )
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, bytes): &(&str, u64)| *bytes > 1 && self.0 != 0 && self.0.is_multiple_of(*bytes);
        match UNITS.iter().copied().find(whole) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

fn strictly(text: &str) -> Option<Size> {
    let (number, name) = split_number(text)?;
    let bytes = match name {
        "" => 1,
        name => UNITS.iter().find(|(unit, _)| *unit == name)?.1,
    };
    number.checked_mul(bytes).map(Size)
}

/// What a text that breaks the rules probably means: `64k` is `64KiB`, `1.5 MiB` is `1536KiB`.
fn leniently(text: &str) -> Option<Size> {
    let text: String = text.to_lowercase().split_whitespace().collect();
    let (number, name) = Decimal::split(&text)?;
    let name = match name {
        "k" | "ki" => "kib",
        "m" | "mi" => "mib",
        "g" | "gi" => "gib",
        "t" | "ti" => "tib",
        "" | "byte" | "bytes" => "b",
        other => other,
    };
    let (_, bytes) = UNITS.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(name))?;
    number.times(*bytes).map(Size)
}
