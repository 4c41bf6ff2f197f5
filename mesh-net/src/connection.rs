//! A TCP connection as a request: what the layers of a relay see. The request is a client's connection that wants one to
//! an endpoint; the response is that connection, and it ends when both have ended.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use mesh_core::{
    Address, Cause, Code, Context, Endpoint, Governed, Guards, Head, Name, Outcome, Peer, Protocol, Refusal, Rejection,
    Replay, RequestView, Side, time,
};
use tower_service::Service;

use crate::connect::{ConnectError, ConnectErrorKind, Connector};
use crate::stream::Stream;

/// The protocol of pipelines whose requests are whole connections.
#[derive(Clone, Copy, Debug)]
pub struct Connection;

impl Protocol for Connection {
    const NAME: &'static str = "tcp";
    type Request = ConnectionRequest;
    type Response = Connected;
    type Error = ConnectionError;

    /// Nothing has been sent before there is a connection: it can always be tried again.
    fn replay(request: &mut ConnectionRequest, _: usize) -> Option<Replay<ConnectionRequest>> {
        let context = request.context.clone();
        Some(Replay::new(move || Some(ConnectionRequest { context: context.clone() })))
    }
}

/// A client's connection that wants one to an endpoint. Its service and method are empty, and it has no metadata.
#[derive(Debug)]
pub struct ConnectionRequest {
    context: Context,
}

impl ConnectionRequest {
    /// The connection of this peer, which came to this listener just now.
    pub fn new(peer: Arc<Peer>, listener: Name) -> Self {
        let context = Context::begin(time::now(), Some(peer));
        context.set_listener(listener);
        context.set_protocol(Name::intern(Connection::NAME));
        // there is no body before the answer
        context.end_request_on_arrival();
        Self { context }
    }
}

impl RequestView for ConnectionRequest {
    fn service(&self) -> &str {
        ""
    }

    fn method(&self) -> &str {
        ""
    }

    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn get_all(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}

    fn get_several<'a>(&'a self, _: &[&str], _: &mut dyn FnMut(usize, &'a [u8])) {}

    fn set(&mut self, _: &'static str, _: &[u8]) {}

    fn remove(&mut self, _: &str) {}

    fn context(&self) -> &Context {
        &self.context
    }
}

/// A connection to an endpoint, for [`relay`](crate::relay()). How it ends is known only then.
#[derive(Debug)]
pub struct Connected {
    stream: Stream,
    guards: Guards,
}

impl Connected {
    /// A connection that nobody watches yet.
    pub fn new(stream: Stream) -> Self {
        Self { stream, guards: Guards::new() }
    }

    pub(crate) fn into_parts(self) -> (Stream, Guards) {
        (self.stream, self.guards)
    }
}

impl Head for Connected {
    fn outcome(&self) -> Option<Outcome> {
        None
    }

    fn code(&self) -> Code {
        Code::None
    }

    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn set(&mut self, _: &'static str, _: &[u8]) {}
}

impl Governed for Connected {
    fn head(&mut self) -> &mut dyn Head {
        self
    }

    fn guards(&mut self) -> &mut Guards {
        &mut self.guards
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectionError {
    /// A layer refused.
    Refused(Rejection),
    /// The endpoint could not be connected to.
    Connect(Box<ConnectError>),
}

impl From<Rejection> for ConnectionError {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl Refusal for ConnectionError {
    fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Connect(_) => None,
        }
    }

    fn rejection_mut(&mut self) -> Option<&mut Rejection> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Connect(_) => None,
        }
    }

    fn side(&self) -> Side {
        match self {
            Self::Refused(rejection) => rejection.kind().side(),
            // descriptors or ports that have run out say nothing of the endpoint
            Self::Connect(error) if error.kind() == ConnectErrorKind::Local => Side::Ours,
            Self::Connect(_) => Side::Upstream,
        }
    }

    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused(_) => None,
            Self::Connect(_) => Some(Cause::Connect),
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(rejection) => rejection.fmt(f),
            Self::Connect(error) => error.fmt(f),
        }
    }
}

impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Connect(error) => Some(&**error),
        }
    }
}

/// Connects to one endpoint: the innermost service of a relay's pipeline. Always ready; clones share what they are made
/// of.
///
/// # Errors
/// [`ConnectionError::Connect`].
///
/// # Cancellation
/// Dropping the future gives the attempt up.
#[derive(Clone, Debug)]
pub struct Dial {
    shared: Arc<Target>,
}

#[derive(Debug)]
struct Target {
    address: Address,
    connector: Connector,
    timeout: Duration,
}

impl Dial {
    /// Connects to `endpoint` within `timeout`.
    pub fn new(endpoint: &Endpoint, connector: Connector, timeout: Duration) -> Self {
        Self { shared: Arc::new(Target { address: endpoint.address().clone(), connector, timeout }) }
    }
}

impl Service<ConnectionRequest> for Dial {
    type Response = Connected;
    type Error = ConnectionError;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, ConnectionError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), ConnectionError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: ConnectionRequest) -> Self::Future {
        request.context.begin_attempt();
        let target = self.shared.clone();
        Box::pin(async move {
            match target.connector.connect(&target.address, target.timeout).await {
                Ok(stream) => Ok(Connected::new(stream)),
                Err(error) => {
                    request.context.set_cause(Cause::Connect);
                    Err(ConnectionError::Connect(Box::new(error)))
                }
            }
        })
    }
}
