//! HTTP under `governed` (feature `http`): bodies of any type that can be made of another body.

use crate::{Repeat, Verdict, repeat};
use bytes::Bytes;
use http_body::Body;
use mesh_core::{
    BoxError, Cause, Context, Governed, Refusable,
    http::{CallBody, Kept, ReplayBody},
};

/// HTTP requests with a body that `F` makes of a [`ReplayBody`]. See [`RetryLayer::bodies`](crate::RetryLayer::bodies).
#[derive(Clone, Copy, Debug)]
pub struct Bodies<F, C = Unknown> {
    pub(crate) wrap: F,
    pub(crate) causes: C,
}

/// Of an error nothing more is known than that there was no answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unknown;

/// Says how a call failed: [`Unknown`], or a function of the service's error.
pub trait Causes<E>: Clone {
    /// How the call failed.
    fn cause(&self, error: &E) -> Cause;
}

impl<E> Causes<E> for Unknown {
    fn cause(&self, _: &E) -> Cause {
        Cause::Reset
    }
}

impl<E, F: Fn(&E) -> Cause + Clone> Causes<E> for F {
    fn cause(&self, error: &E) -> Cause {
        self(error)
    }
}

impl<B, Res, E, F, C> Repeat<http::Request<CallBody<B>>, Res, Refusable<E>> for Bodies<F, C>
where
    B: Body<Data = Bytes> + Default,
    B::Error: Into<BoxError>,
    Res: Governed,
    F: Fn(ReplayBody<B>) -> B + Clone,
    C: Causes<E>,
{
    type Kept = Kept<B>;

    fn keep(&self, request: &mut http::Request<CallBody<B>>, limit: usize) -> Option<Kept<B>> {
        Some(Kept::keep(request, limit, &self.wrap))
    }

    fn again(&self, kept: &mut Kept<B>) -> Option<http::Request<CallBody<B>>> {
        kept.again(&self.wrap)
    }

    fn context<'a>(&self, request: &'a http::Request<CallBody<B>>) -> &'a Context {
        request.body().context()
    }

    fn method<'a>(&self, request: &'a http::Request<CallBody<B>>) -> Option<&'a str> {
        repeat::method(request)
    }

    fn judge(&self, result: &mut Result<Res, Refusable<E>>, grpc: bool) -> Verdict {
        match result {
            Err(Refusable::Inner(error)) => Verdict::of_cause(self.causes.cause(error), grpc),
            result => Verdict::of(result, grpc),
        }
    }

    fn discard(&self, response: Res) {
        repeat::discard(response);
    }
}
