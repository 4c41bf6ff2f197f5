//! What comes over HTTP, as the argument of a call: JSON and text to Hessian, by the declared type.

use super::java_type::{JavaType, Kind, Null};
use crate::hessian2::Writer;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A stream of arguments that is being written.
pub(super) type Arguments = Writer<Vec<u8>>;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How deep a value may be.
    pub(super) depth: usize,
    /// Whether an object may say of which class it is to be made.
    pub(super) classes: bool,
}

/// Where in an argument something is: `user.tags[2]`. After an error it is where that was found.
#[derive(Debug, Default)]
pub(super) struct Place(Vec<Step>);

#[derive(Debug)]
enum Step {
    Field(String),
    Element(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Element(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Place {
    pub(super) fn field(&mut self, name: &str) {
        self.0.push(Step::Field(name.to_owned()));
    }

    pub(super) fn element(&mut self, index: usize) {
        self.0.push(Step::Element(index));
    }

    pub(super) fn up(&mut self) {
        self.0.pop();
    }
}

/// Writes one value out of JSON.
pub(super) struct FromJson<'a> {
    pub(super) kind: &'a Kind,
    pub(super) to: &'a mut Arguments,
    pub(super) at: &'a mut Place,
    pub(super) rules: &'a Rules,
    pub(super) depth: usize,
}

impl<'a> FromJson<'a> {
    pub(super) fn new(java: Option<&'a JavaType>, to: &'a mut Arguments, at: &'a mut Place, rules: &'a Rules) -> Self {
        Self { kind: java.map_or(&Kind::Any, JavaType::kind), to, at, rules, depth: 0 }
    }

    fn inner<'b>(&'b mut self, kind: &'b Kind) -> FromJson<'b> {
        FromJson { kind, to: self.to, at: self.at, rules: self.rules, depth: self.depth + 1 }
    }

    fn deeper<E: de::Error>(&self) -> Result<(), E> {
        if self.depth >= self.rules.depth {
            return Err(E::custom(format_args!("it is nested deeper than {} levels", self.rules.depth)));
        }
        Ok(())
    }

    fn whole<E: de::Error>(self, number: i128) -> Result<(), E> {
        match self.kind {
            Kind::Whole(bits, _) => {
                let most = (1_i128 << (bits - 1)) - 1;
                if number > most || number < -most - 1 {
                    return Err(E::custom(format_args!("expected {} to {most}, found {number}", -most - 1)));
                }
                // within its bits
                match i32::try_from(number) {
                    Ok(number) if *bits < 64 => self.to.int(number),
                    _ => self.to.long(number as i64),
                }
            }
            Kind::Any => match (i32::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => self.to.int(number),
                (_, Ok(number)) => self.to.long(number),
                _ => self.to.string(&number.to_string()),
            },
            Kind::Float(_) => self.to.double(number as f64),
            Kind::Decimal | Kind::BigWhole => self.to.string(&number.to_string()),
            Kind::Date => match i64::try_from(number) {
                Ok(milliseconds) => self.to.date(milliseconds),
                Err(_) => return Err(E::custom("expected milliseconds since 1970")),
            },
            kind => return Err(unfit(kind, "a number")),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for FromJson<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FromJson<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(expected(self.kind))
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        if let Kind::Bool(Null::Refused)
        | Kind::Whole(_, Null::Refused)
        | Kind::Float(Null::Refused)
        | Kind::Char(Null::Refused) = self.kind
        {
            return Err(unfit(self.kind, "null"));
        }
        self.to.null();
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Bool(_) | Kind::Any => self.to.bool(value),
            kind => return Err(unfit(kind, if value { "true" } else { "false" })),
        }
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.whole(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.whole(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        match self.kind {
            Kind::Float(_) | Kind::Any => self.to.double(number),
            // the shortest digits that give this number again are those that were written, up to 15 of them
            Kind::Decimal => self.to.string(&number.to_string()),
            kind => return Err(unfit(kind, &number.to_string())),
        }
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        scalar(self.kind, text, self.to).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let element = match self.kind {
            Kind::Any | Kind::Collection => &Kind::Any,
            Kind::Array(element) => element,
            // a few small numbers are as good as base64
            Kind::Bytes => &Kind::Whole(8, Null::Refused),
            kind => return Err(unfit(kind, "a list")),
        };
        self.deeper()?;
        self.to.list(None, None);
        let mut index = 0;
        loop {
            self.at.element(index);
            let next = elements.next_element_seed(self.inner(element))?;
            self.at.up();
            if next.is_none() {
                break;
            }
            index += 1;
        }
        self.to.end();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        if !matches!(self.kind, Kind::Any | Kind::Map) {
            return Err(unfit(self.kind, "an object"));
        }
        self.deeper()?;
        self.to.map(None);
        while let Some(key) = entries.next_key::<String>()? {
            self.at.field(&key);
            if key == "class" && !self.rules.classes {
                return Err(de::Error::custom("a client does not choose classes"));
            }
            self.to.string(&key);
            entries.next_value_seed(self.inner(&Kind::Any))?;
            self.at.up();
        }
        self.to.end();
        Ok(())
    }
}

/// Writes one value out of text: of a path, a query, a header field, a cookie.
pub(super) fn from_text(java: Option<&JavaType>, text: &str, to: &mut Arguments) -> Result<(), String> {
    match java.map_or(&Kind::Any, JavaType::kind) {
        Kind::Array(element) => {
            to.list(None, Some(1));
            scalar(element, text, to)
        }
        Kind::Collection => {
            to.list(None, Some(1));
            scalar(&Kind::Any, text, to)
        }
        kind => scalar(kind, text, to),
    }
}

/// Writes a list of several values out of text.
pub(super) fn from_texts(java: Option<&JavaType>, texts: &[String], to: &mut Arguments) -> Result<(), String> {
    let element = match java.map_or(&Kind::Any, JavaType::kind) {
        Kind::Any | Kind::Collection => &Kind::Any,
        Kind::Array(element) => element,
        kind => return Err(format!("expected {}, found {} values", expected(kind), texts.len())),
    };
    to.list(None, Some(texts.len()));
    texts.iter().try_for_each(|text| scalar(element, text, to))
}

/// A scalar that is written as text.
fn scalar(kind: &Kind, text: &str, to: &mut Arguments) -> Result<(), String> {
    let wrong = || format!("expected {}, found {:?}", expected(kind), Cut(text));
    match kind {
        Kind::Any | Kind::Text => to.string(text),
        Kind::Bool(_) => to.bool(text.parse().map_err(|_| wrong())?),
        Kind::Whole(bits, _) => {
            let number: i64 = text.parse().map_err(|_| wrong())?;
            match (bits, i8::try_from(number), i16::try_from(number), i32::try_from(number)) {
                (8, Ok(number), ..) => to.int(number.into()),
                (16, _, Ok(number), _) => to.int(number.into()),
                (32, .., Ok(number)) => to.int(number),
                (64, ..) => to.long(number),
                _ => return Err(wrong()),
            }
        }
        Kind::Float(_) => {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            if !number.is_finite() {
                return Err(wrong());
            }
            to.double(number);
        }
        Kind::Char(_) => {
            if text.encode_utf16().count() != 1 {
                return Err(wrong());
            }
            to.string(text);
        }
        Kind::Decimal if is_decimal(text) => to.string(text),
        Kind::BigWhole if is_whole(text) => to.string(text),
        Kind::Date => match text.parse::<i64>() {
            Ok(milliseconds) => to.date(milliseconds),
            // what providers take: others they refuse, and say so only in a stack trace
            Err(_) if is_date_time(text) => to.string(text),
            Err(_) => return Err(wrong()),
        },
        Kind::Bytes => to.binary(&STANDARD.decode(text).map_err(|_| wrong())?),
        Kind::Decimal | Kind::BigWhole | Kind::Array(_) | Kind::Collection | Kind::Map => return Err(wrong()),
    }
    Ok(())
}

fn unfit<E: de::Error>(kind: &Kind, found: &str) -> E {
    E::custom(format_args!("expected {}, found {found}", expected(kind)))
}

fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Any => "a value",
        Kind::Bool(_) => "true or false",
        Kind::Whole(8, _) => "a whole number from -128 to 127",
        Kind::Whole(16, _) => "a whole number from -32768 to 32767",
        Kind::Whole(32, _) => "a whole number from -2147483648 to 2147483647",
        Kind::Whole(..) => "a whole number of 64 bits",
        Kind::Float(_) => "a number",
        Kind::Char(_) => "one character",
        Kind::Text => "text",
        Kind::Decimal => "a decimal number",
        Kind::BigWhole => "a whole number",
        Kind::Date => "milliseconds since 1970 or `yyyy-MM-dd HH:mm:ss`",
        Kind::Bytes => "base64",
        Kind::Array(_) | Kind::Collection => "a list",
        Kind::Map => "an object",
    }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// What Java's BigDecimal reads.
fn is_decimal(text: &str) -> bool {
    let (number, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(number, exponent)| (number, Some(exponent)));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    !(whole.is_empty() && fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        // a larger one makes numbers of gigabytes
        && exponent.is_none_or(|exponent| is_whole(exponent) && exponent.len() <= 5)
}

/// `yyyy-MM-dd HH:mm:ss`
fn is_date_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00 00:00:00";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form })
}

/// The beginning of a long text.
struct Cut<'a>(&'a str);

impl fmt::Debug for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(40) {
            Some((end, _)) => write!(f, "`{}…`", &self.0[..end]),
            None => write!(f, "`{}`", self.0),
        }
    }
}

#[cfg(test)]
mod tests;
