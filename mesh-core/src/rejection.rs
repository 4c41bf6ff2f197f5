use crate::{BoxError, Cause, Code, Head, Name, Outcome, Side, Verdict};
use std::{error::Error, fmt, time::Duration};

/// Why a request was refused. Every codec turns each kind into an answer in one exhaustive table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request breaks its protocol.
    Malformed,
    /// The request's head did not arrive in time.
    HeaderTimeout,
    /// The request's body is larger than allowed.
    BodyTooLarge,
    /// The request's URI is longer than allowed.
    UriTooLong,
    /// The request's headers are larger than allowed, or too many.
    HeadersTooLarge,
    /// No route matches.
    NoRoute,
    /// Not authorised.
    Forbidden,
    /// More requests than the rate allows.
    RateLimited,
    /// More requests at once than allowed.
    Saturated,
    /// A circuit breaker is open.
    CircuitOpen,
    /// No connection may be made or waited for.
    PoolFull,
    /// There is no endpoint to call.
    NoEndpoint,
    /// What is below took too long, or the deadline has passed.
    Timeout,
    /// A fault was injected; [`Rejection::answer`] says which answer was asked for.
    Fault,
    /// A layer from outside failed, or refused in its own way; the source says how.
    Foreign,
}

impl Kind {
    /// All kinds, for tables.
    pub const ALL: [Kind; 15] = [
        Kind::Malformed,
        Kind::HeaderTimeout,
        Kind::BodyTooLarge,
        Kind::UriTooLong,
        Kind::HeadersTooLarge,
        Kind::NoRoute,
        Kind::Forbidden,
        Kind::RateLimited,
        Kind::Saturated,
        Kind::CircuitOpen,
        Kind::PoolFull,
        Kind::NoEndpoint,
        Kind::Timeout,
        Kind::Fault,
        Kind::Foreign,
    ];

    /// The `reason` of metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Malformed => "malformed",
            Kind::HeaderTimeout => "header_timeout",
            Kind::BodyTooLarge => "body_too_large",
            Kind::UriTooLong => "uri_too_long",
            Kind::HeadersTooLarge => "headers_too_large",
            Kind::NoRoute => "no_route",
            Kind::Forbidden => "forbidden",
            Kind::RateLimited => "rate_limited",
            Kind::Saturated => "saturated",
            Kind::CircuitOpen => "circuit_open",
            Kind::PoolFull => "pool_full",
            Kind::NoEndpoint => "no_endpoint",
            Kind::Timeout => "timeout",
            Kind::Fault => "fault",
            Kind::Foreign => "foreign",
        }
    }

    /// What a refusal says of the thing below: a timeout and a foreign error blame it, a full limiter does not.
    pub const fn outcome(self) -> Outcome {
        match self {
            Kind::Timeout => Outcome::TimedOut,
            Kind::Foreign => Outcome::Failure,
            Kind::Malformed
            | Kind::HeaderTimeout
            | Kind::BodyTooLarge
            | Kind::UriTooLong
            | Kind::HeadersTooLarge
            | Kind::NoRoute
            | Kind::Forbidden
            | Kind::RateLimited
            | Kind::Saturated
            | Kind::CircuitOpen
            | Kind::PoolFull
            | Kind::NoEndpoint
            | Kind::Fault => Outcome::Rejected,
        }
    }

    /// Who is the cause: the client of a bad request, the upstream of a timeout, we of all else.
    pub const fn side(self) -> Side {
        match self {
            Kind::Malformed | Kind::HeaderTimeout | Kind::BodyTooLarge | Kind::UriTooLong | Kind::HeadersTooLarge => {
                Side::Downstream
            }
            Kind::Timeout => Side::Upstream,
            Kind::NoRoute
            | Kind::Forbidden
            | Kind::RateLimited
            | Kind::Saturated
            | Kind::CircuitOpen
            | Kind::PoolFull
            | Kind::NoEndpoint
            | Kind::Fault
            | Kind::Foreign => Side::Ours,
        }
    }

    pub(crate) const fn verdict(self) -> Verdict {
        Verdict::without_answer(self.outcome(), self.side())
    }
}

/// The answer that an injected fault asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The protocol's own status code.
    Code(Code),
    /// No answer: the connection or stream is reset.
    Reset,
}

/// A request that a layer refused. 24 bytes: what is rarely there is boxed.
pub struct Rejection {
    kind: Kind,
    elsewhere: bool,
    layer: Name,
    /// 0: not known.
    retry_after_ms: u32,
    detail: Option<Box<Detail>>,
}

#[derive(Default)]
struct Detail {
    source: Option<BoxError>,
    answer: Option<Answer>,
    begun: Code,
    fields: Vec<(&'static str, Vec<u8>)>,
}

impl Rejection {
    /// A refusal of this kind, not to be tried elsewhere. The stack stamps the layer's name on it.
    pub const fn new(kind: Kind) -> Self {
        Self { kind, elsewhere: false, layer: Name::NONE, retry_after_ms: 0, detail: None }
    }

