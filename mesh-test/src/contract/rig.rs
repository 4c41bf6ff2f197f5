//! One layer under check with a spy on either side, and the ways a call goes through it.

use super::{
    Below, Contract, Governs,
    below::{HandleOf, spied},
};
use crate::{Messages, Spy, messages::refused, mock::Call};
use mesh_core::{Gated, Kind, Outcome, drop_as};
use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// A subject in one of its forms.
pub(super) struct Trial<'a, M: Messages, T, L> {
    pub(super) contract: &'a Contract<M, T>,
    /// `in a run`: for messages.
    pub(super) form: &'static str,
    /// The boxes that this form takes beside what the subject allocates.
    pub(super) boxes: u64,
    pub(super) apply: fn(&Arc<T>) -> L,
}

impl<M, T, L> Trial<'_, M, T, L>
where
    M: Messages,
    T: 'static,
    L: Layer<Below<M>, Service: Governs<M>> + 'static,
{
    /// Runs every check; what failed.
    pub(super) fn run(&self) -> Vec<String> {
        let mut failed = Vec::new();
        let mut check = |name: &str, check: &dyn Fn(&Self)| {
            if catch_unwind(AssertUnwindSafe(|| check(self))).is_err() {
                failed.push(format!("{name} ({})", self.form));
            }
        };
        check("poll_ready_without_call", &Self::poll_ready_without_call);
        check("poll_ready_twice", &Self::poll_ready_twice);
        check("polled_instance_is_called", &Self::polled_instance_is_called);
        check("pending_readiness", &Self::pending_readiness);
        check("readiness_error", &Self::readiness_error);
        check("ways_out", &Self::ways_out);
        check("dropped_at_each_point", &Self::dropped_at_each_point);
        check("scarce_readiness", &Self::scarce_readiness);
        check("shared_state", &Self::shared_state);
        check("readiness_takes_no_slot", &Self::readiness_takes_no_slot);
        check("retuned_in_flight", &Self::retuned_in_flight);
        check("retuned_state", &Self::retuned_state);
        check("off", &Self::off);
        check("allocations", &Self::allocations);
        failed
    }

    pub(super) fn rig(&self) -> Rig<M, T, L> {
        self.rig_of((self.contract.make)())
    }

    pub(super) fn rig_of(&self, subject: Arc<T>) -> Rig<M, T, L> {
        let (below, handle, inner) = Below::new();
        let layer = (self.apply)(&subject);
        let outer = Arc::new(Spy::default());
        let service = spied::<M>(&outer).layer(layer.layer(below.clone()));
        Rig { subject, layer, below, service, handle, inner, outer, step: self.contract.step }
    }

    /// Nothing is open and the subject says that it holds nothing.
    pub(super) fn assert_settled(&self, rig: &Rig<M, T, L>, what: &str) {
        rig.outer.assert_each_ended_once(&format!("{what}: around the layer"));
        rig.inner.assert_each_ended_once(&format!("{what}: below the layer"));
        if let Some(settled) = &self.contract.settled {
            assert!(settled(&rig.subject), "{what}: the subject still holds something");
        }
    }
}

/// In a runtime of its own, in which time stands still until it is told.
pub(super) fn paused<F: Future>(check: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing of the system");
    tokio::task::LocalSet::new().block_on(&runtime, check)
}

pub(super) struct Rig<M: Messages, T, L: Layer<Below<M>>> {
    pub(super) subject: Arc<T>,
    pub(super) layer: L,
    pub(super) below: Below<M>,
    /// The subject over `below`, with the outer spy around it.
    pub(super) service: Gated<L::Service, Spy, M::Reach>,
    pub(super) handle: HandleOf<M>,
    pub(super) inner: Arc<Spy>,
    pub(super) outer: Arc<Spy>,
    step: Duration,
}

/// How a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    DropAnswer,
    Failed,
    Broken,
    Error,
    Refused(Kind),
    PanicInCall,
    PanicInPoll,
    PanicAtEnd,
    GiveUp { after: usize, reason: Outcome },
}

impl Way {
    pub(super) const ALL: [Way; 10] = [
        Way::Read,
        Way::DropAnswer,
        Way::Failed,
        Way::Broken,
        Way::Error,
        Way::Refused(Kind::Saturated),
        Way::Refused(Kind::Timeout),
        Way::PanicInCall,
        Way::PanicInPoll,
        Way::PanicAtEnd,
    ];

    /// What a ticket hears of a call that goes so.
    pub(super) fn outcome(self, has_body: bool) -> Outcome {
        match self {
            Way::Read | Way::PanicAtEnd => Outcome::Success,
            Way::DropAnswer if has_body => Outcome::Cancelled,
            Way::DropAnswer => Outcome::Success,
            Way::Failed | Way::Broken | Way::Error | Way::PanicInCall | Way::PanicInPoll => Outcome::Failure,
            Way::Refused(kind) => kind.outcome(),
            Way::GiveUp { reason, .. } => reason,
        }
    }

