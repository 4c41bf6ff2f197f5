//! The types of plain scalars: the core schema of YAML 1.2.2, §10.3.2.

use mesh_core::spec::Value;

/// The value of a plain scalar.
pub(super) fn typed(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    integer(text).or_else(|| float(text)).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn integer(text: &str) -> Option<Value> {
    let radix = |digits: &str, radix| {
        // `from_str_radix` would also take a sign here.
        digits.chars().all(|c| c.is_digit(radix)).then(|| i128::from_str_radix(digits, radix).ok()).flatten()
    };
    let number = if let Some(digits) = text.strip_prefix("0x") {
        radix(digits, 16)
    } else if let Some(digits) = text.strip_prefix("0o") {
        radix(digits, 8)
    } else {
        // What is beyond 128 bits becomes a float.
        text.parse().ok()
    };
    number.map(Value::Integer)
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?` and the infinities.
fn float(text: &str) -> Option<Value> {
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        let infinity = if negative { f64::NEG_INFINITY } else { f64::INFINITY };
        return Some(Value::Float(infinity));
    }
    // Rust reads a superset (words such as `inf`); the first character and the alphabet tell.
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let alphabet = unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if !starts || !alphabet {
        return None;
    }
    text.parse().ok().map(Value::Float)
}
