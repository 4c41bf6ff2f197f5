//! The gate: counts a request in, and at its end counts it and how long it took.

use crate::{
    LabelError, MetricsSettings,
    series::{Handles, Key, Table},
};
use mesh_core::{At, Code, End, Gate, Name, Nanos, Rejection, RequestView, Ticket, Watch};
use metrics::{Gauge, Label, Unit};
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// `mesh_requests_total{listener,route,cluster,protocol,status_class,outcome}`, a counter.
pub const REQUESTS_TOTAL: &str = "mesh_requests_total";
/// `mesh_request_duration_seconds{listener,route,cluster,protocol}`, a histogram.
pub const REQUEST_DURATION_SECONDS: &str = "mesh_request_duration_seconds";
/// `mesh_requests_in_flight`, a gauge, with the labels of the place where the layer stands.
pub const REQUESTS_IN_FLIGHT: &str = "mesh_requests_in_flight";

/// Upper bounds, in seconds, of the buckets of [`REQUEST_DURATION_SECONDS`]: 0.5 ms to 10 s, each about twice the one
/// before, with the round numbers that objectives are stated in. For the recorder, which decides on buckets.
pub const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The most series that one gate makes of an instrument. What would be more is counted in one series with the label
/// `otel_metric_overflow="true"`.
pub const SERIES_LIMIT: usize = 2_000;

/// Counts requests and how they ended, measures how long they took, and how many are under way.
///
/// It is also its own control handle: [`set_enabled`](Self::set_enabled) switches it off and on while it runs.
///
/// Series go to the recorder that the program has installed with the `metrics` facade **before the first request**:
/// they are looked up once and kept.
pub struct Metrics {
    enabled: AtomicBool,
    /// On every series.
    labels: Vec<Label>,
    /// On the gauge besides.
    place: Vec<Label>,
    /// Of requests that do not say.
    protocol: Name,
    in_flight: OnceLock<Gauge>,
    table: Table,
    overflow: OnceLock<Handles>,
}

impl Metrics {
    /// A gate with these settings.
    ///
    /// # Errors
    /// A label has a name that it cannot have.
    pub fn new(settings: &MetricsSettings) -> Result<Self, LabelError> {
        settings.check()?;
        Ok(Self::checked(settings, Vec::new(), Name::NONE, SERIES_LIMIT))
    }

    pub(crate) fn checked(settings: &MetricsSettings, place: Vec<Label>, protocol: Name, limit: usize) -> Self {
        let labels = settings.labels.iter().map(|(name, value)| Label::new(name.clone(), value.clone()));
        Self {
            enabled: AtomicBool::new(true),
            labels: labels.collect(),
            place,
            protocol,
            in_flight: OnceLock::new(),
            table: Table::new(limit),
            overflow: OnceLock::new(),
        }
    }

    /// Whether requests that come now are counted.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// Counts, or lets pass at the cost of one branch. Requests under way stay as they began.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Relaxed);
    }

    /// How many series it has made of its counter; those of the histogram are no more.
    pub fn series(&self) -> usize {
        self.table.len()
    }

    /// Counts a request in; the ticket keeps when it began.
    #[inline]
    fn begin(&self, began: impl FnOnce() -> Nanos) -> Option<Ticket> {
        if !self.is_enabled() {
            return None;
        }
        self.in_flight().increment(1.0);
        Some(Ticket(began().as_nanos(), 0))
    }

    fn in_flight(&self) -> &Gauge {
        self.in_flight.get_or_init(|| {
            metrics::describe_counter!(REQUESTS_TOTAL, "Requests that have ended, by how.");
            metrics::describe_histogram!(
                REQUEST_DURATION_SECONDS,
                Unit::Seconds,
                "From a request's arrival to the end of its response."
            );
            metrics::describe_gauge!(REQUESTS_IN_FLIGHT, "Requests that have arrived and not ended.");
            metrics::gauge!(REQUESTS_IN_FLIGHT, self.place.iter().chain(&self.labels).cloned().collect::<Vec<_>>())
        })
    }

    /// The series of an end: the request's names are those of its record at the end, when all are known.
    fn handles(&self, end: &End<'_>) -> &Handles {
        let context = end.context();
        let protocol = match (context.protocol(), end.code) {
            (Name::NONE, Code::Grpc(_)) => Name::GRPC,
            (Name::NONE, _) => self.protocol,
            (known, _) => known,
        };
        let names = [context.listener(), context.route(), context.cluster(), protocol];
        let key = Key::new(names, end.code, end.outcome);
        match self.table.get(&key).or_else(|| self.table.insert(key, || self.register(&key, end))) {
            Some(handles) => handles,
            None => self.overflow.get_or_init(|| {
                let mut labels = self.labels.clone();
                labels.push(Label::new("otel_metric_overflow", "true"));
                registered(labels.clone(), labels)
            }),
        }
    }

    fn register(&self, key: &Key, end: &End<'_>) -> Handles {
        let names =
            [("listener", key.listener), ("route", key.route), ("cluster", key.cluster), ("protocol", key.protocol)];
        // to Prometheus an empty label is none
        let named = names.into_iter().filter(|(_, name)| !name.is_none());
        let mut labels: Vec<Label> =
            named.map(|(label, name)| Label::from_static_parts(label, name.as_str())).collect();
        labels.extend(self.labels.iter().cloned());
        let duration = labels.clone();
        labels.push(Label::from_static_parts("status_class", end.code.class()));
        labels.push(Label::from_static_parts("outcome", end.outcome.as_str()));
        registered(labels, duration)
    }
}

fn registered(count: Vec<Label>, duration: Vec<Label>) -> Handles {
    Handles {
        count: metrics::counter!(REQUESTS_TOTAL, count),
        duration: metrics::histogram!(REQUEST_DURATION_SECONDS, duration),
    }
}

impl Watch for Metrics {
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.in_flight().decrement(1.0);
        let nanos = end.at().now().as_nanos().saturating_sub(ticket.0);
        let handles = self.handles(end);
        handles.count.increment(1);
        handles.duration.record(nanos as f64 / 1e9);
    }
}

impl<R: RequestView> Gate<R> for Metrics {
    #[inline]
    fn admit(&self, request: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        // the clock is read for a request only that does not say when it arrived
        let began = request.context().arrived();
        Ok(self.begin(|| began.unwrap_or_else(|| at.now())))
    }

    fn observes(&self) -> bool {
        true
    }
}

/// [`Metrics`] of calls that carry no record: any request, and their time is from the call to the result.
#[derive(Clone, Debug)]
pub struct FromCall(Arc<Metrics>);

impl FromCall {
    /// The same metrics, asked in this way.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0
    }
}

impl Watch for FromCall {
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.0.on_end(ticket, end);
    }
}

impl<R> Gate<R> for FromCall {
    #[inline]
    fn admit(&self, _: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        Ok(self.0.begin(|| at.now()))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("enabled", &self.is_enabled())
            .field("labels", &self.labels)
            .field("series", &self.series())
            .finish_non_exhaustive()
    }
}
