use crate::{Line, line};
use mesh_core::{BoxError, Governed, Kind, Reach, Refusal, Rejection, ResultsOnly, Whole};
use std::task::{Context, Poll};

/// The messages that the contract kit sends through a layer: what a request, an answer and an error look like, and how
/// an answer is read to its end. Stock ones are [`Plain`], [`Line`] and, with the feature `http`,
/// `Http`; a layer that is written for one protocol brings its own.
pub trait Messages: Sized + 'static {
    /// What is asked.
    type Request: Send + 'static;
    /// What is answered.
    type Response: Send + 'static;
    /// What goes wrong.
    type Error: Refusal + std::fmt::Debug + Send + 'static;
    /// How far a gate follows a call: [`Whole`] where the answer's end can be watched, else [`ResultsOnly`].
    type Reach: Reach<Self::Request, Self::Response> + Default + Send + 'static;

    /// Whether a call ends with its answer's body; it ends with the result where not.
    const HAS_BODY: bool;

    /// A request.
    fn request() -> Self::Request;

    /// An answer that is all right. Where it has a body, reading that takes more than one poll.
    fn answer() -> Self::Response;

    /// An answer whose head says that what is called has failed; `None` where there are no such.
    fn failed() -> Option<Self::Response>;

    /// An answer whose body breaks off; `None` where there are no such.
    fn broken() -> Option<Self::Response>;

    /// An error that is not a refusal.
    fn error() -> Self::Error;

    /// Reads the answer on; ready when there is nothing more to read.
    fn poll_end(response: &mut Self::Response, cx: &mut Context<'_>) -> Poll<()>;
}

/// Numbers for messages and tower's `BoxError`: for layers that ask nothing of either.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Messages for Plain {
    type Request = u64;
    type Response = u64;
    type Error = BoxError;
    type Reach = ResultsOnly;

    const HAS_BODY: bool = false;

    fn request() -> u64 {
        1
    }

    fn answer() -> u64 {
        2
    }

    fn failed() -> Option<u64> {
        None
    }

    fn broken() -> Option<u64> {
        None
    }

    fn error() -> BoxError {
        "the mock failed".into()
    }

    fn poll_end(_: &mut u64, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Messages for Line {
    type Request = line::Request;
    type Response = line::Reply;
    type Error = line::Error;
    type Reach = Whole;

    const HAS_BODY: bool = true;

    fn request() -> line::Request {
        line::Request::new("orders", "place")
    }

    fn answer() -> line::Reply {
        line::Reply::new(line::OK)
    }

    fn failed() -> Option<line::Reply> {
        Some(line::Reply::new(line::FAILED))
    }

    fn broken() -> Option<line::Reply> {
        None
    }

    fn error() -> line::Error {
        line::Error::Io(std::io::ErrorKind::ConnectionReset.into())
    }

    /// Writes it: that is its end.
    fn poll_end(reply: &mut line::Reply, _: &mut Context<'_>) -> Poll<()> {
        reply.guards().end_well();
        Poll::Ready(())
    }
}

/// A refusal by a layer further in.
pub(crate) fn refused<M: Messages>(kind: Kind) -> M::Error {
    let mut rejection = Rejection::new(kind);
    rejection.stamp(mesh_core::Name::intern("below"));
    rejection.into()
}
