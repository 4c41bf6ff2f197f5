//! A subscriber that remembers, and requests to trace.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use mesh_trace::{Opening, opening};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

pub const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub const TRACE_ID: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
pub const SPAN: &str = "b7ad6b7169203331";
pub const SPAN_ID: u64 = 0xb7ad_6b71_6920_3331;

pub fn sampled() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

pub fn unsampled() -> String {
    format!("00-{TRACE}-{SPAN}-00")
}

/// A span, or an event, as it was told.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub fields: BTreeMap<&'static str, String>,
    /// What the thread was opening when the span came and when it was first entered.
    pub opening: Option<Opening>,
    pub entered: Option<Opening>,
    pub closed: bool,
}

impl Seen {
    pub fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

#[derive(Default)]
struct All {
    spans: Vec<Seen>,
    events: Vec<Seen>,
}

/// Remembers spans and events of this layer.
#[derive(Clone)]
pub struct Recorder {
    all: Arc<Mutex<All>>,
    takes: fn(&str) -> bool,
}

impl Recorder {
    /// Of spans only, as a program that exports does.
    pub fn spans() -> Self {
        Self { all: Arc::default(), takes: |target| target == mesh_trace::TARGET }
    }

    /// Spans, and the log of refusals.
    pub fn all() -> Self {
        Self { all: Arc::default(), takes: |target| [mesh_trace::TARGET, mesh_trace::REJECTIONS].contains(&target) }
    }

    /// The log of refusals only.
    pub fn rejections() -> Self {
        Self { all: Arc::default(), takes: |target| target == mesh_trace::REJECTIONS }
    }

    /// Subscribes this thread.
    pub fn install(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.lock().spans.clone()
    }

    pub fn count(&self) -> usize {
        self.lock().spans.len()
    }

    pub fn events(&self) -> Vec<Seen> {
        self.lock().events.clone()
    }

    /// The only span; closed.
    pub fn one(&self) -> Seen {
        let spans = self.seen();
        assert_eq!(spans.len(), 1, "{spans:?}");
        assert!(spans[0].closed, "it is open");
        spans[0].clone()
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG && (self.takes)(metadata.target())
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut seen = Seen { opening: opening(), ..Seen::default() };
        attributes.record(&mut seen);
        let mut all = self.lock();
        all.spans.push(seen);
        Id::from_u64(all.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut self.lock().spans[id.into_u64() as usize - 1]);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen::default();
        event.record(&mut seen);
        self.lock().events.push(seen);
    }

    fn enter(&self, id: &Id) {
        self.lock().spans[id.into_u64() as usize - 1].entered = opening();
    }

    fn exit(&self, _: &Id) {}

    fn try_close(&self, id: Id) -> bool {
        self.lock().spans[id.into_u64() as usize - 1].closed = true;
        true
    }
}
