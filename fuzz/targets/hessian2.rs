//! Streams of Hessian2: what is read is written and read as the same, a walk ends where reading does, and neither JSON
//! nor values of one's own run away.
#![no_main]
#![allow(clippy::unwrap_used, reason = "what was read is written and read again")]

use libfuzzer_sys::fuzz_target;
use mesh_codec_dubbo::hessian2::{Limits, Reader, References, Value, decode, encode, json, serde::from_value};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data, Limits::WALK);
    let mut skipped = Ok(());
    while skipped.is_ok() && !reader.is_at_end() {
        skipped = reader.skip();
    }
    let mut entries = Reader::new(data, Limits::WALK);
    if entries.open_map().is_ok_and(|is_map| is_map) {
        while let Ok(Some(entry)) = entries.next_entry() {
            assert!(entry.key_at.end == entry.value_at.start && entry.value_at.end == entries.position());
        }
    }
    let values = match decode(data, Limits { depth: 200, ..Limits::DECODE }) {
        Ok(values) => values,
        Err(error) => return drop(error.to_string()),
    };
    skipped.unwrap();
    let written = encode(&values).unwrap();
    assert_eq!(decode(&written, Limits::DECODE).unwrap(), values);

    let references = References::new(&values);
    let options = json::Options { limit: 1 << 16, depth: 200, ..json::Options::default() };
    for value in &values {
        let mut text = Vec::new();
        if json::write(value, &references, &options, &mut text).is_ok() {
            assert!(text.len() <= options.limit);
            if let Err(error) = json::from_slice(&text) {
                assert!(error.to_string().contains("recursion"), "{error}: {}", String::from_utf8_lossy(&text));
            }
        }
        if let Ok(own) = from_value::<Value>(value, &references) {
            encode([&own]).unwrap();
        }
    }
});
