use super::Made;
use crate::{Name, Protocol, spec::Node};
use serde::Serialize;
use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

/// What a layer keeps over a reload.
pub type State = dyn Any + Send + Sync;

/// How the state of a layer is found again: by an explicit id, else by its name and its ordinal among equal names in
/// the same pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StateKey {
    Id(String),
    Ordinal(String, usize),
}

impl StateKey {
    /// The stage it is kept under; an id is the same wherever the layer moves to.
    pub(crate) fn stage(&self, path: &str) -> String {
        match self {
            StateKey::Id(_) => String::new(),
            StateKey::Ordinal(..) => path.into(),
        }
    }

    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            StateKey::Id(id) => Some(id),
            StateKey::Ordinal(..) => None,
        }
    }
}

pub(crate) struct Kept<P: Protocol> {
    pub(crate) name: Name,
    /// Where it stands.
    pub(crate) path: Arc<str>,
    pub(crate) settings: Arc<Node>,
    pub(crate) state: Arc<State>,
    pub(crate) made: Made<P>,
}

/// What became of a layer in a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Its settings are the same: it goes on as it is.
    Kept,
    /// Its settings changed, its state goes on.
    Retuned,
    /// Its settings changed, and its state could not be kept.
    Reset,
    /// It was not there before.
    New,
    /// It is not there any more.
    Removed,
}

impl Fate {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Kept, Self::Retuned, Self::Reset, Self::New, Self::Removed];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Retuned => "retuned",
            Fate::Reset => "reset",
            Fate::New => "new",
            Fate::Removed => "removed",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The states of all layers of a configuration, for the one that comes after it.
pub struct States<P: Protocol> {
    kept: BTreeMap<(String, StateKey), Kept<P>>,
    report: Report,
}

/// What became of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LayerReport {
    /// The path of its stage.
    pub stage: Arc<str>,
    /// Its registered name.
    pub layer: Name,
    /// The name its state is kept under, if it says one.
    pub id: Option<String>,
    /// What became of it.
    pub fate: Fate,
}

/// As people write it: `listeners.web: rate_limit`, with ` (id)` where there is one.
impl fmt::Display for LayerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.layer)?;
        self.id.as_ref().map_or(Ok(()), |id| write!(f, " ({id})"))
    }
}

/// What became of each layer, in the order in which they were made; at the end those that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(pub Vec<LayerReport>);

impl Report {
    /// How many layers had this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.with(fate).count()
    }

    /// The layers that had this fate.
    pub fn with(&self, fate: Fate) -> impl Iterator<Item = &LayerReport> {
        self.0.iter().filter(move |entry| entry.fate == fate)
    }
}

impl<P: Protocol> Default for States<P> {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), report: Report::default() }
    }
}

impl<P: Protocol> States<P> {
    /// No states: nothing ran before.
    pub fn new() -> Self {
        Self::default()
    }

    /// What became of each layer when this configuration was made.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Adds what became of layers whose states are kept elsewhere, as those of an endpoint are.
    pub fn add_to_report(&mut self, entries: impl IntoIterator<Item = LayerReport>) {
        self.report.0.extend(entries);
    }

    /// To be called when all is made: adds to the report what was in `previous` and has no successor.
    pub fn report_removed(&mut self, previous: &Self) {
        let gone = previous.kept.iter().filter(|(key, _)| !self.kept.contains_key(*key));
        self.report.0.extend(gone.map(|((_, key), kept)| LayerReport {
            stage: kept.path.clone(),
            layer: kept.name,
            id: key.id().map(str::to_owned),
            fate: Fate::Removed,
        }));
    }

    pub(crate) fn get(&self, key: &(String, StateKey)) -> Option<&Kept<P>> {
        self.kept.get(key)
    }

    pub(crate) fn keep(&mut self, key: (String, StateKey), kept: Kept<P>, fate: Fate) {
        let id = key.1.id().map(str::to_owned);
        self.report.0.push(LayerReport { stage: kept.path.clone(), layer: kept.name, id, fate });
        self.kept.insert(key, kept);
    }
}

impl<P: Protocol> fmt::Debug for States<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kept.keys()).finish()
    }
}
