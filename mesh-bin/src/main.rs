//! mesh: a service-mesh sidecar assembled from tower layers by a declarative spec

fn main() {}
