//! The contract of governance layers, as tests.
//!
//! [`layer`] takes any tower layer, [`gate`] any gate; both are given a function that makes one with a fresh state. The
//! settings should admit some thousand requests: what a layer does when it refuses is shown by [`Contract::tight`].
//! [`Contract::check`] runs every check that there is enough to go on for, each in a tokio runtime of its own with
//! paused time, and panics with the names of those that failed.
//!
//! | check | says |
//! | --- | --- |
//! | `poll_ready_without_call` | readiness that is polled, cloned and dropped takes nothing that must be given back |
//! | `poll_ready_twice` | a second `poll_ready` before the call changes nothing |
//! | `polled_instance_is_called` | the inner service is called on the instance that was polled ready |
//! | `pending_readiness` | readiness of the inner service is waited for, and the waiter is woken |
//! | `readiness_error` | an error of the inner service's readiness comes out as it is |
//! | `ways_out` | tickets around and below the layer end once, with the outcome that is due: answer, failure, broken body, error, refusal, drop, `drop_as`, panic |
//! | `dropped_at_each_point` | the same when the call is given up after each possible number of polls |
//! | `scarce_readiness` | many calls over few permits, some of them abandoned: no hang, no permit stranded |
//! | `shared_state` | clones and services made by the same layer share its state (`tight`) |
//! | `readiness_takes_no_slot` | an idle service that was polled ready does not take the slot of others (`tight`) |
//! | `retuned_in_flight` | a change of settings loses no call (`retune`) |
//! | `retuned_state` | a change of settings keeps the state (`retune` and `tight`) |
//! | `off` | switched off, a layer forwards polls and adds nothing (`off`) |
//! | `allocations` | what a call allocates in steady state (`allocations`) |

mod below;
mod checks;
mod cost;
mod rig;
mod state;

pub use below::{Below, BelowFuture};

use crate::Messages;
use mesh_core::{
    Gate, GateLayer, Governed, Pipeline, Protocol, RequestView, Stage, Whole,
    pipeline::{Made, layer as own},
};
use rig::Trial;
use std::{fmt, marker::PhantomData, rc::Rc, sync::Arc, time::Duration};
use tower_layer::Layer;
use tower_service::Service;

