//! Request metrics with bounded series as a tower layer.

#[cfg(feature = "config")]
mod config;
mod gate;
mod layer;
mod series;
mod settings;

#[cfg(feature = "config")]
pub use config::register;
pub use gate::{
    DURATION_BUCKETS, FromCall, Metrics, REQUEST_DURATION_SECONDS, REQUESTS_IN_FLIGHT, REQUESTS_TOTAL, SERIES_LIMIT,
};
pub use layer::MetricsLayer;
pub use settings::{LabelError, MetricsSettings};
