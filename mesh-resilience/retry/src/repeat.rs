//! How a request is kept, sent again, and judged: by its type.

use crate::Verdict;
use mesh_core::{Context, Governed, Name, Outcome, Protocol, Refusal, Replay, RequestView};
use std::marker::PhantomData;

/// How a layer keeps a request to send it again, and what it makes of a result. Chosen by name on the layer:
/// [`results_only`](crate::RetryLayer::results_only), [`judge`](crate::RetryLayer::judge),
/// [`protocol`](crate::RetryLayer::protocol) and, with the feature `http`,
/// [`bodies`](crate::RetryLayer::bodies).
#[diagnostic::on_unimplemented(
    message = "`RetryLayer` does not know how to send a `{R}` again",
    note = "HTTP: `.bodies(axum::body::Body::new)`, or of whatever type the body is, and wrap the layers in `mesh_core::http::governed(..)`",
    note = "a request that is `Clone`: `.results_only()` or `.judge(|response: &_| ..)`; a protocol of pipelines: `.protocol::<P>()`"
)]
pub trait Repeat<R, Res, E>: Clone {
    /// What is kept.
    type Kept;
    /// Keeps what is needed to send this request again. `None`: it can be sent only once.
    fn keep(&self, request: &mut R, limit: usize) -> Option<Self::Kept>;
    /// The request once more; `None` where too much of it has been read to be kept.
    fn again(&self, kept: &mut Self::Kept) -> Option<R>;
    /// The record of a request; [`Context::none`] where it carries none.
    fn context<'a>(&self, request: &'a R) -> &'a Context;
    /// The method that [`methods`](crate::RetrySettings::methods) are asked for; `None` where they do not count.
    fn method<'a>(&self, request: &'a R) -> Option<&'a str>;
    /// What an attempt came to. `grpc`: of a gRPC request.
    fn judge(&self, result: &mut Result<Res, E>, grpc: bool) -> Verdict;
    /// A response that nobody will read: what is open on it ends as its head says.
    fn discard(&self, response: Res);
}

/// Nothing has been chosen yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unchosen;

/// Clones of the request; errors are tried again. See [`RetryLayer::results_only`](crate::RetryLayer::results_only).
#[derive(Clone, Copy, Debug, Default)]
pub struct Results;

/// Clones of the request; errors and what a function says has failed are tried again. See
/// [`RetryLayer::judge`](crate::RetryLayer::judge).
#[derive(Clone, Copy, Debug)]
pub struct Judged<F>(pub(crate) F);

/// The requests of a protocol. See [`RetryLayer::protocol`](crate::RetryLayer::protocol).
pub struct Spoken<P>(PhantomData<fn() -> P>);

static NO_CONTEXT: Context = Context::none();

/// A refusal of ours, or an error that does not blame what is called, is final.
fn of_error<E: Refusal>(error: &E) -> Verdict {
    match error.rejection() {
        Some(rejection) if rejection.may_go_elsewhere() => Verdict::ELSEWHERE,
        _ if error.verdict().outcome.is_failure() => Verdict::FAILED,
        _ => Verdict::DONE,
    }
}

impl<R: Clone, Res, E: Refusal> Repeat<R, Res, E> for Results {
    type Kept = R;

    fn keep(&self, request: &mut R, _: usize) -> Option<R> {
        Some(request.clone())
    }

    fn again(&self, kept: &mut R) -> Option<R> {
        Some(kept.clone())
    }

    fn context<'a>(&self, _: &'a R) -> &'a Context {
        &NO_CONTEXT
    }

    fn method<'a>(&self, _: &'a R) -> Option<&'a str> {
        None
    }

    #[inline]
    fn judge(&self, result: &mut Result<Res, E>, _: bool) -> Verdict {
        result.as_ref().err().map_or(Verdict::DONE, of_error)
    }

    fn discard(&self, _: Res) {}
}

impl<R: Clone, Res, E: Refusal, F: Fn(&Res) -> Outcome + Clone> Repeat<R, Res, E> for Judged<F> {
    type Kept = R;

    fn keep(&self, request: &mut R, _: usize) -> Option<R> {
        Some(request.clone())
    }

    fn again(&self, kept: &mut R) -> Option<R> {
        Some(kept.clone())
    }

    fn context<'a>(&self, _: &'a R) -> &'a Context {
        &NO_CONTEXT
    }

    fn method<'a>(&self, _: &'a R) -> Option<&'a str> {
        None
    }

    fn judge(&self, result: &mut Result<Res, E>, _: bool) -> Verdict {
        match result {
            Ok(response) if (self.0)(response).is_failure() => Verdict::FAILED,
            Ok(_) => Verdict::DONE,
            Err(error) => of_error(error),
        }
    }

    fn discard(&self, _: Res) {}
}

impl<P> Default for Spoken<P> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<P> Clone for Spoken<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Spoken<P> {}

impl<P> std::fmt::Debug for Spoken<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spoken")
    }
}

impl<P: Protocol> Repeat<P::Request, P::Response, P::Error> for Spoken<P> {
    type Kept = Replay<P::Request>;

    fn keep(&self, request: &mut P::Request, limit: usize) -> Option<Replay<P::Request>> {
        P::replay(request, limit)
    }

    fn again(&self, kept: &mut Replay<P::Request>) -> Option<P::Request> {
        kept.again()
    }

    fn context<'a>(&self, request: &'a P::Request) -> &'a Context {
        request.context()
    }

    fn method<'a>(&self, request: &'a P::Request) -> Option<&'a str> {
        method(request)
    }

    fn judge(&self, result: &mut Result<P::Response, P::Error>, grpc: bool) -> Verdict {
        Verdict::of(result, grpc)
    }

    fn discard(&self, response: P::Response) {
        discard(response);
    }
}

pub(crate) fn method<R: RequestView>(request: &R) -> Option<&str> {
    (request.context().protocol() != Name::GRPC).then(|| request.method())
}

/// Ended as the head says: dropped, an answer that is no failure (a 409) would be one that the client gave up.
pub(crate) fn discard<Res: Governed>(mut response: Res) {
    if response.head().outcome().is_some() {
        response.guards().end_well();
    }
}
