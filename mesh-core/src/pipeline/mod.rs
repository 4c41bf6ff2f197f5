//! Pipelines: layers as data. A [`Registry`] makes a [`Pipeline`] of names and settings; applied on a worker it
//! becomes a [`Stage`], which is runs of gates and the services between them.

mod observers;
// the module's main type has a file of its own, as its others have
#[allow(clippy::module_inception)]
mod pipeline;
mod protocol;
#[cfg(feature = "config")]
mod registry;
mod site;
mod stage;
#[cfg(feature = "config")]
mod states;
mod table;

pub use observers::Observers;
pub use pipeline::{ApplyLayer, Made, Pipeline, PipelineBuilder, foreign, layer};
pub use protocol::{Protocol, Replay};
#[cfg(feature = "config")]
pub use registry::{Checked, CheckedPipeline, Effective, Factory, NoSettings, Registry, Shape, Validate, stateless};
pub use site::{Place, Site, Spawn};
pub use stage::{Stage, StageFuture, SyncStage};
#[cfg(feature = "config")]
pub use states::{Fate, LayerReport, Report, State, States};
pub use table::{StageHandle, StageRef, sweep};
