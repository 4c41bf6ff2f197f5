//! Two services in a row, one trace: each prints its span when it is closed, with the ids that went on with the request.
//! `cargo run -p mesh-trace --example joined_spans`

use axum::{Router, body::Body, extract::State, routing::get};
use mesh_core::{BoxError, http::governed, units::Ratio};
use mesh_trace::{Opening, TraceLayer, opening};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tower::ServiceExt;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Runs the example.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let _printing = tracing::subscriber::set_default(Printer::default());
    let layer = || governed(TraceLayer::new().sample(Ratio::ONE));
    let stock = Router::new().route("/stock", get(async || "3 left")).layer(layer());
    // what a service received it copies to what it sends
    let shop = Router::new().route("/shop", get(ask_stock)).with_state(stock).layer(layer());

    let answer = shop.oneshot(http::Request::get("/shop").body(Body::empty())?).await?;
    let body = axum::body::to_bytes(answer.into_body(), 1000).await?;
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}

async fn ask_stock(State(stock): State<Router>, headers: http::HeaderMap) -> Result<Body, http::StatusCode> {
    let request = http::Request::get("/stock").header("traceparent", &headers["traceparent"]).body(Body::empty());
    let request = request.map_err(|_| http::StatusCode::INTERNAL_SERVER_ERROR)?;
    let Ok(answer) = stock.oneshot(request).await;
    Ok(answer.into_body())
}

/// The least of a subscriber: in a program it is `tracing-subscriber` with an exporter.
#[derive(Default)]
struct Printer {
    last: AtomicU64,
    open: Mutex<HashMap<u64, (Option<Opening>, Path)>>,
}

#[derive(Default)]
struct Path(String);

impl Visit for Path {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "url.path" {
            self.0 = value.to_owned();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == mesh_trace::TARGET
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let number = self.last.fetch_add(1, Relaxed) + 1;
        let mut path = Path::default();
        attributes.record(&mut path);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (opening(), path));
        Id::from_u64(number)
    }

    fn try_close(&self, id: Id) -> bool {
        let closed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id.into_u64());
        if let Some((Some(span), Path(path))) = closed {
            let parent = span.parent_id.map_or("none".into(), |parent| format!("{parent:016x}"));
            println!("trace {:032x} span {:016x} parent {parent:16} {path}", span.trace_id, span.span_id);
        }
        true
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
