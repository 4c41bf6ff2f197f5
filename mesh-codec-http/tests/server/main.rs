//! The downstream side with real clients and with raw bytes; a mock service stands for the pipeline.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;
mod clients;
mod deadlines;
mod ends;
mod garbage;
mod harness;
mod heads;
mod http1;
mod http2;
mod lifetimes;
mod limits;
mod proxied;
mod refusals;
mod sockets;
mod tunnels;
