use super::{Made, Pipeline, Protocol};
use crate::{
    Rejection,
    run::{Placed, Run},
};
use std::{fmt, sync::Arc};

/// The gates of a pipeline that only observe: they are told of requests that are refused before they get to it, so that a
/// log and a count of requests are complete.
pub struct Observers<P: Protocol>(Option<Arc<Run<P::Request>>>);

impl<P: Protocol> Pipeline<P> {
    /// Those of its gates that [only observe](crate::Gate::observes), in their order.
    pub fn observers(&self) -> Observers<P> {
        let observing = self.items.iter().filter_map(|item| match &item.made {
            Made::Gate(gate) if gate.observes() => Some(Placed::new(gate.clone(), item.control.clone())),
            _ => None,
        });
        let gates: Vec<_> = observing.collect();
        Observers((!gates.is_empty()).then(|| Run::new(gates)))
    }
}

impl<P: Protocol> Observers<P> {
    /// Tells of a request, and of its refusal as its head and its end.
    pub fn tell_refused(&self, request: &mut P::Request, rejection: &mut Rejection) {
        // none of them refuses
        if let Some(Ok(mut guards)) = self.0.as_ref().map(|run| run.admit(request)) {
            guards.refuse(rejection);
        }
    }
}

impl<P: Protocol> fmt::Debug for Observers<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0).finish()
    }
}
