//! Requests that can be sent again.

use crate::{Body, Request};
use mesh_core::{Replay, http::Kept};

/// See [`Protocol::replay`](mesh_core::Protocol::replay). Without a body it costs a clone of the head; with one also a
/// copy of what is kept. A tunnel is asked for once.
pub(crate) fn replay(request: &mut Request, limit: usize) -> Option<Replay<Request>> {
    if request.body().inner().is_tunnel() {
        return None;
    }
    let kept = Kept::keep(request, limit, Body::boxed);
    Some(Replay::new(move || kept.again(Body::boxed)))
}

#[cfg(test)]
mod tests;