    /// An error that a layer from outside gave.
    pub fn foreign(layer: Name, source: BoxError) -> Self {
        let mut rejection = Self { layer, ..Self::new(Kind::Foreign) };
        rejection.detail_mut().source = Some(source);
        rejection
    }

    /// An injected fault with the answer it asks for.
    pub fn fault(answer: Answer) -> Self {
        let mut rejection = Self::new(Kind::Fault);
        rejection.detail_mut().answer = Some(answer);
        rejection
    }

    /// Another endpoint may be tried: the reason lies in the one that was chosen.
    pub const fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// When it is worth coming back. Kept in milliseconds, rounded up, up to 49 days.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        self.retry_after_ms = u32::try_from(millis).unwrap_or(u32::MAX).max(1);
        self
    }

    /// It came when the answer had begun, which is cut off by it: with this code. That stays the code of the call.
    pub fn after(mut self, begun: Code) -> Self {
        if begun != Code::None {
            self.detail_mut().begun = begun;
        }
        self
    }

    /// What went wrong, for logs and for [`Error::source`].
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.detail_mut().source = Some(source.into());
        self
    }

    /// Why.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether another endpoint may be tried.
    pub const fn may_go_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// When it is worth coming back, if that is known.
    pub const fn retry_after_hint(&self) -> Option<Duration> {
        match self.retry_after_ms {
            0 => None,
            millis => Some(Duration::from_millis(millis as u64)),
        }
    }

    /// The registered name of the layer that refused; [`Name::NONE`] if the codec or the engine did.
    pub const fn layer(&self) -> Name {
        self.layer
    }

    /// Says which layer refused, unless one further in has said so already.
    pub fn stamp(&mut self, layer: Name) {
        if self.layer.is_none() {
            self.layer = layer;
        }
    }

    /// Counts it in `mesh_rejections_total{layer,reason}`. For service layers, which refuse seldom: it looks the
    /// counter up. A gate's refusals are counted by the stack that it stands in.
    pub fn count(&self) {
        let (layer, reason) = (self.layer.as_str(), self.kind.as_str());
        metrics::counter!("mesh_rejections_total", "layer" => layer, "reason" => reason).increment(1);
    }

    /// The answer an injected fault asks for.
    pub fn answer(&self) -> Option<Answer> {
        self.detail.as_ref()?.answer
    }

    /// Metadata that layers further out have added to the answer to come.
    pub fn fields(&self) -> &[(&'static str, Vec<u8>)] {
        self.detail.as_ref().map_or(&[], |detail| &detail.fields)
    }

    fn detail_mut(&mut self) -> &mut Detail {
        self.detail.get_or_insert_default()
    }
}

/// A refusal is the head of the answer to come.
impl Head for Rejection {
    fn outcome(&self) -> Option<Outcome> {
        Some(self.kind.outcome())
    }

    fn code(&self) -> Code {
        match self.answer() {
            Some(Answer::Code(code)) => code,
            _ => self.detail.as_ref().map_or(Code::None, |detail| detail.begun),
        }
    }

    fn side(&self) -> Side {
        self.kind.side()
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().iter().find(|field| field.0 == name).map(|field| &field.1[..])
    }

    fn set(&mut self, name: &'static str, value: &[u8]) {
        let fields = &mut self.detail_mut().fields;
        match fields.iter_mut().find(|field| field.0 == name) {
            Some(field) => field.1 = value.into(),
            None => fields.push((name, value.into())),
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("kind", &self.kind)
            .field("layer", &self.layer)
            .field("source", &self.source().map(ToString::to_string))
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.layer.is_none() {
            write!(f, "refused: {}", self.kind.as_str())?;
        } else {
            write!(f, "refused by {}: {}", self.layer, self.kind.as_str())?;
        }
        match self.source() {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.detail.as_ref()?.source.as_deref().map(|source| source as _)
    }
}

/// An error that can be, or carry, a [`Rejection`].
///
/// Implemented for tower's `BoxError`, for [`Rejection`] and for [`Refusable`]. A typed error of one's own joins with
/// [`refusal!`](crate::refusal).
///
/// # "`Refusal` is not general enough"
/// The compiler forgets lifetimes in an `async` block before it looks whether that is `Send`, `BoxError`'s `'static`
/// too; and errors can be told apart only where they are `'static`. So a future held in such a block must not look up
/// the type of a service's future by this bound: none of our layers' does, but tower's `Oneshot` over them. Instead of
/// `tokio::spawn(async move { service.oneshot(request).await })` write `tokio::spawn(service.oneshot(request))`, or
/// `service.ready().await?.call(request).await` in the block. A future of one's own takes the future of its service as a
/// parameter, `MyFuture<S::Future>`, in place of a field of type `S::Future`.
#[diagnostic::on_unimplemented(
    message = "a layer that refuses needs an error that can carry a `Rejection`; `{Self}` cannot",
    note = "HTTP: wrap the layers in `mesh_core::http::governed(..)`; a typed error: `mesh_core::refusal!({Self}, Variant)`"
)]
pub trait Refusal: From<Rejection> {
    /// The refusal, if this error is one.
    fn rejection(&self) -> Option<&Rejection>;
    /// The refusal, for those further out, who may add fields to the answer to come.
    fn rejection_mut(&mut self) -> Option<&mut Rejection>;
    /// Who is to blame for an error that is not a refusal.
    fn side(&self) -> Side {
        Side::Upstream
    }
    /// How the call failed; `None` for a refusal, and where what is called is not to blame. Where nothing more is known
    /// the request may have been seen: [`Cause::Reset`].
    fn cause(&self) -> Option<Cause> {
        (self.rejection().is_none() && self.side() == Side::Upstream).then_some(Cause::Reset)
    }
    /// What this error says of the thing below. An error of the client is *cancelled*.
    fn verdict(&self) -> Verdict {
        match (self.rejection(), self.side()) {
            (Some(rejection), _) => rejection.kind().verdict(),
            (None, Side::Downstream) => Verdict::without_answer(Outcome::Cancelled, Side::Downstream),
            (None, side) => Verdict::without_answer(Outcome::Failure, side),
        }
    }
}

