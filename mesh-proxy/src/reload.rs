//! The running spec is taken from its file again: when that changes, at a signal, on demand.

use crate::{Engine, Layers, Plan, ReloadError, ReloadReport, plan::Fingerprint, read};
use mesh_core::spec::Invalid;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Takes the spec of a running engine from its file again. Clones share it.
#[derive(Clone)]
pub struct Reloader(Arc<Shared>);

struct Shared {
    engine: Engine,
    file: PathBuf,
    layers: Layers,
    environment: fn(&str) -> Option<String>,
    /// What was read last, so that it is tried once.
    seen: Mutex<Fingerprint>,
    applied: metrics::Counter,
    refused: metrics::Counter,
}

/// Why a reload was refused as a whole. What runs goes on as it was.
#[derive(Debug)]
pub enum Refused {
    /// The file is not good: all its faults.
    Invalid(Vec<read::Diagnostic>),
    /// It is good, and cannot be taken now.
    Engine(ReloadError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(faults) => {
                let count = faults.len();
                write!(f, "{count} {}", if count == 1 { "fault" } else { "faults" })?;
                faults.iter().try_for_each(|fault| write!(f, "\n{fault}"))
            }
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid(_) => None,
            Self::Engine(error) => Some(error),
        }
    }
}

impl Reloader {
    /// For an engine that runs the spec of `file`, with the layers and the environment it was checked with.
    pub fn new(engine: Engine, file: PathBuf, layers: Layers, environment: fn(&str) -> Option<String>) -> Self {
        metrics::describe_counter!("mesh_config_reloads_total", "Reloads of the spec, by what came of them");
        let counter = |result| metrics::counter!("mesh_config_reloads_total", "result" => result);
        let seen = Mutex::new(engine.fingerprint());
        let (applied, refused) = (counter("applied"), counter("refused"));
        // both are there from the start, so that a rate of them can be asked for
        applied.increment(0);
        refused.increment(0);
        Self(Arc::new(Shared { engine, file, layers, environment, seen, applied, refused }))
    }

    /// Reads the file and takes it in place of what runs; logs what came of it, `because` of what, and counts it in
    /// `mesh_config_reloads_total`. It runs on a thread for blocking work, also to its end where this future is dropped.
    ///
    /// # Errors
    /// The file is not good, or cannot be taken: what runs goes on untouched.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn reload(&self, because: &'static str) -> Result<ReloadReport, Refused> {
        let me = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let read = me.read();
            me.take(read, because)
        });
        match work.await {
            Ok(result) => result,
            Err(panicked) if panicked.is_panic() => std::panic::resume_unwind(panicked.into_panic()),
            // the runtime is ending
            Err(_) => Err(Refused::Engine(ReloadError::Draining)),
        }
    }

    /// Reloads whenever the file has become another one, also by a swap of symbolic links, as Kubernetes makes it for
    /// config maps. Until it is dropped.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    #[cfg(feature = "file")]
    pub async fn follow_file(self) {
        /// For file systems that do not tell of changes.
        const POLL: std::time::Duration = std::time::Duration::from_secs(30);

        let watch = mesh_discovery::FileWatch::new(&self.0.file);
        loop {
            let (me, renewed) = (self.clone(), watch.clone());
            let work = tokio::task::spawn_blocking(move || {
                renewed.renew();
                let read = me.read();
                // one that is missing is about to be written, as a rule
                let text =
                    read.0.as_ref().map(|document| document.text.as_str()).filter(|text| !text.trim().is_empty());
                if text.is_some_and(|text| !me.is_seen(text)) && !me.0.engine.is_draining() {
                    // it is logged and counted
                    let _ = me.take(read, "the file has changed");
                }
            });
            if let Err(error) = work.await {
                tracing::error!(%error, "a reload has failed");
            }
            watch.changed(POLL).await;
        }
    }

    fn read(&self) -> (Option<read::Document>, Vec<read::Diagnostic>) {
        read::read_file(&self.0.file, &self.0.environment)
    }

    #[cfg(feature = "file")]
    fn is_seen(&self, text: &str) -> bool {
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) == Fingerprint::of(text)
    }

    fn take(
        &self,
        (document, mut faults): (Option<read::Document>, Vec<read::Diagnostic>),
        because: &'static str,
    ) -> Result<ReloadReport, Refused> {
        let shared = &*self.0;
        let began = Instant::now();
        if let Some(document) = &document {
            *shared.seen.lock().unwrap_or_else(PoisonError::into_inner) = Fingerprint::of(&document.text);
            if document.text.trim().is_empty() {
                faults.push(document.diagnose(&Invalid::new("the file is empty")));
            }
        }
        let plan = Plan::finish(document, faults, &shared.layers).map_err(Refused::Invalid);
        let result = plan.and_then(|plan| {
            let warnings = plan.warnings().to_vec();
            let report = shared.engine.reload(plan).map_err(Refused::Engine)?;
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            Ok(report)
        });
        let file = shared.file.display();
        match &result {
            Ok(report) => {
                shared.applied.increment(1);
                let took = mesh_core::units::format_duration(whole_millis(began));
                tracing::info!(%file, because, took, "reloaded: {report}");
            }
            Err(refused) => {
                shared.refused.increment(1);
                tracing::error!(%file, because, "the reload is refused, what runs goes on: {refused}");
            }
        }
        result
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.0.file
    }
}

fn whole_millis(began: Instant) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("file", &self.0.file).finish_non_exhaustive()
    }
}
