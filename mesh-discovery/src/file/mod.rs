//! Endpoints of a file that is watched (feature `file`).

mod watch;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub use watch::FileWatch;

use crate::{Discovery, Say, Sources, Static, Updates, updates};
use mesh_core::{
    Target,
    pipeline::Validate,
    spec::{Invalid, Position, shorthand},
    units::duration,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    borrow::Cow,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// How the text of a file becomes a list of endpoints: [`read_json`], or the reader of another format.
pub type ReadFile = fn(&str) -> Result<Static, Invalid>;

/// A longer file is none that lists endpoints.
const LONGEST: u64 = 64 << 20;

/// A file that lists endpoints in the form of `static`, watched.
///
/// It is read again when it is written, replaced by a rename, or when a symbolic link on the way to it is swapped, as
/// Kubernetes does with config maps; and every [`poll`](FileSettings::poll) in case the file system tells nothing
/// (network file systems). Replace it by a rename: one that is written in place may be read half written, though it is
/// first left alone for 50 ms.
///
/// A file that is missing, empty or wrong is logged, once, with line and column, and the last good endpoints stay. A
/// list without entries is an answer: there are none.
///
/// ```no_run
/// use mesh_core::Endpoints;
/// use mesh_discovery::{Discovery, File};
///
/// # async fn run() {
/// let (endpoints, driver) = Endpoints::new(File::new("endpoints.json").updates());
/// let _driver = driver.spawn();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct File {
    settings: FileSettings,
    read: ReadFile,
}

impl File {
    /// The file at `path`, in JSON. Relative to the working directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::of(FileSettings::new(path))
    }

    /// The file that these settings name, in JSON.
    pub fn of(settings: FileSettings) -> Self {
        Self { settings, read: read_json }
    }

    /// In another format.
    #[must_use]
    pub fn read_by(self, read: ReadFile) -> Self {
        Self { read, ..self }
    }

    /// Looked at again at the latest after this time. Default 30 s.
    #[must_use]
    pub fn poll_every(mut self, poll: Duration) -> Self {
        self.settings.poll = poll;
        self
    }
}

/// Inside a tokio runtime with time enabled. The file is read on a thread for blocking work.
impl Discovery for File {
    fn updates(&self) -> Updates {
        let Self { settings, read } = self.clone();
        updates(async move |say| follow(settings, read, say).await)
    }
}

/// The text, and what is in it unless it is the one that was read before.
type Found = (String, Option<Result<Vec<Target>, Invalid>>);

async fn follow(FileSettings { path, poll }: FileSettings, read: ReadFile, say: Say) {
    let watch = FileWatch::new(&path);
    let mut text = None;
    let mut complaint = None;
    loop {
        // first watched, then read: what changes in between is seen
        let (renewed, path) = (watch.clone(), path.clone());
        let shown = path.display().to_string();
        let before = text.clone();
        let work = tokio::task::spawn_blocking(move || {
            renewed.renew();
            let text = text_of(&path)?;
            let targets = match before {
                Some(before) if before == text => None,
                _ => Some(read_text(&text, read)),
            };
            Ok((text, targets))
        });
        let found: Result<Found, Invalid> = match work.await {
            Ok(found) => found,
            // the runtime ends, or the reader has panicked
            Err(error) => Err(Invalid::new(error.to_string())),
        };
        let outcome = match found {
            // written as it was
            Ok((_, None)) => complaint.clone().map_or(Ok(None), Err),
            Ok((new, Some(targets))) => {
                text = Some(new);
                targets.map(Some)
            }
            Err(invalid) => {
                // when it comes back it is read, even if it is the same
                text = None;
                Err(invalid)
            }
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(targets)) => {
                tracing::debug!(file = shown, endpoints = targets.len(), "endpoints read");
                complaint = None;
                say.set(targets);
            }
            Err(invalid) if complaint.as_ref() == Some(&invalid) => {}
            Err(invalid) => {
                tracing::warn!(
                    file = shown,
                    line = invalid.position.line,
                    column = invalid.position.column,
                    error = %invalid,
                    "the endpoints of this file cannot be read; the last good ones stay"
                );
                complaint = Some(invalid);
            }
        }
        watch.changed(poll).await;
    }
}

