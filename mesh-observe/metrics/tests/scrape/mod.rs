//! A recorder of this thread, and what a scrape of it says.
#![allow(dead_code, reason = "each test file uses a part")]

use mesh_metrics::DURATION_BUCKETS;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::BTreeMap;

/// Prometheus' recorder for what `run` does on this thread.
pub(crate) fn recorded<T>(run: impl FnOnce(&Scrape) -> T) -> T {
    let recorder = recorder();
    let scrape = Scrape(recorder.handle());
    metrics::with_local_recorder(&recorder, || run(&scrape))
}

pub(crate) fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS).unwrap().build_recorder()
}

/// What has been recorded.
#[derive(Clone)]
pub(crate) struct Scrape(pub(crate) PrometheusHandle);

impl Scrape {
    /// The samples: name and labels in order, and the value.
    pub(crate) fn samples(&self) -> BTreeMap<(String, Vec<String>), f64> {
        let text = self.0.render();
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        samples
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
                let mut labels: Vec<String> =
                    labels.map(|label| label.trim_end_matches('"').replace('"', "")).collect();
                labels.sort();
                ((name.to_owned(), labels), value.parse().unwrap())
            })
            .collect()
    }

    /// The value of one series; `labels` as `name=value`, in any order.
    pub(crate) fn value(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let mut labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        labels.sort();
        self.samples().get(&(name.to_owned(), labels)).copied()
    }

    /// The counters: labels in one text, and the value.
    pub(crate) fn requests(&self) -> Vec<(String, f64)> {
        let samples = self.samples().into_iter();
        samples
            .filter(|((name, _), _)| name == mesh_metrics::REQUESTS_TOTAL)
            .map(|((_, labels), value)| (labels.join(" "), value))
            .collect()
    }

    /// The gauge, over all places.
    pub(crate) fn in_flight(&self) -> f64 {
        let samples = self.samples().into_iter();
        samples.filter(|((name, _), _)| name == mesh_metrics::REQUESTS_IN_FLIGHT).map(|(_, value)| value).sum()
    }
}
