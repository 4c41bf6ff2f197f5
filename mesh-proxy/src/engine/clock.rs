//! The clock of a worker: the system's is read once for each turn of its loop, not once for each question.

use mesh_core::{
    Nanos,
    time::{Clock, TokioClock},
};
use std::cell::Cell;

/// How many questions one reading answers at the most. A worker that is never out of work does not park: so what it
/// takes for the present is late by what it does for a few requests, a fraction of a millisecond.
const ANSWERS: u32 = 64;

thread_local! {
    static READ: Cell<Nanos> = const { Cell::new(Nanos::ZERO) };
    static ANSWERS_LEFT: Cell<u32> = const { Cell::new(0) };
}

/// tokio's clock, as of the beginning of a turn of this thread's loop: what is asked for while the same events are
/// worked off gets one answer, as in HAProxy and nginx. A reading is 115 instructions, a question without one 20, and
/// a proxied request asks about ten times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TurnClock;

impl TurnClock {
    /// A turn begins, after time that was spent waiting.
    pub(super) fn begin_turn() {
        ANSWERS_LEFT.set(0);
    }
}

impl Clock for TurnClock {
    #[inline]
    fn now(&self) -> Nanos {
        match ANSWERS_LEFT.get() {
            0 => read(),
            left => {
                ANSWERS_LEFT.set(left - 1);
                READ.get()
            }
        }
    }

    fn is_tokios(&self) -> bool {
        true
    }
}

#[inline(never)]
fn read() -> Nanos {
    let now = TokioClock.now();
    READ.set(now);
    ANSWERS_LEFT.set(ANSWERS - 1);
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_turn_has_one_moment() {
        TurnClock::begin_turn();
        let first = TurnClock.now();
        advance(Duration::from_millis(1)).await;
        assert_eq!(TurnClock.now(), first);
        TurnClock::begin_turn();
        assert_eq!(TurnClock.now().since(first), Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_without_end_is_seen_to_take_time() {
        TurnClock::begin_turn();
        let first = TurnClock.now();
        advance(Duration::from_millis(1)).await;
        let asked = (1..1000).take_while(|_| TurnClock.now() == first).count();
        assert_eq!(asked, ANSWERS as usize - 1);
        assert_eq!(TurnClock.now().since(first), Duration::from_millis(1));
    }
}
