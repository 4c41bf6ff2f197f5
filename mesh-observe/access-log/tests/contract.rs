//! The contract of layers, by the kit: over a protocol that is not HTTP and over HTTP.

mod support;

use mesh_access_log::{AccessLog, AccessLogLayer, Format, Sink};
use mesh_test::{Http, Line, alloc::Counting, contract};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// All that can be said, to nowhere.
fn layer() -> AccessLogLayer {
    let fields = mesh_access_log::DEFAULT_JSON
        .into_iter()
        .chain([("server", "%RESP(SERVER)%"), ("head", "%RESPONSE_DURATION%")]);
    AccessLogLayer::to(Sink::writer(std::io::sink())).format(Format::json(fields).expect("a good format"))
}

fn log() -> AccessLog {
    let handle = layer().handle();
    Arc::into_inner(handle).expect("no other")
}

fn off() -> AccessLog {
    let log = log();
    log.set_enabled(false);
    log
}

fn retune(log: &AccessLog) {
    log.set_enabled(!log.is_enabled());
    log.set_enabled(!log.is_enabled());
}

#[test]
fn over_a_protocol_that_is_not_http() {
    contract::gate::<Line, _>(log).settled(|log| log.open() == 0).retune(retune).off(off).allocations(0).check();
}

#[test]
fn over_http() {
    contract::gate::<Http, _>(log).settled(|log| log.open() == 0).retune(retune).off(off).allocations(0).check();
}

#[test]
fn in_a_pipeline() {
    contract::layer::<Line, _>(layer)
        .settled(|layer| layer.handle().open() == 0)
        .retune(|layer| retune(&layer.handle()))
        .in_a_pipeline()
        .check();
}
