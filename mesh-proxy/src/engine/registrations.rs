//! Where this service makes itself known: kept over a reload that does not change it, taken back at the drain.

use crate::plan::Plan;
use mesh_core::Target;
use mesh_discovery::{CheckedRegistrar, Registrar as _, Registration};
use std::time::Duration;

/// How long taking a registration back may hold up the end of the program.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is registered at the moment.
#[derive(Debug, Default)]
pub(super) struct Registrations(Vec<Registered>);

#[derive(Debug)]
struct Registered {
    registrar: CheckedRegistrar,
    instance: Target,
    registration: Registration,
}

impl Registrations {
    /// Registers what a plan says and is not yet, and gives up what it does not say any more. Inside the control
    /// thread's runtime.
    pub(super) fn follow(&mut self, plan: &Plan) {
        let mut before = std::mem::take(&mut self.0);
        for (spec, registrar) in plan.spec.registrations.iter().zip(&plan.registrations) {
            let same = |kept: &Registered| kept.registrar == *registrar && kept.instance == spec.instance;
            self.0.push(match before.iter().position(same) {
                Some(index) => before.swap_remove(index),
                None => Registered {
                    registrar: registrar.clone(),
                    instance: spec.instance.clone(),
                    registration: registrar.registrar().register(spec.instance.clone()),
                },
            });
        }
    }

    /// Takes all of them back; ready when the registries know, or do not answer.
    pub(super) async fn withdraw(self) {
        let all = self.0.into_iter().map(|kept| tokio::time::timeout(PATIENCE, kept.registration.deregister()));
        // each goes on by itself
        let all: Vec<_> = all.map(tokio::spawn).collect();
        for one in all {
            if !matches!(one.await, Ok(Ok(()))) {
                tracing::warn!("a registry did not take a registration back in time");
            }
        }
    }
}
