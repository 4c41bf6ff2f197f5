//! The engine of the mesh sidecar as a library: declarative spec to listeners, routes and clusters

pub mod read;
