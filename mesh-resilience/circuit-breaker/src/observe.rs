//! What others see of a breaker: the health of its endpoint, its gauge and counters, its event.

use crate::{
    State,
    policy::{Effects, Shown, Transition},
};
use mesh_core::{Endpoint, HealthFlag};
use metrics::{Counter, Gauge};
use std::{fmt, sync::Arc};

/// Its name, its place and its metrics, registered once.
pub(crate) struct Surroundings {
    /// For the event.
    pub(crate) place: String,
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    state: Gauge,
    transitions: [Counter; State::ALL.len()],
}

const GAUGE: &str = "mesh_circuit_breaker_state";
const COUNTER: &str = "mesh_circuit_breaker_transitions_total";

impl Surroundings {
    pub(crate) fn new(
        place: String,
        endpoint: Option<Arc<Endpoint>>,
        gauge: impl FnOnce(&'static str) -> Gauge,
        counter: impl Fn(&'static str, &'static str) -> Counter,
    ) -> Self {
        let transitions = State::ALL.map(|state| counter(COUNTER, state.as_str()));
        Self { place, endpoint, state: gauge(GAUGE), transitions }
    }

    /// In a stack of one's own: the name is the label `breaker`.
    pub(crate) fn library(name: &str, endpoint: Option<Arc<Endpoint>>) -> Self {
        let mut labels = vec![metrics::Label::new("breaker", name.to_owned())];
        labels.extend(endpoint.iter().map(|endpoint| metrics::Label::new("endpoint", endpoint.address().to_string())));
        let with = |to: &'static str| labels.iter().cloned().chain([metrics::Label::new("to", to)]).collect::<Vec<_>>();
        let place = match &endpoint {
            Some(endpoint) => format!("{name} at {}", endpoint.address()),
            None => name.to_owned(),
        };
        Self::new(
            place,
            endpoint,
            |gauge| metrics::gauge!(gauge, labels.clone()),
            |counter, to| metrics::counter!(counter, with(to)),
        )
    }

    pub(crate) fn report(&self, transition: &Transition) {
        let Transition { from, to, open_for, .. } = *transition;
        self.transitions[index(to)].increment(1);
        let (from, to, breaker) = (from.as_str(), to.as_str(), self.place.as_str());
        match open_for {
            Some(open_for) => tracing::warn!(breaker, from, to, ?open_for, "circuit breaker opened"),
            None => tracing::info!(breaker, from, to, "circuit breaker changed"),
        }
    }
}

const fn index(state: State) -> usize {
    match state {
        State::Closed => 0,
        State::Open => 1,
        State::HalfOpen => 2,
        State::ForcedOpen => 3,
        State::Disabled => 4,
    }
}

impl Effects for Surroundings {
    fn show(&self, shown: Shown) {
        self.state.set(index(shown.state) as f64);
        let Some(endpoint) = &self.endpoint else { return };
        match shown.refuses_until {
            Some(until) => endpoint.health().set_until(HealthFlag::CircuitOpen, until),
            None => endpoint.health().set(HealthFlag::CircuitOpen, false),
        };
    }
}

/// A breaker that is gone refuses nobody.
impl Drop for Surroundings {
    fn drop(&mut self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.health().set(HealthFlag::CircuitOpen, false);
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}
