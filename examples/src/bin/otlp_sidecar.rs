//! The sidecar whose spans go to an OpenTelemetry collector, over OTLP by gRPC:
//!
//! `cargo run -p mesh-examples --bin otlp_sidecar -- run --config examples/stock.yaml`
//!
//! The collector is at `OTEL_EXPORTER_OTLP_ENDPOINT`, by default `http://localhost:4317`; the sidecar's name is
//! `OTEL_SERVICE_NAME`. The layer `tracing` in the spec decides which requests have spans.
//!
//! `mesh-trace` knows nothing of OpenTelemetry. What joins the two is below, in [`Ids`] and [`Caller`]: a span has the
//! ids that went on with its request.

use mesh_proxy::Layers;
use opentelemetry::{
    Context, ContextGuard, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider},
};
use std::{cell::RefCell, io::IsTerminal as _, process::ExitCode};
use tracing::{
    Level, Subscriber,
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, filter::Targets, layer, layer::SubscriberExt as _, util::SubscriberInitExt as _};

fn main() -> ExitCode {
    // the exporter's connection lives on a thread of its own, apart from the requests
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let exporter = {
        let _inside = runtime.enter();
        SpanExporter::builder().with_tonic().build()
    };
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let exporter = match exporter {
        Ok(exporter) => exporter,
        Err(error) => return failed(&error),
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_id_generator(Ids::default())
        .with_resource(Resource::builder().build())
        .build();

    // spans of the layer only: those of the exporter's own client would be exported in turn
    let spans = Targets::new().with_target(mesh_trace::TARGET, Level::DEBUG);
    // where a span was opened is the same for all of them
    let exported = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("mesh"))
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let logged = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(Targets::new().with_default(Level::INFO));
    // `Caller` stands before the layer that asks who called
    tracing_subscriber::registry()
        .with(Caller.with_filter(spans.clone()))
        .with(exported.with_filter(spans))
        .with(logged)
        .init();

    let code = mesh_bin::main(Layers::stock());
    // what has not been sent yet
    if let Err(error) = provider.shutdown() {
        eprintln!("spans were lost: {error}");
    }
    code
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// Gives a request's span the ids that were propagated, and all others random ones.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        mesh_trace::opening().map_or_else(|| self.0.new_trace_id(), |span| span.trace_id.into())
    }

    fn new_span_id(&self) -> SpanId {
        mesh_trace::opening().map_or_else(|| self.0.new_span_id(), |span| span.span_id.into())
    }
}

/// Says who called while a request's span is opened: from its beginning until it is first entered, which follows at once.
struct Caller;

thread_local!(static CALLER: RefCell<Option<ContextGuard>> = const { RefCell::new(None) });

impl<S: Subscriber> Layer<S> for Caller {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: layer::Context<'_, S>) {
        let Some(span) = mesh_trace::opening() else { return };
        let Some(parent) = span.parent_id else { return };
        let flags = TraceFlags::new(span.flags);
        let caller = SpanContext::new(span.trace_id.into(), parent.into(), flags, true, TraceState::default());
        let context = Context::new().with_remote_span_context(caller);
        CALLER.with(|guard| *guard.borrow_mut() = Some(context.attach()));
    }

    fn on_enter(&self, _: &Id, _: layer::Context<'_, S>) {
        CALLER.with(|guard| guard.borrow_mut().take());
    }
}
