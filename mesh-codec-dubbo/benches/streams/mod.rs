//! What is measured: the streams of the test vectors, in classes.
#![allow(dead_code, reason = "each bench uses a part")]
#![allow(clippy::unwrap_used, reason = "the files are there and in order")]

use mesh_codec_dubbo::hessian2::{Limits, Reader, Value, decode, encode};
use serde::Deserialize;
use serde_json::Value as Json;
use std::{fs, hint::black_box, path::Path};

/// Streams of one kind, and the values in each.
pub(crate) struct Class {
    pub(crate) name: String,
    streams: Vec<Vec<u8>>,
    values: Vec<Vec<Value>>,
}

/// Its name, and what it does once to each stream of a class.
pub(crate) type Operation = (&'static str, fn(&Class));

pub(crate) const OPERATIONS: [Operation; 3] = [("walk", walk), ("decode", decode_all), ("encode", encode_all)];

fn walk(class: &Class) {
    for stream in &class.streams {
        let mut reader = Reader::new(black_box(stream), Limits::WALK);
        while !reader.is_at_end() {
            reader.skip().unwrap();
        }
        black_box(reader.position());
    }
}

fn decode_all(class: &Class) {
    for stream in &class.streams {
        black_box(decode(black_box(stream), Limits::DECODE).unwrap());
    }
}

fn encode_all(class: &Class) {
    for values in &class.values {
        black_box(encode(black_box(values)).unwrap());
    }
}

impl Class {
    /// How many bytes its streams have together.
    pub(crate) fn bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.len() as u64).sum()
    }
}

/// Parses vectors nested a hundred deep.
fn json(path: &Path) -> Json {
    let text = fs::read(path).unwrap();
    let mut json = serde_json::Deserializer::from_slice(&text);
    json.disable_recursion_limit();
    Json::deserialize(&mut json).unwrap()
}

/// The names of all classes.
pub(crate) fn names() -> Vec<String> {
    table().as_array().unwrap().iter().map(|class| class["name"].as_str().unwrap().to_owned()).collect()
}

/// All classes.
pub(crate) fn classes() -> Vec<Class> {
    (0..names().len()).map(class).collect()
}

/// One class, by its place in the table.
pub(crate) fn class(place: usize) -> Class {
    let class = &table()[place];
    let file = json(&root().join(format!("tests/vectors/{}.json", class["file"].as_str().unwrap())));
    let ids: Vec<&str> = class["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let sizes = class["least"].as_u64().unwrap_or(0)..class["most"].as_u64().unwrap_or(u64::MAX);
    let vectors = file["vectors"].as_array().unwrap().iter();
    let named = vectors.filter(|vector| ids.iter().any(|id| vector["id"].as_str().unwrap().starts_with(id)));
    let streams = named.map(|vector| unhex(vector["hex"].as_str().unwrap()));
    let streams: Vec<Vec<u8>> = streams.filter(|stream| sizes.contains(&(stream.len() as u64))).collect();
    let values = streams.iter().map(|stream| decode(stream, Limits::DECODE).unwrap()).collect();
    Class { name: class["name"].as_str().unwrap().to_owned(), streams, values }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn table() -> Json {
    json(&root().join("benches/streams/classes.json"))
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
