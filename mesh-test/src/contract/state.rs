//! State that is shared, and settings that change.

use super::{
    Below, Exhaust, Governs,
    rig::{Rig, Trial, Way, paused, read_on},
};
use crate::{Messages, Spy};
use mesh_core::Gated;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Waker},
};
use tower_layer::Layer;
use tower_service::Service;

/// What keeps a tight layer exhausted.
enum Exhausted<M: Messages, F> {
    Failed,
    Pending { _call: Pin<Box<F>> },
    Answered { _open: M::Response },
}

impl<M, T, L> Trial<'_, M, T, L>
where
    M: Messages,
    T: 'static,
    L: Layer<Below<M>, Service: Governs<M>> + 'static,
{
    async fn exhaust(
        &self,
        rig: &Rig<M, T, L>,
        exhaust: Exhaust,
    ) -> Exhausted<M, <Gated<L::Service, Spy, M::Reach> as Service<M::Request>>::Future> {
        let mut service = rig.service.clone();
        rig.ready(&mut service).await.expect("ready");
        match exhaust {
            Exhaust::Failure => {
                rig.go(if M::failed().is_some() { Way::Failed } else { Way::Error }).await;
                Exhausted::Failed
            }
            Exhaust::Pending => {
                rig.handle.hold_answers();
                let mut call = Box::pin(service.call(M::request()));
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "held back");
                Exhausted::Pending { _call: call }
            }
            Exhaust::Call => {
                rig.handle.answer_with(|_| Ok(M::answer()));
                let response = service.call(M::request()).await.expect("the first call is admitted");
                rig.handle.hold_answers();
                Exhausted::Answered { _open: response }
            }
        }
    }

    pub(super) fn shared_state(&self) {
        let Some((tight, how)) = &self.contract.tight else { return };
        paused(async {
            let rig = self.rig_of(tight());
            let before = rig.layer.layer(rig.below.clone());
            let exhausted = self.exhaust(&rig, *how).await;
            let clone = before.clone();
            assert!(!self.reaches(&rig, before).await, "a service made by the same layer has a state of its own");
            assert!(!self.reaches(&rig, clone).await, "a clone has a state of its own");
            let again = rig.layer.layer(rig.below.clone());
            assert!(!self.reaches(&rig, again).await, "a layer that is applied anew begins with a fresh state");
            let same = (self.apply)(&rig.subject).layer(rig.below.clone());
            assert!(!self.reaches(&rig, same).await, "a clone of the layer begins with a fresh state");
            drop(exhausted);
        });
    }

    pub(super) fn readiness_takes_no_slot(&self) {
        let Some((tight, _)) = &self.contract.tight else { return };
        paused(async {
            let rig = self.rig_of(tight());
            let mut idle = [rig.service.clone(), rig.service.clone()];
            for service in &mut idle {
                rig.ready(service).await.expect("ready");
            }
            let service = rig.layer.layer(rig.below.clone());
            assert!(self.reaches(&rig, service).await, "an idle service that was polled ready holds the slot");
            drop(idle);
        });
    }

    pub(super) fn retuned_in_flight(&self) {
        let Some(retune) = &self.contract.retune else { return };
        paused(async {
            let rig = self.rig();
            let mut calls = Vec::new();
            for number in 0..6 {
                let mut service = rig.service.clone();
                calls.push(tokio::task::spawn_local(async move {
                    poll_fn(|cx| service.poll_ready(cx)).await.expect("ready");
                    read_on::<M>(service.call(M::request()).await.expect("an answer")).await;
                }));
                rig.settle().await;
                if number % 2 == 1 {
                    retune(&rig.subject);
                }
            }
            while let Some(call) = rig.handle.try_next() {
                call.answer(M::answer());
                retune(&rig.subject);
                rig.settle().await;
            }
            for call in calls {
                assert!(call.is_finished(), "a call got stuck when the settings changed");
                call.await.expect("no call was lost");
            }
            self.assert_settled(&rig, "settings changed while calls were under way");
        });
    }

    pub(super) fn retuned_state(&self) {
        let (Some(retune), Some((tight, how))) = (&self.contract.retune, &self.contract.tight) else { return };
        paused(async {
            let rig = self.rig_of(tight());
            let exhausted = self.exhaust(&rig, *how).await;
            retune(&rig.subject);
            let service = rig.layer.layer(rig.below.clone());
            assert!(!self.reaches(&rig, service).await, "the state was lost when the settings changed");
            drop(exhausted);
        });
    }
}