/// A layer to be checked, over these messages. `make` gives one with a fresh state.
pub fn layer<M, L>(make: impl Fn() -> L + 'static) -> Contract<M, L>
where
    M: Messages,
    L: Layer<Below<M>, Service: Governs<M>> + Clone + 'static,
{
    Contract::<M, L>::of(make).trial("as a tower layer", 0, |layer: &Arc<L>| (**layer).clone())
}

/// A gate to be checked, over these messages: as a tower layer, and in a run of a pipeline. `make` gives one with a
/// fresh state. For a gate whose requests are none of a protocol, check its layer:
/// `layer::<Plain, _>(|| GateLayer::new(gate()).results_only())`.
pub fn gate<M, G>(make: impl Fn() -> G + 'static) -> Contract<M, G>
where
    M: Spoken<Reach = Whole>,
    G: Gate<<M as Messages>::Request>,
{
    Contract::<M, G>::of(make).trial("as a tower layer", 0, |gate: &Arc<G>| GateLayer::shared(gate.clone())).trial(
        "in a run",
        1,
        |gate: &Arc<G>| Pipeline::<M>::builder().made("subject", Made::Gate(gate.clone())).build(),
    )
}

/// A service that takes and gives these messages: what a layer must make of the mock below it.
pub trait Governs<M: Messages>:
    Service<M::Request, Response = M::Response, Error = M::Error> + Clone + 'static
{
}

impl<M, S> Governs<M> for S
where
    M: Messages,
    S: Service<M::Request, Response = M::Response, Error = M::Error> + Clone + 'static,
{
}

/// Messages of a protocol: those that pipelines can carry.
pub trait Spoken:
    Messages<Request: RequestView, Response: Governed, Error: std::error::Error + Sync>
    + Protocol<
        Request = <Self as Messages>::Request,
        Response = <Self as Messages>::Response,
        Error = <Self as Messages>::Error,
    >
{
}

impl<M> Spoken for M where
    M: Messages<Request: RequestView, Response: Governed, Error: std::error::Error + Sync>
        + Protocol<
            Request = <M as Messages>::Request,
            Response = <M as Messages>::Response,
            Error = <M as Messages>::Error,
        >
{
}

/// What makes a tight layer refuse the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhaust {
    /// One call that is not answered yet.
    Pending,
    /// One call whose answer has not been read to its end.
    Call,
    /// One call that failed.
    Failure,
}

type Make<T> = Rc<dyn Fn() -> Arc<T>>;
type On<T, A> = Rc<dyn Fn(&T) -> A>;
/// Runs all checks on the subject in one of its forms, and names those that failed.
type RunTrial<M, T> = Rc<dyn Fn(&Contract<M, T>) -> Vec<String>>;

/// What a layer or gate `T` is expected to do; [`Contract::check`] looks whether it does.
pub struct Contract<M: Messages, T> {
    make: Make<T>,
    settled: Option<On<T, bool>>,
    tight: Option<(Make<T>, Exhaust)>,
    retune: Option<On<T, ()>>,
    off: Option<Make<T>>,
    allocations: Option<u64>,
    changes_outcomes: bool,
    step: Duration,
    trials: Vec<RunTrial<M, T>>,
    messages: PhantomData<fn() -> M>,
}

impl<M: Messages, T: 'static> Contract<M, T> {
    fn of(make: impl Fn() -> T + 'static) -> Self {
        Self {
            make: Rc::new(move || Arc::new(make())),
            settled: None,
            tight: None,
            retune: None,
            off: None,
            allocations: None,
            changes_outcomes: false,
            step: Duration::from_millis(1),
            trials: Vec::new(),
            messages: PhantomData,
        }
    }

    /// Whether the subject holds nothing: asked after every way out of a call.
    pub fn settled(self, settled: impl Fn(&T) -> bool + 'static) -> Self {
        Self { settled: Some(Rc::new(settled)), ..self }
    }

    /// Makes one that refuses, or lets wait, every call after the first has done what `exhaust` says.
    pub fn tight(self, make: impl Fn() -> T + 'static, exhaust: Exhaust) -> Self {
        Self { tight: Some((Rc::new(move || Arc::new(make())), exhaust)), ..self }
    }

    /// Changes the settings to some that admit as much as before.
    pub fn retune(self, retune: impl Fn(&T) + 'static) -> Self {
        Self { retune: Some(Rc::new(retune)), ..self }
    }

    /// Makes one that is switched off.
    pub fn off(self, make: impl Fn() -> T + 'static) -> Self {
        Self { off: Some(Rc::new(move || Arc::new(make()))), ..self }
    }

    /// How often the subject may allocate for a call in steady state. Its box in a pipeline does not count. The test
    /// binary must install [`Counting`](crate::alloc::Counting).
    pub fn allocations(self, allowed: u64) -> Self {
        Self { allocations: Some(allowed), ..self }
    }

    /// The subject makes something else of what it is answered: a retry, a fallback. Tickets must still end once, with
    /// whatever outcome.
    pub fn changes_outcomes(self) -> Self {
        Self { changes_outcomes: true, ..self }
    }

    /// How far time goes on between two polls of a call; one millisecond if it is not said. A call is polled up to a
    /// thousand times.
    pub fn step(self, step: Duration) -> Self {
        Self { step, ..self }
    }

    /// Runs the checks, and prints which it had not enough to go on for.
    ///
    /// # Panics
    /// If one fails; all that fail are named, and each prints its reason.
    pub fn check(&self) {
        let given = [
            ("settled", self.settled.is_some()),
            ("tight", self.tight.is_some()),
            ("retune", self.retune.is_some()),
            ("off", self.off.is_some()),
            ("allocations", self.allocations.is_some()),
        ];
        for (what, _) in given.iter().filter(|(_, given)| !given) {
            println!("not checked, since the contract does not say `{what}`: see the table of `mesh_test::contract`");
        }
        let failed: Vec<String> = self.trials.iter().flat_map(|trial| trial(self)).collect();
        assert!(failed.is_empty(), "the contract is broken:\n  {}", failed.join("\n  "));
    }

    fn trial<L>(mut self, form: &'static str, boxes: u64, apply: fn(&Arc<T>) -> L) -> Self
    where
        L: Layer<Below<M>, Service: Governs<M>> + 'static,
    {
        self.trials.push(Rc::new(move |contract| Trial { contract, form, boxes, apply }.run()));
        self
    }
}

impl<M: Spoken, L: Clone + 'static> Contract<M, L> {
    /// Checks a tower layer also where it stands in a pipeline.
    pub fn in_a_pipeline(self) -> Self
    where
        L: Layer<Stage<M>> + Send + Sync,
        L::Service: Service<<M as Messages>::Request, Response = <M as Messages>::Response, Error = <M as Messages>::Error>
            + Clone
            + Send
            + 'static,
        <L::Service as Service<<M as Messages>::Request>>::Future: Send + 'static,
    {
        self.trial("in a pipeline", 2, |layer: &Arc<L>| {
            Pipeline::<M>::builder().made("subject", Made::Layer(own((**layer).clone()))).build()
        })
    }
}

impl<M: Messages, T> fmt::Debug for Contract<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("allocations", &self.allocations)
            .field("changes_outcomes", &self.changes_outcomes)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}
