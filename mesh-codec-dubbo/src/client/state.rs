//! What calls and the task of the connection share: who waits for which answer, and what is to be written.

use crate::{Response, UpstreamErrorKind};
use bytes::BytesMut;
use mesh_core::Nanos;
use std::{collections::VecDeque, sync::Arc, task::Waker};

/// Bits of an id that are the place of its call; above them it is a number that never comes again.
const PLACE_BITS: u32 = 16;
/// The most calls at once.
pub(super) const MOST: usize = (1 << PLACE_BITS) - 1;
/// The place of ids that belong to no call: heartbeats.
const NO_PLACE: u64 = MOST as u64;

/// The state of the connection.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// There is none.
    Idle,
    /// One is being made.
    Connecting,
    /// It is there.
    Open,
    /// The upstream wants no new calls.
    ReadOnly,
    /// None could be made; until then no other is tried.
    Failed { until: Nanos, why: Failure },
}

/// Why there is no answer. Said to all calls alike.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: UpstreamErrorKind,
    pub(super) text: Arc<str>,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// What is to be written, and whether the task knows of it.
    pub(super) out: BytesMut,
    /// Bytes that the task has taken to write them.
    pub(super) writing: usize,
    pub(super) task: Option<Waker>,
    /// No handle is left.
    pub(super) is_closing: bool,
    /// Connections in a row of which nothing came.
    pub(super) failures: u32,
    pub(super) waiting: Waiting,
    calls: Vec<Call>,
    free: Vec<u16>,
    next: u64,
}

struct Call {
    id: u64,
    answer: Answer,
}

enum Answer {
    /// Nobody waits for one here.
    None,
    Awaited(Option<Waker>),
    Here(Result<Response, Failure>),
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            out: BytesMut::new(),
            writing: 0,
            task: None,
            is_closing: false,
            failures: 0,
            waiting: Waiting::default(),
            calls: Vec::new(),
            free: Vec::new(),
            next: 1,
        }
    }

    /// Calls that have been sent and not been given up.
    pub(super) fn in_flight(&self) -> usize {
        self.calls.len() - self.free.len()
    }

    /// An id that no answer will ever be taken for.
    pub(super) fn lone_id(&mut self) -> u64 {
        self.next += 1;
        self.next << PLACE_BITS | NO_PLACE
    }

    /// A place for an answer, and the id to ask for it with.
    pub(super) fn begin(&mut self) -> u64 {
        self.next += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.calls.push(Call { id: 0, answer: Answer::None });
            // there are no more than `MOST`
            (self.calls.len() - 1) as u16
        });
        let id = self.next << PLACE_BITS | u64::from(place);
        self.calls[usize::from(place)] = Call { id, answer: Answer::Awaited(None) };
        id
    }

    fn call(&mut self, id: u64) -> Option<&mut Call> {
        self.calls.get_mut((id & NO_PLACE) as usize).filter(|call| call.id == id)
    }

    /// An answer has come. Gives whom to wake; an error: nobody waits for it.
    pub(super) fn answer(&mut self, id: u64, answer: Result<Response, Failure>) -> Result<Option<Waker>, ()> {
        let call = self.call(id).filter(|call| matches!(call.answer, Answer::Awaited(_))).ok_or(())?;
        match std::mem::replace(&mut call.answer, Answer::Here(answer)) {
            Answer::Awaited(waker) => Ok(waker),
            _ => Ok(None),
        }
    }

    /// The answer, if it is here: its place is free then. Else the waker is kept.
    pub(super) fn take(&mut self, id: u64, waker: &Waker) -> Option<Result<Response, Failure>> {
        let call = self.call(id)?;
        match &mut call.answer {
            Answer::Awaited(Some(kept)) => {
                kept.clone_from(waker);
                return None;
            }
            Answer::Awaited(kept) => {
                *kept = Some(waker.clone());
                return None;
            }
            Answer::None | Answer::Here(_) => {}
        }
        match self.forget(id) {
            Some(Answer::Here(answer)) => Some(answer),
            _ => None,
        }
    }

    /// Nobody waits any more.
    pub(super) fn give_up(&mut self, id: u64) -> bool {
        self.forget(id).is_some()
    }

    fn forget(&mut self, id: u64) -> Option<Answer> {
        let call = self.call(id)?;
        let answer = std::mem::replace(&mut call.answer, Answer::None);
        call.id = 0;
        self.free.push((id & NO_PLACE) as u16);
        Some(answer)
    }

    /// All that are asked for have failed. Gives whom to wake.
    pub(super) fn fail_all(&mut self, why: &Failure) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for call in &mut self.calls {
            if matches!(call.answer, Answer::Awaited(_))
                && let Answer::Awaited(Some(waker)) =
                    std::mem::replace(&mut call.answer, Answer::Here(Err(why.clone())))
            {
                wakers.push(waker);
            }
        }
        wakers
    }
}

/// Calls that wait until they can be sent, first come, first served.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<(u64, Waker)>,
    next: u64,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Waits, or goes on to. `ticket` is what it waits by; one that was called and found nothing keeps its turn.
    pub(super) fn wait(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
        let ticket = *ticket.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        match self.queue.binary_search_by_key(&ticket, |waiting| waiting.0) {
            Ok(place) => self.queue[place].1.clone_from(waker),
            Err(place) => self.queue.insert(place, (ticket, waker.clone())),
        }
    }

    /// Whether it has been called, or has never waited.
    pub(super) fn is_called(&self, ticket: Option<u64>) -> bool {
        ticket.is_none_or(|ticket| self.queue.binary_search_by_key(&ticket, |waiting| waiting.0).is_err())
    }

    /// Waits no longer. False: it had been called, and what it was called for is another's.
    pub(super) fn leave(&mut self, ticket: u64) -> bool {
        let before = self.queue.len();
        self.queue.retain(|waiting| waiting.0 != ticket);
        self.queue.len() < before
    }

    /// Calls the first.
    pub(super) fn call_one(&mut self) -> Option<Waker> {
        self.queue.pop_front().map(|(_, waker)| waker)
    }

    /// Calls all.
    pub(super) fn call_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.queue).into_iter().map(|(_, waker)| waker)
    }
}