    /// The messages may not know this way.
    pub(super) fn is_known<M: Messages>(self) -> bool {
        match self {
            Way::Failed => M::failed().is_some(),
            Way::Broken => M::broken().is_some(),
            _ => true,
        }
    }
}

/// More polls than any call should need.
const MOST_POLLS: usize = 1000;

impl<M, T, L> Rig<M, T, L>
where
    M: Messages,
    L: Layer<Below<M>, Service: Governs<M>>,
{
    /// Calls once, that way. The number of polls it took, to the end of the body.
    pub(super) async fn go(&self, way: Way) -> usize {
        let mut service = self.service.clone();
        self.ready(&mut service).await.unwrap_or_else(|error| panic!("{way:?}: not ready: {error:?}"));
        match way {
            Way::PanicInCall => self.handle.panic_on_call(),
            Way::PanicAtEnd => self.inner.panic_on_end(),
            _ => {}
        }
        let Ok(future) = catch_unwind(AssertUnwindSafe(|| service.call(M::request()))) else {
            assert_eq!(way, Way::PanicInCall, "the layer panicked");
            return 0;
        };
        let polls = self.follow(Box::pin(future), way).await;
        self.settle().await;
        polls
    }

    async fn follow(
        &self,
        mut future: Pin<Box<impl Future<Output = Result<M::Response, M::Error>>>>,
        way: Way,
    ) -> usize {
        let mut calls = Vec::new();
        for polls in 0..MOST_POLLS {
            if let Way::GiveUp { after, reason } = way
                && polls == after
            {
                drop_as(reason, || drop(future));
                return polls;
            }
            let Ok(poll) = catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut()))) else {
                let due = matches!(way, Way::PanicInCall | Way::PanicInPoll | Way::PanicAtEnd);
                assert!(due, "{way:?}: the layer panicked");
                return polls;
            };
            match poll {
                Poll::Ready(Ok(response)) => return self.read(response, way, polls + 1).await,
                Poll::Ready(Err(_)) => return polls + 1,
                Poll::Pending => {}
            }
            while let Some(call) = self.handle.try_next() {
                calls.push((call, polls));
            }
            // a call that waits is a point of its own; a layer's own task may poll it, or nobody
            let due = |(call, since): &mut (CallOf<M>, usize)| call.polls() >= 2 || polls > *since + 5;
            calls.extract_if(.., due).for_each(|(call, _)| reply::<M>(call, way));
            self.settle().await;
        }
        panic!("{way:?}: the call has not ended after {MOST_POLLS} polls, {:?} apart", self.step);
    }

    async fn read(&self, mut response: M::Response, way: Way, mut polls: usize) -> usize {
        if matches!(way, Way::DropAnswer | Way::Failed) {
            return polls;
        }
        loop {
            if let Way::GiveUp { after, reason } = way
                && polls == after
            {
                drop_as(reason, || drop(response));
                return polls;
            }
            if !M::HAS_BODY {
                return polls;
            }
            polls += 1;
            if M::poll_end(&mut response, &mut Context::from_waker(Waker::noop())).is_ready() {
                return polls;
            }
            assert!(polls < 2 * MOST_POLLS, "{way:?}: the body has not ended after {MOST_POLLS} polls");
            self.settle().await;
        }
    }

    pub(super) async fn ready(&self, service: &mut impl Service<M::Request, Error = M::Error>) -> Result<(), M::Error> {
        for _ in 0..MOST_POLLS {
            match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => return result,
                Poll::Pending => self.settle().await,
            }
        }
        panic!("not ready after {MOST_POLLS} polls, {:?} apart", self.step)
    }

    /// Lets tasks that the layer may have spawned run, and time go on.
    pub(super) async fn settle(&self) {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(self.step).await;
    }
}

type CallOf<M> = Call<<M as Messages>::Request, <M as Messages>::Response, <M as Messages>::Error>;

fn reply<M: Messages>(call: CallOf<M>, way: Way) {
    match way {
        Way::Read | Way::DropAnswer | Way::PanicAtEnd | Way::PanicInCall | Way::GiveUp { .. } => {
            call.answer(M::answer());
        }
        Way::Failed => match M::failed() {
            Some(response) => call.answer(response),
            None => call.fail(M::error()),
        },
        Way::Broken => match M::broken() {
            Some(response) => call.answer(response),
            None => call.fail(M::error()),
        },
        Way::Error => call.fail(M::error()),
        Way::Refused(kind) => call.fail(refused::<M>(kind)),
        Way::PanicInPoll => call.panic(),
    }
}

pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Reads an answer to its end, woken as its body says.
pub(super) async fn read_on<M: Messages>(mut response: M::Response) {
    poll_fn(|cx| M::poll_end(&mut response, cx)).await;
}
