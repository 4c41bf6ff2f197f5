use super::Made;
use crate::{Name, Protocol, spec::Node};
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
}

pub(crate) struct Kept<P: Protocol> {
    pub(crate) name: Name,
    pub(crate) settings: Node,
    pub(crate) state: Arc<State>,
    pub(crate) made: Made<P>,
}

/// What became of a layer in a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Its settings are the same: it goes on as it is.
    Kept,
    /// Its settings changed, its state goes on.
    Retuned,
    /// Its settings changed, and its state could not be kept.
    Reset,
    /// It was not there before.
    New,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Kept => "kept",
            Fate::Retuned => "retuned",
            Fate::Reset => "reset",
            Fate::New => "new",
        })
    }
}

/// The states of all layers of a configuration, for the one that comes after it.
pub struct States<P: Protocol> {
    kept: BTreeMap<(String, StateKey), Kept<P>>,
    report: Report,
}

/// What became of each layer: its stage, its name, its fate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(pub Vec<(String, Name, Fate)>);

impl Report {
    /// How many layers had this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.0.iter().filter(|entry| entry.2 == fate).count()
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

    pub(crate) fn get(&self, key: &(String, StateKey)) -> Option<&Kept<P>> {
        self.kept.get(key)
    }

    pub(crate) fn keep(
        &mut self,
        key: (String, StateKey),
        name: Name,
        settings: Node,
        state: Arc<State>,
        made: Made<P>,
        fate: Fate,
    ) {
        self.report.0.push((key.0.clone(), name, fate));
        self.kept.insert(key, Kept { name, settings, state, made });
    }
}

impl<P: Protocol> fmt::Debug for States<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kept.keys()).finish()
    }
}
