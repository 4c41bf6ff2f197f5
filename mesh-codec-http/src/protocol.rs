use crate::{Body, HttpError};
use mesh_core::{
    Attribute, AttributeError, Protocol, Replay,
    http::{CallBody, GovernedBody, KNOWN_ATTRIBUTES, http_attribute},
};

/// A request on its way through the pipelines.
pub type Request = http::Request<CallBody<Body>>;
/// A response on its way back.
pub type Response = http::Response<GovernedBody<Body>>;

/// HTTP/1.1, HTTP/2 and gRPC: one protocol to the pipelines.
#[derive(Clone, Copy, Debug)]
pub struct Http;

impl Protocol for Http {
    const NAME: &'static str = "http";
    type Request = Request;
    type Response = Response;
    type Error = HttpError;

    fn attribute(path: &str) -> Result<Attribute<Request>, AttributeError> {
        http_attribute(path).ok_or_else(|| AttributeError { path: path.into(), known: &KNOWN_ATTRIBUTES })
    }

    /// Two attempts may read at once; one that falls behind by more than `limit` bytes fails.
    fn replay(request: &mut Request, limit: usize) -> Option<Replay<Request>> {
        crate::replay::replay(request, limit)
    }
}
