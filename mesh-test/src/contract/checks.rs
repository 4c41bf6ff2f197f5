//! Readiness and the ways out of a call: what every layer is checked for.

use super::{
    Below, Governs,
    rig::{Trial, Way, paused, poll_once, read_on},
};
use crate::Messages;
use mesh_core::{Outcome, Refusal};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// Far longer than anything here takes: when it is over, something hangs.
const HANGS: Duration = Duration::from_secs(1_000_000);

impl<M, T, L> Trial<'_, M, T, L>
where
    M: Messages,
    T: 'static,
    L: Layer<Below<M>, Service: Governs<M>> + 'static,
{
    pub(super) fn poll_ready_without_call(&self) {
        paused(async {
            let rig = self.rig();
            let mut service = rig.service.clone();
            for _ in 0..3 {
                let mut clone = service.clone();
                rig.ready(&mut clone).await.expect("ready");
                rig.ready(&mut service).await.expect("ready");
                drop(clone);
            }
            drop(service);
            rig.settle().await;
            self.assert_settled(&rig, "polled ready and dropped");
            rig.go(Way::Read).await;
            assert_eq!(rig.handle.calls(), 1, "a call after all that reaches the service");
            self.assert_settled(&rig, "a call after all that");
        });
    }

    pub(super) fn poll_ready_twice(&self) {
        paused(async {
            let rig = self.rig();
            let mut service = rig.service.clone();
            rig.handle.answer_with(|_| Ok(M::answer()));
            rig.ready(&mut service).await.expect("ready");
            rig.ready(&mut service).await.expect("ready");
            // dropping a clone takes nothing away from the instance that was polled
            drop(service.clone());
            let response = service.call(M::request()).await.expect("an answer");
            read_on::<M>(response).await;
            rig.settle().await;
            self.assert_settled(&rig, "called after two polls");
        });
    }

    pub(super) fn polled_instance_is_called(&self) {
        paused(async {
            let rig = self.rig();
            rig.handle.answer_with(|_| Ok(M::answer()));
            let mut service = rig.service.clone();
            for _ in 0..3 {
                rig.ready(&mut service).await.expect("ready");
                let response = service.call(M::request()).await.expect("an answer");
                read_on::<M>(response).await;
                // a clone has no readiness, and must not take that of its origin
                let mut clone = service.clone();
                rig.ready(&mut clone).await.expect("ready");
                let response = clone.call(M::request()).await.expect("an answer");
                read_on::<M>(response).await;
            }
            let unready = rig.handle.unready_calls();
            assert_eq!(unready, 0, "{unready} calls on an instance that was not polled ready");
        });
    }

    pub(super) fn pending_readiness(&self) {
        paused(async {
            let rig = self.rig();
            rig.handle.hold_ready();
            rig.handle.answer_with(|_| Ok(M::answer()));
            let mut service = rig.service.clone();
            let call = tokio::task::spawn_local(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.expect("ready");
                read_on::<M>(service.call(M::request()).await.expect("an answer")).await;
            });
            rig.settle().await;
            assert_eq!(rig.handle.calls(), 0, "called before it was ready");
            rig.handle.release_ready();
            tokio::time::timeout(HANGS, call).await.expect("woken when it is ready").expect("no panic");
            rig.settle().await;
            assert_eq!(rig.handle.unready_calls(), 0, "called on an instance that was not polled ready");
            self.assert_settled(&rig, "waited for readiness");
        });
    }

    pub(super) fn readiness_error(&self) {
        paused(async {
            let rig = self.rig();
            rig.handle.fail_ready(M::error());
            rig.handle.answer_with(|_| Ok(M::answer()));
            let mut service = rig.service.clone();
            let result = match rig.ready(&mut service).await {
                Err(error) => Err(error),
                // a stage is always ready: the call meets the error
                Ok(()) => service.call(M::request()).await,
            };
            match result {
                Err(error) => assert!(error.rejection().is_none(), "an error came out as a refusal: {error:?}"),
                Ok(_) => assert!(self.contract.changes_outcomes, "the error was swallowed"),
            }
            rig.settle().await;
            self.assert_settled(&rig, "the service's readiness failed");
        });
    }

    pub(super) fn ways_out(&self) {
        for way in Way::ALL.into_iter().filter(|way| way.is_known::<M>()) {
            self.goes(way);
        }
    }

    pub(super) fn dropped_at_each_point(&self) {
        let points = paused(async { self.rig().go(Way::Read).await });
        for after in 0..points {
            for reason in [Outcome::Cancelled, Outcome::TimedOut] {
                self.goes(Way::GiveUp { after, reason });
            }
        }
    }

    fn goes(&self, way: Way) {
        paused(async {
            let rig = self.rig();
            rig.go(way).await;
            self.assert_settled(&rig, &format!("{way:?}"));
            assert_eq!(rig.outer.opened(), 1, "{way:?}: one call");
            if self.contract.changes_outcomes {
                return;
            }
            let due = way.outcome(M::HAS_BODY);
            // a panic at an end is the call's where the end was told on its way, and caught where it was told in a drop
            if way != Way::PanicAtEnd || rig.outer.outcomes() != [Outcome::Failure] {
                assert_eq!(rig.outer.outcomes(), [due], "{way:?}: the outcome around the layer");
            }
            if let Some(last) = rig.inner.outcomes().last() {
                assert_eq!(*last, due, "{way:?}: the outcome below the layer");
            }
        });
    }

    /// As a connection of HTTP/2 does it: many calls at once on one service, readiness that is scarce, some streams
    /// reset while they wait for it and some while they wait for the answer.
    pub(super) fn scarce_readiness(&self) {
        for taken in [true, false] {
            paused(async {
                let rig = self.rig();
                rig.handle.scarce(2);
                let mut connection = rig.service.clone();
                let mut calls = Vec::new();
                for number in 0..32 {
                    // either the request takes the instance that is polled, or a clone of its own
                    let fresh = connection.clone();
                    let mut service = if taken { std::mem::replace(&mut connection, fresh) } else { fresh };
                    let mut call = Box::pin(async move {
                        poll_fn(|cx| service.poll_ready(cx)).await?;
                        read_on::<M>(service.call(M::request()).await?).await;
                        Ok::<_, M::Error>(())
                    });
                    if number % 5 == 4 {
                        let _ = poll_once(call.as_mut());
                        drop(call);
                    } else {
                        calls.push(tokio::task::spawn_local(call));
                    }
                }
                let handle = rig.handle.clone();
                let answers = tokio::task::spawn_local(async move {
                    loop {
                        let call = handle.next().await;
                        tokio::task::yield_now().await;
                        call.answer(M::answer());
                    }
                });
                for call in calls {
                    let result = tokio::time::timeout(HANGS, call).await.expect("no call hangs").expect("no panic");
                    if let Err(error) = result {
                        assert!(error.rejection().is_some(), "nothing failed: {error:?}");
                    }
                }
                answers.abort();
                drop(connection);
                rig.settle().await;
                assert_eq!(rig.handle.free_permits(), 2, "permits are stranded");
                assert_eq!(rig.handle.unready_calls(), 0, "called on an instance that was not polled ready");
                self.assert_settled(&rig, "many calls over two permits");
            });
        }
    }

    /// Whether a call on this service reaches the one below. One that must wait does not.
    pub(super) async fn reaches(&self, rig: &super::rig::Rig<M, T, L>, mut service: impl Governs<M>) -> bool {
        let before = rig.handle.calls();
        if service.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            return false;
        }
        let mut call: Pin<Box<dyn Future<Output = _>>> = Box::pin(service.call(M::request()));
        for _ in 0..3 {
            if poll_once(call.as_mut()).is_ready() {
                break;
            }
            rig.settle().await;
        }
        rig.handle.calls() > before
    }
}
