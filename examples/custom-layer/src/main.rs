//! The sidecar, with `tenants` beside the stock layers:
//!
//! `cargo run -- run --config sidecar.yaml`

use mesh_proxy::Layers;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut layers = Layers::stock();
    custom_layer::register(&mut layers.http);
    mesh_bin::main(layers)
}
