//! `mesh`: the stock sidecar.

mod allocator;

use mesh_proxy::Layers;
use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_bin::main(Layers::stock())
}
