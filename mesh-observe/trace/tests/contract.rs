//! The contract of layers, by the kit: over a protocol that is not HTTP and over HTTP, with and without spans.

mod support;

use mesh_core::units::Ratio;
use mesh_test::{Http, Line, alloc::Counting, contract};
use mesh_trace::{Parent, SpanKind, Trace, TraceLayer, TraceSettings};
use support::Recorder;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Records every request, if somebody subscribes.
fn always() -> Trace {
    let settings = TraceSettings { parent: Parent::Ignore, ..TraceSettings::new(Ratio::ONE) };
    Trace::new(settings, SpanKind::Server).expect("good settings")
}

fn off() -> Trace {
    let trace = always();
    trace.set_enabled(false);
    trace
}

fn retune(trace: &Trace) {
    trace.set_sample(Ratio::from_ppm(500_000).expect("a half"));
}

#[test]
fn over_a_protocol_that_is_not_http() {
    let _subscribed = Recorder::all().install();
    contract::gate::<Line, _>(always).settled(|trace| trace.open_spans() == 0).retune(retune).off(off).check();
}

#[test]
fn over_http() {
    let _subscribed = Recorder::all().install();
    contract::gate::<Http, _>(always).settled(|trace| trace.open_spans() == 0).retune(retune).off(off).check();
}

#[test]
fn in_a_pipeline() {
    let _subscribed = Recorder::spans().install();
    contract::layer::<Line, _>(|| TraceLayer::new().sample(Ratio::ONE))
        .settled(|layer| layer.handle().open_spans() == 0)
        .retune(|layer| retune(&layer.handle()))
        .off(|| {
            let layer = TraceLayer::new();
            layer.handle().set_enabled(false);
            layer
        })
        .in_a_pipeline()
        .check();
}

#[test]
fn nothing_is_allocated_where_nobody_takes_spans() {
    contract::gate::<Http, _>(always).allocations(0).check();
    contract::gate::<Line, _>(always).allocations(0).check();
}
