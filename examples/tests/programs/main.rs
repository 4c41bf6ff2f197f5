//! Runs the example programs as what they are: processes with sockets.

mod axum_router;
mod foreign_layers;
mod proxy;
mod support;
mod tonic_channel;
