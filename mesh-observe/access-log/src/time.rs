//! Wall-clock times as text, in UTC: the part of `strftime` that access logs use.

use crate::number::{push_number, push_padded};
use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A format of times, read when it is written down.
#[derive(Clone, Debug)]
pub(crate) struct TimeFormat {
    parts: Box<[Part]>,
    /// Of all with these parts.
    number: u64,
}

impl PartialEq for TimeFormat {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for TimeFormat {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Year,
    Month,
    MonthName,
    Day,
    Hour,
    Minute,
    Second,
    /// So many digits of the fraction of a second.
    Fraction(u8),
    /// Seconds since the epoch.
    Epoch,
    WeekdayName,
    DayOfYear,
}

/// What a format says where it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownField(pub(crate) String);

pub(crate) const KNOWN: &str = "%Y %m %b %d %j %a %H %M %S %f %1f to %9f %s %F %T %z %Z %%";

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl TimeFormat {
    /// `2026-11-24T09:05:07.123Z`
    pub(crate) fn iso() -> Self {
        Self::parse("%Y-%m-%dT%H:%M:%S.%3fZ").expect("a good format")
    }

    pub(crate) fn parse(text: &str) -> Result<Self, UnknownField> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                literal.push(c);
                continue;
            }
            let fields: &[Part] = match chars.next() {
                Some('Y') => &[Part::Year],
                Some('m') => &[Part::Month],
                Some('b') => &[Part::MonthName],
                Some('d') => &[Part::Day],
                Some('j') => &[Part::DayOfYear],
                Some('a') => &[Part::WeekdayName],
                Some('H') => &[Part::Hour],
                Some('M') => &[Part::Minute],
                Some('S') => &[Part::Second],
                Some('s') => &[Part::Epoch],
                Some('f') => &[Part::Fraction(9)],
                Some(digit @ '1'..='9') if chars.clone().next() == Some('f') => {
                    chars.next();
                    flush(&mut literal, &mut parts);
                    parts.push(Part::Fraction(digit as u8 - b'0'));
                    continue;
                }
                Some('F') => {
                    flush(&mut literal, &mut parts);
                    parts.extend(Self::parse("%Y-%m-%d")?.parts);
                    continue;
                }
                Some('T') => {
                    flush(&mut literal, &mut parts);
                    parts.extend(Self::parse("%H:%M:%S")?.parts);
                    continue;
                }
                Some('z') => {
                    literal.push_str("+0000");
                    continue;
                }
                Some('Z') => {
                    literal.push_str("UTC");
                    continue;
                }
                Some('%') => {
                    literal.push('%');
                    continue;
                }
                Some(other) => return Err(UnknownField(format!("%{other}"))),
                None => return Err(UnknownField("%".into())),
            };
            flush(&mut literal, &mut parts);
            parts.extend_from_slice(fields);
        }
        flush(&mut literal, &mut parts);
        Ok(Self { parts: parts.into(), number: next_number() })
    }

    /// Its own text, for where it has to be escaped once.
    pub(crate) fn literals(&mut self) -> impl Iterator<Item = &mut Box<str>> {
        self.number = next_number();
        self.parts.iter_mut().filter_map(|part| match part {
            Part::Literal(text) => Some(text),
            _ => None,
        })
    }

    /// Appends the moment so long after the epoch.
    pub(crate) fn write(&self, since_epoch: Duration, into: &mut Vec<u8>) {
        let kept = WRITTEN.try_with(|written| {
            let slot = &mut written.borrow_mut()[self.number as usize % KEPT];
            slot.write(self, since_epoch, into);
        });
        if kept.is_err() {
            let mut once = Written::NOTHING;
            once.write(self, since_epoch, into);
        }
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// How many formats a thread keeps a text of.
const KEPT: usize = 4;

thread_local!(static WRITTEN: RefCell<[Written; KEPT]> = const { RefCell::new([Written::NOTHING; KEPT]) });

/// A second as a format writes it: of the next line in the same second only the fraction is another.
struct Written {
    /// The number of the format; 0: none.
    format: u64,
    second: u64,
    text: Vec<u8>,
    /// Where a fraction stands, and with how many digits.
    fractions: Vec<(usize, u8)>,
}

impl Written {
    const NOTHING: Self = Self { format: 0, second: 0, text: Vec::new(), fractions: Vec::new() };

    fn write(&mut self, format: &TimeFormat, since_epoch: Duration, into: &mut Vec<u8>) {
        if self.format != format.number || self.second != since_epoch.as_secs() {
            self.renew(format, since_epoch.as_secs());
        }
        let start = into.len();
        into.extend_from_slice(&self.text);
        for (at, digits) in &self.fractions {
            const POWERS: [u32; 10] =
                [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1000, 100, 10, 1];
            let mut rest = since_epoch.subsec_nanos() / POWERS[usize::from(*digits)];
            for digit in into[start + at..][..usize::from(*digits)].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    #[cold]
    fn renew(&mut self, format: &TimeFormat, seconds: u64) {
        let Self { text: into, fractions, .. } = self;
        into.clear();
        fractions.clear();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        for part in &format.parts {
            match part {
                Part::Literal(text) => into.extend_from_slice(text.as_bytes()),
                Part::Year => push_padded(into, year, 4),
                Part::Month => push_padded(into, month, 2),
                Part::MonthName => into.extend_from_slice(MONTHS[month as usize - 1].as_bytes()),
                Part::Day => push_padded(into, day, 2),
                Part::Hour => push_padded(into, second / 3600, 2),
                Part::Minute => push_padded(into, second / 60 % 60, 2),
                Part::Second => push_padded(into, second % 60, 2),
                Part::Fraction(digits) => {
                    fractions.push((into.len(), *digits));
                    push_padded(into, 0, usize::from(*digits));
                }
                Part::Epoch => push_number(into, seconds),
                Part::WeekdayName => into.extend_from_slice(WEEKDAYS[(days as usize + 4) % 7].as_bytes()),
                Part::DayOfYear => push_padded(into, days - days_before(year) + 1, 3),
            }
        }
        (self.format, self.second) = (format.number, seconds);
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal).into()));
    }
}

/// Year, month and day of the Gregorian calendar, so many days after 1 January 1970: Howard Hinnant's `civil_from_days`
/// for days that are not negative.
fn civil(days: u64) -> (u64, u64, u64) {
    // years begin in March, so that the leap day is the last; eras have 400 of them
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Days from 1 January 1970 to 1 January of this year.
fn days_before(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400 - 719_162
}
