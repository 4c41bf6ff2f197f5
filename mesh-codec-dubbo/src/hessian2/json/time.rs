//! Dates and times as ISO 8601 has them.

use super::scalars::Fields;
use std::fmt::Write as _;

/// Milliseconds since 1970, UTC.
pub(super) fn instant(milliseconds: i64) -> String {
    at(milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000) as u32 * 1_000_000)
}

/// Seconds and nanoseconds since 1970, UTC; nothing beyond what `java.time.Instant` holds.
pub(super) fn instant_of(seconds: i64, nanos: i64) -> Option<String> {
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    (-31_557_014_167_219_200..=31_556_889_864_403_199).contains(&seconds).then(|| at(seconds, nanos))
}

fn at(seconds: i64, nanos: u32) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let mut text = day_text(year, month, day);
    let _ = write!(text, "T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    fraction(&mut text, nanos);
    text + "Z"
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar, counted in eras of 400 years that begin on
/// 1 March, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (400 * era + year_of_era + i64::from(month <= 2), month, day)
}

fn year_text(year: i64) -> String {
    match year {
        0..=9999 => format!("{year:04}"),
        -9999..=-1 => format!("-{:04}", -year),
        _ => format!("{year:+}"),
    }
}

fn day_text(year: i64, month: i64, day: i64) -> String {
    format!("{}-{month:02}-{day:02}", year_text(year))
}

/// In groups of three digits, as many as are needed.
fn fraction(text: &mut String, nanos: u32) {
    let _ = match nanos {
        0 => Ok(()),
        _ if nanos.is_multiple_of(1_000_000) => write!(text, ".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1000) => write!(text, ".{:06}", nanos / 1000),
        _ => write!(text, ".{nanos:09}"),
    };
}

/// A field's number, up to a largest one.
fn below(fields: Fields<'_, '_>, name: &str, most: i64) -> Option<i64> {
    fields.number(name).filter(|number| (0..=most).contains(number))
}

pub(super) fn date(fields: Fields<'_, '_>) -> Option<String> {
    Some(day_text(fields.number("year")?, below(fields, "month", 12)?, below(fields, "day", 31)?))
}

pub(super) fn time(fields: Fields<'_, '_>) -> Option<String> {
    let (hour, minute) = (below(fields, "hour", 23)?, below(fields, "minute", 59)?);
    let (second, nano) = (below(fields, "second", 59)?, below(fields, "nano", 999_999_999)?);
    let mut text = format!("{hour:02}:{minute:02}:{second:02}");
    fraction(&mut text, nano as u32);
    Some(text)
}

pub(super) fn date_time(fields: Fields<'_, '_>) -> Option<String> {
    Some(format!("{}T{}", date(fields.object("date")?)?, time(fields.object("time")?)?))
}

pub(super) fn offset(fields: Fields<'_, '_>) -> Option<String> {
    let seconds = fields.number("seconds").filter(|seconds| seconds.abs() <= 18 * 3600)?;
    if seconds == 0 {
        return Some("Z".to_owned());
    }
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let mut text = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 != 0 {
        let _ = write!(text, ":{:02}", seconds % 60);
    }
    Some(text)
}

pub(super) fn duration(seconds: i64, nanos: i64) -> String {
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let mut text = format!("PT{sign}{}", nanos / 1_000_000_000);
    fraction(&mut text, (nanos % 1_000_000_000) as u32);
    text + "S"
}

pub(super) fn period(fields: Fields<'_, '_>) -> Option<String> {
    let mut text = String::from("P");
    for (name, letter) in [("years", 'Y'), ("months", 'M'), ("days", 'D')] {
        let number = fields.number(name)?;
        if number != 0 {
            let _ = write!(text, "{number}{letter}");
        }
    }
    Some(if text.len() == 1 { "P0D".to_owned() } else { text })
}

pub(super) fn year(fields: Fields<'_, '_>) -> Option<String> {
    fields.number("year").map(year_text)
}

pub(super) fn year_month(fields: Fields<'_, '_>) -> Option<String> {
    Some(format!("{}-{:02}", year_text(fields.number("year")?), below(fields, "month", 12)?))
}

pub(super) fn month_day(fields: Fields<'_, '_>) -> Option<String> {
    Some(format!("--{:02}-{:02}", below(fields, "month", 12)?, below(fields, "day", 31)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_of_the_gregorian_calendar() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (894_621_091_000, "1998-05-08T09:51:31Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (253_402_300_800_000, "+10000-01-01T00:00:00Z"),
            (-62_167_219_200_001, "-0001-12-31T23:59:59.999Z"),
            (i64::MAX, "+292278994-08-17T07:12:55.807Z"),
            (i64::MIN, "-292275055-05-16T16:47:04.192Z"),
        ] {
            assert_eq!(instant(milliseconds), text);
        }
    }

    #[test]
    fn durations_have_one_sign() {
        assert_eq!(duration(5, 6), "PT5.000000006S");
        assert_eq!(duration(-1, 500_000_000), "PT-0.500S");
        assert_eq!(duration(0, 0), "PT0S");
    }
}