fn text_of(path: &Path) -> Result<String, Invalid> {
    let metadata = fs::metadata(path).map_err(|error| Invalid::new(error.to_string()))?;
    if !metadata.is_file() {
        // reading a pipe would wait for ever
        return Err(Invalid::new("it is not a file"));
    }
    if metadata.len() > LONGEST {
        return Err(Invalid::new(format!("it is too long: {} bytes, at the most {LONGEST} are read", metadata.len())));
    }
    fs::read_to_string(path).map_err(|error| Invalid::new(error.to_string()))
}

fn read_text(text: &str, read: ReadFile) -> Result<Vec<Target>, Invalid> {
    if text.trim().is_empty() {
        // about to be written, as a rule
        return Err(Invalid::new("it is empty").with_suggestion("write `[]` for no endpoints at all"));
    }
    read(text).map(|list| list.targets)
}

/// Reads a list of endpoints in JSON: `["127.0.0.1:9001", {"address": "127.0.0.1:9002", "weight": 2}]`.
///
/// # Errors
/// The first fault, with line and column.
pub fn read_json(text: &str) -> Result<Static, Invalid> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let message = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Invalid::new(message).at_position(Position::new(number(line), number(column)))
    })
}

/// `file` in a spec: `{ file: { path: endpoints.yaml } }`, or `{ file: endpoints.yaml }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Where the file is, relative to the working directory.
    pub path: PathBuf,
    /// It is looked at again at the latest after this time, should the file system not tell of a change. Default 30 s,
    /// at least 10 ms.
    pub poll: Duration,
}

impl FileSettings {
    /// These defaults for a path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), poll: default_poll() }
    }
}

fn default_poll() -> Duration {
    Duration::from_secs(30)
}

/// The mapping form.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FileMapping")]
struct Mapping {
    /// Where the file is, relative to the working directory. It holds a list as `static` does.
    path: PathBuf,
    /// It is looked at again at the latest after this time, should the file system not tell of a change; at least 10ms.
    /// Default 30s.
    #[serde(default = "default_poll", with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    poll: Duration,
}

impl From<Mapping> for FileSettings {
    fn from(Mapping { path, poll }: Mapping) -> Self {
        Self { path, poll }
    }
}

/// The mapping form.
impl Serialize for FileSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { path, poll } = self.clone();
        Mapping { path, poll }.serialize(serializer)
    }
}

/// A mapping, or the path alone.
impl<'de> Deserialize<'de> for FileSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expecting = "the path of a file, or a mapping with `path`";
        shorthand::<Self, Mapping, Infallible, _>(deserializer, expecting, |path| Ok(Self::new(path)))
    }
}

impl JsonSchema for FileSettings {
    fn schema_name() -> Cow<'static, str> {
        "FileSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<Mapping>();
        json_schema!({ "description": "The path of a file, or a mapping.", "anyOf": [{ "type": "string" }, mapping] })
    }
}

impl Validate for FileSettings {
    fn validate(&self) -> Result<(), Invalid> {
        if self.path.as_os_str().is_empty() {
            return Err(Invalid::new("expected the path of a file, found an empty text").in_path("path"));
        }
        if self.poll < Duration::from_millis(10) {
            return Err(Invalid::new("must be at least 10ms").in_path("poll"));
        }
        Ok(())
    }
}

/// Adds the source `file` with the reader of a format of one's own. [`register`](crate::register) adds it for JSON.
pub fn register_file(sources: &mut Sources, read: ReadFile) {
    sources.add("file", "Endpoints that a file lists, watched", move |settings: FileSettings| {
        File::of(settings).read_by(read)
    });
}
