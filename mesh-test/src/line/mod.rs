//! A toy protocol of text lines. It has no http type in it, requests that are not answered, and an end that is not a
//! body's: whatever layer runs over it knows no protocol.
//!
//! A request is a line `service.method name=value name=value -- arguments`, one-way with `!` in front; an answer is a
//! line `status name=value -- result`. A call ends when its answer has been written, a one-way call when the request
//! has been.
//!
//! ```
//! use mesh_core::{GateLayer, Outcome};
//! use mesh_test::{Spy, line};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let spy = GateLayer::new(Spy::default());
//! let service = ServiceBuilder::new().layer(spy.clone()).service(service_fn(async |request: line::Request| {
//!     Ok::<_, line::Error>(line::Reply::new(line::OK).with_result(&request.arguments.to_uppercase()))
//! }));
//! let mut client = line::connect(service);
//! let reply = client.ready().await.unwrap().call(line::Request::new("text", "shout").with_arguments("hello")).await;
//! assert_eq!(reply.unwrap().result, "HELLO");
//! assert_eq!(spy.gate().outcomes(), [Outcome::Success]);
//! # }
//! ```

mod codec;
mod wire;

pub use codec::{DecodeError, decode_reply, decode_request, encode_reply, encode_request};
pub use wire::{Client, connect, serve};

use mesh_core::{Code, Context, Governed, Guards, Head, Outcome, Protocol, Rejection, Replay, RequestView};
use std::{borrow::Cow, fmt, io};

/// The protocol, for pipelines and registries.
#[derive(Clone, Copy, Debug)]
pub struct Line;

/// The status of a good answer.
pub const OK: u8 = 20;
/// The status of a request that asks for what cannot be.
pub const BAD_REQUEST: u8 = 40;
/// The status of an answer that a layer refused.
pub const REFUSED: u8 = 50;
/// The status of a service that failed.
pub const FAILED: u8 = 70;

/// Names and values beside a message.
pub type Metadata = Vec<(Cow<'static, str>, Vec<u8>)>;

/// A request.
#[derive(Debug, Default)]
pub struct Request {
    /// The service asked for.
    pub service: String,
    /// The method asked for.
    pub method: String,
    /// What is said beside the arguments.
    pub metadata: Metadata,
    /// What the method is given.
    pub arguments: String,
    /// Nobody waits for an answer.
    pub one_way: bool,
    /// The record of the call.
    pub context: Context,
}

impl Request {
    /// A request without arguments, with a fresh record.
    pub fn new(service: &str, method: &str) -> Self {
        let context = Context::begin(mesh_core::time::now(), None);
        Self { service: service.into(), method: method.into(), context, ..Self::default() }
    }

    /// With arguments.
    pub fn with_arguments(self, arguments: &str) -> Self {
        Self { arguments: arguments.into(), ..self }
    }

    /// With metadata.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.set(name, value.as_bytes());
        self
    }

    /// Nobody waits for an answer.
    pub fn one_way(self) -> Self {
        Self { one_way: true, ..self }
    }

    fn again(&self) -> Self {
        Self {
            service: self.service.clone(),
            method: self.method.clone(),
            metadata: self.metadata.clone(),
            arguments: self.arguments.clone(),
            one_way: self.one_way,
            context: self.context.clone(),
        }
    }
}

impl RequestView for Request {
    fn service(&self) -> &str {
        &self.service
    }

    fn method(&self) -> &str {
        &self.method
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        get(&self.metadata, name)
    }

    fn get_all(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.metadata.iter().filter(|entry| entry.0 == name).for_each(|entry| visit(&entry.1));
    }

    fn get_several<'a>(&'a self, names: &[&str], visit: &mut dyn FnMut(usize, &'a [u8])) {
        for (name, value) in &self.metadata {
            if let Some(place) = names.iter().position(|one| one == name) {
                visit(place, value);
            }
        }
    }

    fn set(&mut self, name: &'static str, value: &[u8]) {
        set(&mut self.metadata, name, value);
    }

    fn remove(&mut self, name: &str) {
        self.metadata.retain(|entry| entry.0 != name);
    }

    fn context(&self) -> &Context {
        &self.context
    }
}

fn get<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a [u8]> {
    metadata.iter().find(|entry| entry.0 == name).map(|entry| &entry.1[..])
}

fn set(metadata: &mut Metadata, name: &'static str, value: &[u8]) {
    if !codec::can_carry(value) {
        return;
    }
    metadata.retain(|entry| entry.0 != name);
    metadata.push((name.into(), value.into()));
}

/// An answer.
#[derive(Debug, Default)]
pub struct Reply {
    /// [`OK`], or what went wrong.
    pub status: u8,
    /// What is said beside the result.
    pub metadata: Metadata,
    /// What the method gives.
    pub result: String,
    open: Open,
}

/// What is open on an answer.
#[derive(Debug, Default)]
struct Open {
    guards: Guards,
    one_way: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.one_way {
            self.guards.end_well();
        }
    }
}

impl Reply {
    /// An answer with this status and an empty result.
    pub fn new(status: u8) -> Self {
        Self { status, ..Self::default() }
    }

    /// What stands for the answer to a one-way request. Such a call has ended when the request was written: nobody
    /// will write this, so that it ends well wherever it is dropped.
    pub fn to_one_way() -> Self {
        Self { status: OK, open: Open { one_way: true, guards: Guards::new() }, ..Self::default() }
    }

    /// With a result.
    pub fn with_result(mut self, result: &str) -> Self {
        self.result = result.into();
        self
    }

    /// Whether nobody waits for it.
    pub fn is_one_way(&self) -> bool {
        self.open.one_way
    }

    /// The answer that a refusal becomes.
    pub fn refused(rejection: &Rejection) -> Self {
        let mut reply = Self::new(REFUSED).with_result(rejection.kind().as_str());
        for (name, value) in rejection.fields() {
            reply.set(name, value);
        }
        if !rejection.layer().is_none() {
            reply.set("x-mesh-rejected-by", rejection.layer().as_str().as_bytes());
        }
        reply
    }
}

impl Head for Reply {
    fn outcome(&self) -> Option<Outcome> {
        Some(self.code().outcome())
    }

    fn code(&self) -> Code {
        Code::Dubbo(self.status)
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        get(&self.metadata, name)
    }

    fn set(&mut self, name: &'static str, value: &[u8]) {
        set(&mut self.metadata, name, value);
    }
}

impl Governed for Reply {
    fn head(&mut self) -> &mut dyn Head {
        self
    }

    fn guards(&mut self) -> &mut Guards {
        &mut self.open.guards
    }
}

/// What goes wrong with a call.
#[derive(Debug)]
pub enum Error {
    /// A layer refused it.
    Refused(Rejection),
    /// The connection is gone.
    Io(io::Error),
    /// The other end said something else than an answer.
    Malformed(DecodeError),
}

mesh_core::refusal!(Error, Refused);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(rejection) => rejection.fmt(f),
            Error::Io(error) => error.fmt(f),
            Error::Malformed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Refused(rejection) => Some(rejection),
            Error::Io(error) => Some(error),
            Error::Malformed(error) => Some(error),
        }
    }
}

impl Protocol for Line {
    const NAME: &'static str = "line";
    type Request = Request;
    type Response = Reply;
    type Error = Error;

    /// A request is kept whole if its arguments fit.
    fn replay(request: &mut Request, limit: usize) -> Option<Replay<Request>> {
        if request.arguments.len() > limit {
            return None;
        }
        let kept = request.again();
        Some(Replay::new(move || Some(kept.again())))
    }
}