impl Refusal for Rejection {
    fn rejection(&self) -> Option<&Rejection> {
        Some(self)
    }

    fn rejection_mut(&mut self) -> Option<&mut Rejection> {
        Some(self)
    }
}

/// Looks through sources: a layer that boxes errors hides a refusal one step down.
impl Refusal for BoxError {
    fn rejection(&self) -> Option<&Rejection> {
        let mut error: Option<&(dyn Error + 'static)> = Some(&**self);
        while let Some(present) = error {
            if let Some(rejection) = present.downcast_ref() {
                return Some(rejection);
            }
            error = present.source();
        }
        None
    }

    fn rejection_mut(&mut self) -> Option<&mut Rejection> {
        self.downcast_mut()
    }

    fn cause(&self) -> Option<Cause> {
        self.rejection().is_none().then(|| Cause::of(&**self))
    }
}

/// An error of one's own or a refusal.
#[derive(Debug)]
pub enum Refusable<E> {
    /// A layer refused.
    Refused(Rejection),
    /// The service itself failed.
    Inner(E),
}

impl<E> From<Rejection> for Refusable<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl<E> Refusal for Refusable<E> {
    fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Inner(_) => None,
        }
    }

    fn rejection_mut(&mut self) -> Option<&mut Rejection> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Inner(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Refusable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(rejection) => rejection.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for Refusable<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Inner(error) => Some(error),
        }
    }
}

/// Makes an error enum of one's own a [`Refusal`], by the variant that holds a [`Rejection`].
///
/// ```
/// use mesh_core::{Kind, Refusal, Rejection, refusal};
///
/// #[derive(Debug)]
/// enum Error {
///     Refused(Rejection),
///     Database(String),
/// }
/// refusal!(Error, Refused);
///
/// assert!(Error::from(Rejection::new(Kind::RateLimited)).rejection().is_some());
/// assert!(Error::Database("gone".into()).rejection().is_none());
/// ```
#[macro_export]
macro_rules! refusal {
    ($error:ty, $variant:ident) => {
        impl ::core::convert::From<$crate::Rejection> for $error {
            fn from(rejection: $crate::Rejection) -> Self {
                Self::$variant(rejection)
            }
        }
        impl $crate::Refusal for $error {
            fn rejection(&self) -> ::core::option::Option<&$crate::Rejection> {
                match self {
                    Self::$variant(rejection) => ::core::option::Option::Some(rejection),
                    _ => ::core::option::Option::None,
                }
            }
            fn rejection_mut(&mut self) -> ::core::option::Option<&mut $crate::Rejection> {
                match self {
                    Self::$variant(rejection) => ::core::option::Option::Some(rejection),
                    _ => ::core::option::Option::None,
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small() {
        assert!(size_of::<Rejection>() <= 24, "{}", size_of::<Rejection>());
    }

    #[test]
    fn a_boxed_error_is_looked_through() {
        let nested: BoxError = Box::new(Refusable::<std::io::Error>::Refused(Rejection::new(Kind::Saturated)));
        assert_eq!(nested.rejection().map(Rejection::kind), Some(Kind::Saturated));
        assert_eq!(nested.verdict().outcome, Outcome::Rejected);
    }

    #[test]
    fn the_innermost_layer_keeps_its_name() {
        let mut rejection = Rejection::new(Kind::CircuitOpen);
        rejection.stamp(Name::intern("inner"));
        rejection.stamp(Name::intern("outer"));
        assert_eq!(rejection.layer().as_str(), "inner");
    }

    #[test]
    fn what_is_cut_off_keeps_its_code() {
        assert_eq!(Rejection::new(Kind::Timeout).after(Code::Http(200)).code(), Code::Http(200));
        assert_eq!(Rejection::new(Kind::Timeout).after(Code::None).code(), Code::None);
        let fault = Rejection::fault(Answer::Code(Code::Http(418)));
        assert_eq!(fault.after(Code::Http(200)).code(), Code::Http(418));
    }

    #[test]
    fn a_wait_is_rounded_up() {
        let rejection = Rejection::new(Kind::RateLimited).retry_after(Duration::from_nanos(1));
        assert_eq!(rejection.retry_after_hint(), Some(Duration::from_millis(1)));
    }
}
