//! Values, written as JSON.

use super::{
    Cycles, Dates, JsonError, Numbers, Options, Written,
    scalars::{Scalar, base64, is_json_number, is_large, scalar},
    time::instant,
};
use crate::hessian2::{Object, References, Value};
use std::{borrow::Cow, collections::HashSet, io::Write as _, ptr};

/// 2⁵³ − 1: up to there doubles are exact.
const EXACT: u64 = (1 << 53) - 1;

struct Json<'a, 'o> {
    references: &'o References<'a>,
    options: &'o Options,
    out: &'o mut Vec<u8>,
    /// Bytes that were written to other buffers than `out`, less those that `out` held at first.
    elsewhere: isize,
    visited: usize,
    /// The containers that are open.
    open: Vec<&'a Value>,
    written: Written,
}

pub(super) fn write<'a>(
    value: &'a Value,
    references: &References<'a>,
    options: &Options,
    out: &mut Vec<u8>,
) -> Result<Written, JsonError> {
    let elsewhere = -(out.len() as isize);
    let mut json =
        Json { references, options, out, elsewhere, visited: 0, open: Vec::new(), written: Written::default() };
    json.value(value)?;
    Ok(json.written)
}

impl<'a> Json<'a, '_> {
    fn value(&mut self, value: &'a Value) -> Result<(), JsonError> {
        self.visit(1)?;
        match value {
            Value::Null => self.put("null"),
            Value::Bool(value) => self.put(if *value { "true" } else { "false" }),
            Value::Int(value) => self.put(&value.to_string()),
            Value::Long(value) => self.number(&value.to_string(), self.options.longs, value.unsigned_abs() > EXACT),
            // as Rust shows it for debugging, it is a number of JSON that is read as the same one
            Value::Double(value) if value.is_finite() => self.put(&format!("{value:?}")),
            Value::Double(_) => self.put("null"),
            Value::Date(milliseconds) => match self.options.dates {
                Dates::Iso8601 => self.string(&instant(*milliseconds)),
                Dates::Milliseconds => self.put(&milliseconds.to_string()),
            },
            Value::String(text) => self.string(&text.to_string_lossy()),
            Value::Binary(bytes) => {
                if bytes.len() > self.options.limit {
                    return Err(JsonError::Limit);
                }
                self.string(&base64(bytes))
            }
            Value::Ref(number) => {
                let target = self.references.get(*number).ok_or(JsonError::Dangling { number: *number })?;
                if self.open.iter().any(|open| ptr::eq(*open, target)) {
                    return match self.options.cycles {
                        Cycles::Error => Err(JsonError::Cycle { number: *number }),
                        Cycles::Null => {
                            self.written.cycles += 1;
                            self.put("null")
                        }
                    };
                }
                self.container(target)
            }
            container => self.container(container),
        }
    }

    fn container(&mut self, value: &'a Value) -> Result<(), JsonError> {
        if self.open.len() >= self.options.depth {
            return Err(JsonError::Depth);
        }
        self.open.push(value);
        match value {
            Value::List(list) => {
                self.put("[")?;
                for (at, item) in list.items.iter().enumerate() {
                    self.comma(at > 0)?;
                    self.value(item)?;
                }
                self.put("]")?;
            }
            Value::Map(map) => {
                self.visit(map.entries.len())?;
                let elsewhere = self.elsewhere;
                let mut keys = Vec::new();
                for (key, _) in &map.entries {
                    keys.push(self.key(key)?);
                }
                let entries = map.entries.iter().map(|(_, value)| value);
                self.members(None, keys.iter().map(AsRef::as_ref).zip(entries))?;
                self.elsewhere = elsewhere;
            }
            Value::Object(object) => self.object(object)?,
            // nothing else is a container
            _ => self.put("null")?,
        }
        self.open.pop();
        Ok(())
    }

    fn object(&mut self, object: &'a Object) -> Result<(), JsonError> {
        match scalar(object, self.references, self.options) {
            Some(Scalar::Text(text)) => self.string(&text),
            Some(Scalar::Number(digits)) if is_json_number(&digits) => {
                self.number(&digits, self.options.decimals, is_large(&digits))
            }
            Some(Scalar::Number(digits)) => self.string(&digits),
            Some(Scalar::Value(value)) => self.value(value),
            None => {
                self.visit(object.values().len())?;
                let class = self.options.class_key.as_deref().map(|key| (key, &*object.class().name));
                self.members(class, object.fields())
            }
        }
    }

    /// Keys and values; of equal keys the last.
    fn members<'k>(
        &mut self,
        class: Option<(&str, &str)>,
        members: impl DoubleEndedIterator<Item = (&'k str, &'a Value)>,
    ) -> Result<(), JsonError> {
        let mut later = HashSet::new();
        let mut last: Vec<_> = members.rev().filter(|(key, _)| later.insert(*key)).collect();
        last.reverse();
        self.put("{")?;
        let mut first = true;
        if let Some((key, class)) = class.filter(|(key, _)| !later.contains(key)) {
            self.string(key)?;
            self.put(":")?;
            self.string(class)?;
            first = false;
        }
        for (key, value) in last {
            self.comma(!first)?;
            first = false;
            self.string(key)?;
            self.put(":")?;
            self.value(value)?;
        }
        self.put("}")
    }

    /// A key: a string's text, anything else's JSON.
    fn key(&mut self, key: &'a Value) -> Result<Cow<'a, str>, JsonError> {
        if let Value::String(text) = key {
            return Ok(text.to_string_lossy());
        }
        let mut json = Vec::new();
        let mut within = Json {
            references: self.references,
            options: self.options,
            out: &mut json,
            elsewhere: self.elsewhere + self.out.len() as isize,
            visited: self.visited,
            open: std::mem::take(&mut self.open),
            written: self.written,
        };
        within.value(key)?;
        (self.visited, self.written) = (within.visited, within.written);
        self.open = within.open;
        let text = String::from_utf8_lossy(&json);
        // a scalar that is a string is that string
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let text = inner.filter(|inner| !inner.contains('\\')).unwrap_or(&text).to_owned();
        self.elsewhere += text.len() as isize;
        Ok(Cow::Owned(text))
    }

    fn number(&mut self, digits: &str, as_what: Numbers, is_large: bool) -> Result<(), JsonError> {
        match as_what {
            Numbers::Number => self.put(digits),
            Numbers::LargeAsText if !is_large => self.put(digits),
            Numbers::Text | Numbers::LargeAsText => self.string(digits),
        }
    }

    fn string(&mut self, text: &str) -> Result<(), JsonError> {
        self.put("\"")?;
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            let (before, from) = rest.split_at(at);
            self.put(before)?;
            let byte = from.as_bytes()[0];
            match byte {
                b'"' => self.put("\\\"")?,
                b'\\' => self.put("\\\\")?,
                b'\n' => self.put("\\n")?,
                b'\r' => self.put("\\r")?,
                b'\t' => self.put("\\t")?,
                _ => {
                    self.put("\\u")?;
                    // into memory, which takes it
                    let _ = write!(self.out, "{byte:04x}");
                }
            }
            rest = &from[1..];
        }
        self.put(rest)?;
        self.put("\"")
    }

    fn comma(&mut self, needed: bool) -> Result<(), JsonError> {
        if needed { self.put(",") } else { Ok(()) }
    }

    fn put(&mut self, text: &str) -> Result<(), JsonError> {
        let size = self.elsewhere + (self.out.len() + text.len()) as isize;
        if size > self.options.limit as isize {
            return Err(JsonError::Limit);
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn visit(&mut self, values: usize) -> Result<(), JsonError> {
        self.visited += values;
        if self.visited > self.options.limit { Err(JsonError::Limit) } else { Ok(()) }
    }
}
