//! The gate of a pipeline, where a request can wait.

use crate::{
    Abort, FaultInjection,
    faults::{Active, Plan},
};
use mesh_core::{At, End, Gate, Pause, PausingGate, Rejection, RequestView, Ticket, Watch, time};
use std::{sync::Arc, time::Duration};

/// Aborts and delays. A ticket is of a request that is to be delayed: for so many nanoseconds, and then perhaps aborted.
#[derive(Debug)]
pub(crate) struct Pausing(pub(crate) Arc<FaultInjection>);

impl Watch for Pausing {
    /// Of a request that nobody has paused.
    fn on_end(&self, _: Ticket, _: &End<'_>) {
        self.0.end_delay();
    }
}

impl<R: RequestView> Gate<R> for Pausing {
    #[inline]
    fn admit(&self, request: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        let Some(drawn) = self.0.draw() else { return Ok(None) };
        match self.0.plan(Some(request), true, drawn, || at.now()) {
            Some(Plan { delay: Some(delay), abort }) => {
                let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
                Ok(Some(Ticket(nanos, abort.map_or(0, Abort::to_bits))))
            }
            Some(Plan { delay: None, abort: Some(abort) }) => Err(abort.rejection()),
            _ => Ok(None),
        }
    }
}

impl<R: RequestView> PausingGate<R> for Pausing {
    fn pause(&self, Ticket(nanos, abort): Ticket) -> Option<Pause> {
        let (active, over) = (Active(self.0.clone()), time::sleep(Duration::from_nanos(nanos)));
        Some(Box::pin(async move {
            let _active = active;
            over.await;
            Abort::from_bits(abort).map_or(Ok(None), |abort| Err(abort.rejection()))
        }))
    }
}

const STATUS: u64 = 1 << 16;
const GRPC: u64 = 2 << 16;
const RESET: u64 = 3 << 16;

impl Abort {
    /// As a number, never zero.
    const fn to_bits(self) -> u64 {
        match self {
            Abort::Status(status) => STATUS | status as u64,
            Abort::Grpc(status) => GRPC | status as u64,
            Abort::Reset => RESET,
        }
    }

    const fn from_bits(bits: u64) -> Option<Self> {
        match bits & !0xffff {
            STATUS => Some(Abort::Status(bits as u16)),
            GRPC => Some(Abort::Grpc(bits as u16)),
            RESET => Some(Abort::Reset),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_comes_back_out_of_its_number() {
        for abort in [Some(Abort::Status(599)), Some(Abort::Grpc(0)), Some(Abort::Reset), None] {
            assert_eq!(Abort::from_bits(abort.map_or(0, Abort::to_bits)), abort);
        }
    }
}
