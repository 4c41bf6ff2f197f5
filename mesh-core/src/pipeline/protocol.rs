use crate::{Attribute, AttributeError, Governed, Refusal, RequestView};

/// What a pipeline needs to know of a protocol: the types of its messages, the attributes of its requests, and how a
/// request is sent again.
pub trait Protocol: Sized + 'static {
    /// The name in messages: `http`, `dubbo`.
    const NAME: &'static str;
    /// A request, its body included.
    type Request: RequestView + Send + 'static;
    /// A response, its body included.
    type Response: Governed + Send + 'static;
    /// What goes wrong below, or a refusal.
    type Error: Refusal + std::error::Error + Send + Sync + 'static;

    /// The attribute with this path; see [`Attribute::common`] for those every protocol has.
    ///
    /// # Errors
    /// There is none with this path.
    fn attribute(path: &str) -> Result<Attribute<Self::Request>, AttributeError> {
        Attribute::common(path)
            .ok_or_else(|| AttributeError { path: path.into(), known: &Attribute::<Self::Request>::COMMON })
    }

    /// Prepares a request to be sent more than once. Its body streams on as it is; up to `limit` bytes of what has
    /// been read are kept. `None`: this request can be sent only once.
    fn replay(request: &mut Self::Request, limit: usize) -> Option<Replay<Self::Request>> {
        let _ = (request, limit);
        None
    }
}

/// A request that can be sent again.
pub struct Replay<R>(Box<dyn FnMut() -> Option<R> + Send>);

impl<R> Replay<R> {
    /// `again` gives the request once more, or `None` when too much of it has been read to be kept.
    pub fn new(again: impl FnMut() -> Option<R> + Send + 'static) -> Self {
        Self(Box::new(again))
    }

    /// The request once more. `None`: it cannot be sent again, now and for good.
    pub fn again(&mut self) -> Option<R> {
        (self.0)()
    }
}

impl<R> std::fmt::Debug for Replay<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Replay")
    }
}
