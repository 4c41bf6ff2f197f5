//! The vectors, and what the tests do with them.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod wire;

use mesh_codec_dubbo::frame::{Codec, Frame, Incoming};
use serde_json::Value;
use tokio_util::codec::Decoder;

pub fn vectors(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect(&path);
    let vectors = file["vectors"].as_array().expect("vectors").clone();
    assert_eq!(vectors.len() as u64, file["count"].as_u64().expect("count"), "{name}");
    vectors
}

pub fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// All frames of all files, with the id of the vector and what it says of the frame, where it does.
pub fn frames() -> Vec<(String, Vec<u8>, Value)> {
    let mut frames = Vec::new();
    for name in ["dubbo2-frames-java", "dubbo2-frames-node"] {
        for vector in vectors(name) {
            let id = vector["id"].as_str().unwrap_or_default().to_owned();
            frames.push((format!("{id} request"), bytes(&vector["request_hex"]), vector["request"].clone()));
            if vector.get("response_hex").is_some() {
                frames.push((format!("{id} response"), bytes(&vector["response_hex"]), vector["response"].clone()));
            }
        }
    }
    for vector in vectors("dubbo2-frames-handmade") {
        let id = vector["id"].as_str().unwrap_or_default().to_owned();
        frames.push((id, bytes(&vector["hex"]), vector["frame"].clone()));
    }
    for name in ["dubbo2-probe-java-provider", "generic-java-provider"] {
        for vector in vectors(name) {
            let id = vector["id"].as_str().unwrap_or_default();
            for answer in vector["received"].as_array().into_iter().flatten().filter(|one| one.get("hex").is_some()) {
                frames.push((format!("{id} answer"), bytes(&answer["hex"]), answer.clone()));
            }
        }
    }
    frames
}

/// Decodes what comes in pieces of so many bytes.
pub fn decode(bytes: &[u8], piece: usize) -> Vec<Frame> {
    let (mut codec, mut buffer, mut frames) = (Codec::default(), bytes::BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        while let Some(incoming) = codec.decode(&mut buffer).expect("frames") {
            match incoming {
                Incoming::Frame(frame) => frames.push(frame),
                Incoming::TooLong { .. } => panic!("it is not too long"),
            }
        }
    }
    assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
    frames
}

pub fn one(bytes: &[u8]) -> Frame {
    let mut frames = decode(bytes, usize::MAX);
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}
