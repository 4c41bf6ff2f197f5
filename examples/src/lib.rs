//! Runnable examples of the mesh crates, each run by a test of this crate.
//!
//! | program | shows |
//! | --- | --- |
//! | `proxy` | a proxy made of the crates in twenty lines, without a spec |
//! | `foreign_layers` | the sidecar with a gate of one's own and a layer of tower's, named in `foreign.yaml` |
//! | `axum_router` | rate limit, timeout and metrics in an axum `Router` |
//! | `tonic_channel` | the same three on the client side of gRPC, in a tonic channel |
//!
//! `cargo run -p mesh-examples --bin PROGRAM` runs one. The specs beside them are checked by a test; `stock.yaml` names
//! every layer and every key that is built.

/// The code in the project's README compiles, and that in the READMEs of crates that cannot try it themselves.
#[cfg(doctest)]
mod readmes {
    #[doc = include_str!("../../README.md")]
    pub struct Project;
    #[doc = include_str!("../../mesh-core/README.md")]
    pub struct Core;
    #[doc = include_str!("../../mesh-codec-http/README.md")]
    pub struct CodecHttp;
    #[doc = include_str!("../../mesh-proxy/README.md")]
    pub struct Proxy;
    #[doc = include_str!("../../mesh-bin/README.md")]
    pub struct Bin;
}
