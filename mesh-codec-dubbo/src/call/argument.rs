//! What a path like `0.address.city` leads to in the arguments of a call.

use super::Request;
use crate::hessian2::{Error, Limits, Reader, Token};
use mesh_core::{Attribute, Scope};
use std::fmt::Write as _;

/// A step from a value to one within it: a field of an object, the value of a map's key, or where it is a number, a value
/// of a list.
struct Step {
    name: String,
    index: Option<u32>,
}

/// The attribute `argument.N` with any number of fields behind it; nothing for a path that is none.
pub(crate) fn argument(path: &str) -> Option<Attribute<Request>> {
    let mut parts = path.strip_prefix("argument.")?.split('.');
    let number: u32 = parts.next()?.parse().ok()?;
    let steps: Vec<Step> = parts
        .map(|part| (!part.is_empty()).then(|| Step { name: part.to_owned(), index: part.parse().ok() }))
        .collect::<Option<_>>()?;
    Some(Attribute::new(path, Scope::Request, move |request, visit| {
        // of what cannot be read there is no value
        let _ = find(request, number, &steps, visit);
    }))
}

fn find(request: &Request, number: u32, steps: &[Step], visit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    if request.argument_count().is_none_or(|count| number >= count) {
        return Ok(());
    }
    let Some(mut reader) = request.arguments() else { return Ok(()) };
    for _ in 0..number {
        reader.skip()?;
    }
    for Step { name, index } in steps {
        follow(&mut reader, request.body())?;
        let mark = reader.mark();
        let is_list = matches!(reader.read()?, Token::List { .. });
        reader.rewind(&mark);
        let is_there = match index {
            Some(index) if is_list => reader.enter_at(*index)?,
            _ => reader.enter(name)?,
        };
        if !is_there {
            return Ok(());
        }
    }
    follow(&mut reader, request.body())?;
    show(&mut reader, visit)
}

/// Where a reference stands, goes to the container it names: the same value may stand in several places and is written
/// once. Looks for it from the start.
fn follow(reader: &mut Reader<'_>, body: &[u8]) -> Result<(), Error> {
    let mark = reader.mark();
    let Token::Reference(wanted) = reader.read()? else {
        reader.rewind(&mark);
        return Ok(());
    };
    let mut from_start = Reader::new(body, Limits::WALK);
    loop {
        let mark = from_start.mark();
        if let Some(Token::List { number, .. } | Token::Map { number, .. } | Token::Object { number, .. }) =
            from_start.read_or_end()?
            && number == wanted
        {
            from_start.rewind(&mark);
            reader.rewind(&mark);
            // what has been defined up to there is known to the one that has come that far
            return Ok(());
        }
    }
}

/// Shows a scalar as text. An enum is an object with a name, which is shown.
fn show(reader: &mut Reader<'_>, visit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let mark = reader.mark();
    let mut text = Short { bytes: [0; 32], length: 0 };
    let written = match reader.read()? {
        Token::String(value) => {
            visit(value.to_string_lossy().as_bytes());
            return Ok(());
        }
        Token::Binary(value) => {
            visit(&value.to_bytes());
            return Ok(());
        }
        Token::Bool(value) => write!(text, "{value}"),
        Token::Int(value) => write!(text, "{value}"),
        Token::Long(value) | Token::Date(value) => write!(text, "{value}"),
        Token::Double(value) => write!(text, "{value}"),
        Token::Object { class, .. } if class.fields() == 1 => {
            reader.rewind(&mark);
            if reader.enter("name")?
                && let Token::String(value) = reader.read()?
            {
                visit(value.to_string_lossy().as_bytes());
            }
            return Ok(());
        }
        Token::Null | Token::List { .. } | Token::Map { .. } | Token::Object { .. } | Token::Reference(_) => {
            return Ok(());
        }
    };
    if written.is_ok() {
        visit(&text.bytes[..text.length]);
    } else {
        // 1e300 has 301 digits
        visit(reader_text(reader, &mark)?.as_bytes());
    }
    Ok(())
}

/// A double that is longer than the room on the stack.
#[cold]
fn reader_text(reader: &mut Reader<'_>, mark: &crate::hessian2::Mark) -> Result<String, Error> {
    reader.rewind(mark);
    Ok(match reader.read()? {
        Token::Double(value) => value.to_string(),
        _ => String::new(),
    })
}

/// A number as text, on the stack.
struct Short {
    bytes: [u8; 32],
    length: usize,
}

impl std::fmt::Write for Short {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.length + part.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}
