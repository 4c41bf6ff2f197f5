use crate::{
    Messages, Spy,
    mock::{Handle, Mock, MockFuture, mock},
};
use mesh_core::{GateLayer, Gated, GatedFuture, Reach};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

type MockOf<M> = Mock<<M as Messages>::Request, <M as Messages>::Response, <M as Messages>::Error>;
pub(super) type HandleOf<M> = Handle<<M as Messages>::Request, <M as Messages>::Response, <M as Messages>::Error>;
type MockFutureOf<M> = MockFuture<<M as Messages>::Request, <M as Messages>::Response, <M as Messages>::Error>;

/// What the kit puts below the layer it checks: a mock, with a spy around it.
pub struct Below<M: Messages>(Gated<MockOf<M>, Spy, M::Reach>);

impl<M: Messages> Below<M> {
    pub(super) fn new() -> (Self, HandleOf<M>, Arc<Spy>) {
        let (mock, handle) = mock();
        let spy = Arc::new(Spy::default());
        (Self(spied::<M>(&spy).layer(mock)), handle, spy)
    }
}

/// A spy as a layer that follows a call as far as these messages allow.
pub(super) fn spied<M: Messages>(spy: &Arc<Spy>) -> GateLayer<Spy, M::Reach> {
    GateLayer::shared(spy.clone()).judge(M::Reach::default())
}

impl<M: Messages> Clone for Below<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Messages> fmt::Debug for Below<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Below").field(&self.0).finish()
    }
}

impl<M: Messages> Service<M::Request> for Below<M> {
    type Response = M::Response;
    type Error = M::Error;
    type Future = BelowFuture<M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: M::Request) -> BelowFuture<M> {
        BelowFuture(self.0.call(request))
    }
}

/// The response future of [`Below`].
pub struct BelowFuture<M: Messages>(GatedFuture<MockFutureOf<M>, M::Request, Spy, M::Reach, RecordOf<M>>);

type RecordOf<M> = <<M as Messages>::Reach as Reach<<M as Messages>::Request, <M as Messages>::Response>>::Record;

// what it holds is never pinned in place: the mock's future is `Unpin`
impl<M: Messages> Unpin for BelowFuture<M> {}

impl<M: Messages> Future for BelowFuture<M> {
    type Output = Result<M::Response, M::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<M: Messages> fmt::Debug for BelowFuture<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BelowFuture")
    }
}
