//! Dubbo for proxies, servers and clients.
//!
//! [`hessian2`] is the serialization: bytes to values and back, and past values without a look at them.
//!
//! ```
//! use mesh_codec_dubbo::hessian2::{Limits, Reader, Value, encode};
//!
//! let stream = encode(&[Value::list([1.into(), "two".into()]), "behind it".into()])?;
//! let mut reader = Reader::new(&stream, Limits::WALK);
//! reader.skip()?;
//! assert_eq!(reader.read_text()?.and_then(|text| text.as_str()), Some("behind it"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | part | what it does |
//! | --- | --- |
//! | [`hessian2`] | reader and walk, writer, values, serde and JSON |
//!
//! # What it costs
//! Past values no allocation, and time linear in the bytes. Values in memory take up to 80 bytes each, and the bytes of
//! their strings and binaries; [`hessian2::Limits`] bounds them.

pub mod hessian2;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
