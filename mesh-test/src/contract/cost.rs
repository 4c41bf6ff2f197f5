//! What a layer costs: allocations in steady state, and nothing where it is off.

use super::{
    Below, Governs,
    rig::{Trial, Way, paused, poll_once},
};
use crate::{Messages, alloc};
use std::{
    future::Future as _,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tower_layer::Layer;
use tower_service::Service as _;

/// Calls before the count begins, and calls that are counted.
const CALLS: u64 = 64;

impl<M, T, L> Trial<'_, M, T, L>
where
    M: Messages,
    T: 'static,
    L: Layer<Below<M>, Service: Governs<M>> + 'static,
{
    pub(super) fn allocations(&self) {
        let Some(allowed) = self.contract.allocations else { return };
        self.allocates((self.contract.make)(), allowed);
    }

    pub(super) fn off(&self) {
        let Some(off) = &self.contract.off else { return };
        paused(async {
            let rig = self.rig_of(off());
            for way in [Way::Read, Way::Error] {
                rig.go(way).await;
            }
            self.assert_settled(&rig, "switched off");
            let mut service = rig.layer.layer(rig.below.clone());
            rig.ready(&mut service).await.expect("ready");
            let mut future = Box::pin(service.call(M::request()));
            assert!(poll_once(future.as_mut()).is_pending());
            let call = rig.handle.try_next().expect("switched off, the first poll reaches the service");
            assert_eq!(call.polls(), 1, "switched off, a poll is one poll of the service");
            call.answer(M::answer());
            assert!(poll_once(future.as_mut()).is_ready(), "switched off, an answer comes out at once");
        });
        if alloc::is_installed() {
            self.allocates(off(), 0);
        }
    }

    fn allocates(&self, subject: Arc<T>, allowed: u64) {
        let (bare, whole) = paused(async {
            let rig = self.rig_of(subject);
            rig.inner.set_idle(true);
            rig.handle.answer_with(|_| Ok(M::answer()));
            (per_call::<M>(rig.below.clone()), per_call::<M>(rig.layer.layer(rig.below.clone())))
        });
        let allowed = allowed + self.boxes;
        assert!(
            whole <= bare + allowed * CALLS,
            "{CALLS} calls allocate {} times beside the {bare} of the mock, {allowed} each are allowed",
            whole.saturating_sub(bare),
        );
    }
}

/// Allocations of so many calls, after as many to warm up.
fn per_call<M: Messages>(mut service: impl Governs<M>) -> u64 {
    let mut cx = Context::from_waker(Waker::noop());
    let mut once = || {
        assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))), "ready at once");
        let mut call = pin!(service.call(M::request()));
        let mut response = match call.as_mut().poll(&mut cx) {
            Poll::Ready(Ok(response)) => response,
            Poll::Ready(Err(error)) => panic!("a call was not answered: {error:?}"),
            Poll::Pending => panic!("a call was not answered at once"),
        };
        while M::HAS_BODY && M::poll_end(&mut response, &mut cx).is_pending() {}
    };
    (0..CALLS).for_each(|_| once());
    alloc::count(|| (0..CALLS).for_each(|_| once())).1.count
}
