//! What Java writes as an object and thinks of as a scalar.

use super::{
    Options,
    time::{date, date_time, duration, month_day, offset, period, time, year, year_month},
};
use crate::hessian2::{Object, References, Value};
use std::fmt::Write as _;

pub(super) enum Scalar<'a> {
    Text(String),
    Number(String),
    /// What it holds.
    Value(&'a Value),
}

/// Fields of an object, references resolved.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a, 'r> {
    object: &'a Object,
    references: &'r References<'a>,
}

impl<'a> Fields<'a, '_> {
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.references.resolve(self.object.get(name)?)
    }

    pub(super) fn number(self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub(super) fn object(self, name: &str) -> Option<Self> {
        match self.get(name)? {
            Value::Object(object) => Some(Self { object, ..self }),
            _ => None,
        }
    }
}

pub(super) fn scalar<'a>(object: &'a Object, references: &References<'a>, options: &Options) -> Option<Scalar<'a>> {
    // enums' classes have one field, and all of these few: no long search for what is an object in any case
    if object.values().len() > 8 {
        return None;
    }
    let fields = Fields { object, references };
    let class = &*object.class().name;
    let text = |name| fields.text(name).map(|text| Scalar::Text(text.to_owned()));
    match class {
        "java.math.BigDecimal" => return fields.text("value").map(|digits| Scalar::Number(digits.to_owned())),
        "java.math.BigInteger" => return big_integer(fields).map(Scalar::Number),
        "java.util.UUID" => return text("value").or_else(|| uuid(fields).map(Scalar::Text)),
        "java.lang.Class" => return text("name"),
        "java.util.Currency" => return text("currencyCode"),
        "java.sql.Date" | "java.sql.Time" | "java.sql.Timestamp" => {
            return object.get("value").filter(|value| matches!(value, Value::Date(_))).map(Scalar::Value);
        }
        "java.util.Optional" => return object.get("value").map(Scalar::Value),
        "java.util.concurrent.atomic.AtomicInteger" | "java.util.concurrent.atomic.AtomicLong" => {
            return object.get("value").filter(|value| value.as_i64().is_some()).map(Scalar::Value);
        }
        "java.util.concurrent.atomic.AtomicBoolean" => {
            static TRUTHS: [Value; 2] = [Value::Bool(false), Value::Bool(true)];
            return fields.number("value").map(|value| Scalar::Value(&TRUTHS[usize::from(value != 0)]));
        }
        _ => {}
    }
    if let Some((package, handle)) = class.rsplit_once('.')
        && package.contains("caucho.hessian.io")
    {
        if handle == "LocaleHandle" {
            return text("value");
        }
        if let Some(text) = handle.strip_suffix("Handle").and_then(|handle| java_time(handle, fields)) {
            return Some(Scalar::Text(text));
        }
    }
    match object.values() {
        [Value::String(_)] if options.constants && &*object.class().fields[0] == "name" => text("name"),
        _ => None,
    }
}

/// A value of `java.time`, from its handle.
fn java_time(handle: &str, fields: Fields<'_, '_>) -> Option<String> {
    match handle {
        "LocalDate" => date(fields),
        "LocalTime" => time(fields),
        "LocalDateTime" => date_time(fields),
        "Instant" => super::time::instant_of(fields.number("seconds")?, fields.number("nanos")?),
        "Duration" => Some(duration(fields.number("seconds")?, fields.number("nanos")?)),
        "Period" => period(fields),
        "Year" => year(fields),
        "YearMonth" => year_month(fields),
        "MonthDay" => month_day(fields),
        "ZoneOffset" => offset(fields),
        "ZoneId" => fields.text("zoneId").map(str::to_owned),
        "OffsetTime" => Some(time(fields.object("localTime")?)? + &offset(fields.object("zoneOffset")?)?),
        "OffsetDateTime" => Some(date_time(fields.object("dateTime")?)? + &offset(fields.object("offset")?)?),
        "ZonedDateTime" => {
            let mut text = date_time(fields.object("dateTime")?)? + &offset(fields.object("offset")?)?;
            if let Some(zone) = fields.text("zoneId") {
                let _ = write!(text, "[{zone}]");
            }
            Some(text)
        }
        _ => None,
    }
}

/// The decimal digits of a sign and a magnitude in words of 32 bits, the highest first. Up to 256 words, for the time
/// grows with their square.
fn big_integer(fields: Fields<'_, '_>) -> Option<String> {
    const BILLION: u64 = 1_000_000_000;
    let signum = fields.number("signum")?;
    let Value::List(magnitude) = fields.get("mag")? else { return None };
    if magnitude.items.len() > 256 {
        return None;
    }
    let words = magnitude.items.iter().map(|word| match word {
        Value::Int(word) => Some(*word as u32),
        _ => None,
    });
    let mut words: Vec<u32> = words.collect::<Option<_>>()?;
    let mut groups = Vec::new();
    while words.iter().any(|word| *word != 0) {
        let mut remainder = 0;
        for word in &mut words {
            let value = remainder << 32 | u64::from(*word);
            // a quotient of less than 2^32: the remainder is smaller than what is divided by
            *word = (value / BILLION) as u32;
            remainder = value % BILLION;
        }
        groups.push(remainder);
    }
    let mut digits = String::from(if signum < 0 && !groups.is_empty() { "-" } else { "" });
    let _ = write!(digits, "{}", groups.pop().unwrap_or(0));
    for group in groups.iter().rev() {
        let _ = write!(digits, "{group:09}");
    }
    Some(digits)
}

/// A UUID's text from its halves.
fn uuid(fields: Fields<'_, '_>) -> Option<String> {
    let (high, low) = (fields.number("mostSigBits")? as u64, fields.number("leastSigBits")? as u64);
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    Some(format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff))
}

/// Whether this is a number of JSON: no other text may stand without quotes.
pub(super) fn is_json_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest[0] == b'0' {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', exponent @ ..] => exponent,
            exponent => exponent,
        };
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

/// Whether a double may not hold all its digits.
pub(super) fn is_large(digits: &str) -> bool {
    digits.bytes().filter(u8::is_ascii_digit).count() > 15
}

/// Base64 with padding (RFC 4648 §4).
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 0x3f) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_json_stand_without_quotes() {
        for number in ["0", "-0", "12", "123.4500", "1E+30", "1e-7", "-0.5", "1E5"] {
            assert!(is_json_number(number), "{number}");
        }
        for other in ["", "-", "01", "1.", ".5", "1e", "1e+", "0x1", "1,\"a\":2", "NaN", "1 ", "--1", "+1"] {
            assert!(!is_json_number(other), "{other}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
