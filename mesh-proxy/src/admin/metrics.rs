use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{fmt, time::Duration};

/// How often samples of histograms are put into their buckets. Until then each is kept by itself.
const UPKEEP: Duration = Duration::from_millis(100);

/// What the process counts, in the text format of Prometheus.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// The process has a recorder of metrics already, or the buckets are not good.
#[derive(Debug)]
pub struct InstallError(String);

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metrics cannot be recorded: {}", self.0)
    }
}

impl std::error::Error for InstallError {}

impl Metrics {
    /// Installs the recorder of the process. Before an [`Engine`](crate::Engine) starts: layers register when they are
    /// made.
    ///
    /// # Errors
    /// There is one already.
    pub fn install() -> Result<Self, InstallError> {
        let builder = PrometheusBuilder::new();
        #[cfg(feature = "metrics")]
        let builder = builder.set_buckets_for_metric(
            metrics_exporter_prometheus::Matcher::Suffix("_duration_seconds".into()),
            &mesh_metrics::DURATION_BUCKETS,
        );
        #[cfg(feature = "metrics")]
        let builder = builder.map_err(|error| InstallError(error.to_string()))?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).map_err(|error| InstallError(error.to_string()))?;
        ::metrics::describe_counter!("mesh_requests_total", "Requests that have ended");
        ::metrics::describe_histogram!("mesh_request_duration_seconds", "From a request's arrival to its end");
        ::metrics::describe_gauge!("mesh_requests_in_flight", "Requests that have not ended");
        ::metrics::describe_counter!("mesh_rejections_total", "Requests that a layer refused");
        ::metrics::describe_counter!("mesh_shadow_rejections_total", "Requests that a layer would have refused");
        ::metrics::describe_gauge!("mesh_downstream_connections", "Connections of clients");
        ::metrics::describe_gauge!("mesh_upstream_connections", "Connections to endpoints");
        ::metrics::describe_gauge!("mesh_build_info", "1, with the version as a label");
        ::metrics::gauge!("mesh_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { handle })
    }

    /// All there is, as text.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps the memory of histograms bounded between scrapes, until it is dropped.
    pub async fn upkeep(self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
