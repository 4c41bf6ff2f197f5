//! The test vectors and the model they are written in.
#![allow(dead_code, reason = "each test uses a part")]

mod sha256;

use mesh_codec_dubbo::hessian2::{JavaString, Value};
use serde::Deserialize;
use serde_json::Value as Json;
use sha256::sha256;
use std::{fs, path::Path};

/// The files of streams that are to be read.
pub(crate) const GOOD: [&str; 5] =
    ["hessian2-java-lite", "hessian2-java-caucho", "hessian2-go", "hessian2-hessianjs", "hessian2-published"];

/// One stream of a file.
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) values: Vec<Json>,
    /// Whether its bytes are the ones that a writer of shortest forms chooses.
    pub(crate) exact: bool,
}

/// All streams of a file.
pub(crate) fn load(name: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{name}.json"));
    let text = fs::read(path).unwrap();
    let mut json = serde_json::Deserializer::from_slice(&text);
    json.disable_recursion_limit();
    let file = Json::deserialize(&mut json).unwrap();
    let vectors: Vec<Vector> = file["vectors"].as_array().unwrap().iter().map(vector).collect();
    assert_eq!(vectors.len(), file["count"].as_u64().unwrap() as usize);
    vectors
}

/// All streams that are to be read.
pub(crate) fn good() -> impl Iterator<Item = Vector> {
    GOOD.into_iter().flat_map(load)
}

fn vector(json: &Json) -> Vector {
    let bytes = match &json["hex_repeat"] {
        Json::Array(parts) => {
            let unit = unhex(parts[0].as_str().unwrap()).repeat(parts[1].as_u64().unwrap() as usize);
            [unit, unhex(parts[2].as_str().unwrap())].concat()
        }
        _ => unhex(json["hex"].as_str().unwrap()),
    };
    Vector {
        id: json["id"].as_str().unwrap().to_owned(),
        bytes,
        values: json["values"].as_array().cloned().unwrap_or_default(),
        exact: json["reencode"] == "exact",
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// That a value is the one that the model states; `number` counts containers.
pub(crate) fn compare(value: &Value, stated: &Json, number: &mut u64) -> Result<(), String> {
    let is = |fits: bool| if fits { Ok(()) } else { Err(format!("{value:?} is not {stated}")) };
    let whole = |key: &str| stated[key].as_str().and_then(|digits| digits.parse::<i64>().ok());
    match (value, stated["t"].as_str().unwrap_or("?")) {
        (Value::Null, "null") => Ok(()),
        (Value::Bool(value), "bool") => is(stated["v"] == *value),
        (Value::Int(value), "int") => is(stated["v"].as_i64() == Some(i64::from(*value))),
        (Value::Long(value), "long") => is(whole("v") == Some(*value)),
        (Value::Double(value), "double") => is(stated["bits"] == format!("{:016x}", value.to_bits())),
        (Value::Date(value), "date") => is(whole("ms") == Some(*value)),
        (Value::String(text), "string") => is(is_text(text, stated)),
        (Value::Binary(bytes), "binary") => is(match stated["hex"].as_str() {
            Some(stated) => hex(bytes) == stated,
            None => stated["len"].as_u64() == Some(bytes.len() as u64) && stated["sha256"] == hex(&sha256(bytes)),
        }),
        (Value::Ref(value), "ref") => is(stated["to"].as_u64() == Some(u64::from(*value))),
        (Value::List(list), "list") => {
            numbered(stated, number)?;
            is(list.kind.as_deref() == stated["type"].as_str() && stated["fixed"] == !list.variable)?;
            let items = stated["items"].as_array().unwrap();
            is(items.len() == list.items.len())?;
            list.items.iter().zip(items).try_for_each(|(item, stated)| compare(item, stated, number))
        }
        (Value::Map(map), "map") => {
            numbered(stated, number)?;
            is(map.kind.as_deref() == stated["type"].as_str())?;
            let entries = stated["entries"].as_array().unwrap();
            is(entries.len() == map.entries.len())?;
            map.entries.iter().zip(entries).try_for_each(|((key, value), stated)| {
                compare(key, &stated[0], number)?;
                compare(value, &stated[1], number)
            })
        }
        (Value::Object(object), "object") => {
            numbered(stated, number)?;
            is(stated["class"] == *object.class().name)?;
            let fields = stated["fields"].as_array().unwrap();
            is(fields.len() == object.values().len())?;
            object.fields().zip(fields).try_for_each(|((name, value), stated)| {
                is(stated[0] == name)?;
                compare(value, &stated[1], number)
            })
        }
        _ => is(false),
    }
}

fn numbered(stated: &Json, number: &mut u64) -> Result<(), String> {
    *number += 1;
    match stated["ref"].as_u64() {
        Some(stated) if stated == *number - 1 => Ok(()),
        stated => Err(format!("container {} has the number {stated:?}", *number - 1)),
    }
}

fn is_text(text: &JavaString, stated: &Json) -> bool {
    if let Some(stated) = stated["v"].as_str() {
        return *text == *stated;
    }
    let units = text.units();
    match stated["utf16"].as_array() {
        Some(stated) => units.iter().map(|unit| Json::from(*unit)).eq(stated.iter().cloned()),
        None => {
            let digest = hex(&sha256(text.as_str().unwrap_or_default().as_bytes()));
            stated["utf16_len"].as_u64() == Some(units.len() as u64) && stated["sha256_utf8"] == digest
        }
    }
}
