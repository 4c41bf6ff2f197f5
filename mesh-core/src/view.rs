use crate::{Code, Context, Outcome, Side};
use std::net::SocketAddr;

/// What every layer sees of a request, whatever its protocol.
pub trait RequestView {
    /// The service asked for: the gRPC service, the Dubbo interface, else the host of an HTTP request without its
    /// port. Empty where the protocol has none.
    fn service(&self) -> &str;
    /// The method asked for: of the gRPC service or Dubbo interface, else the HTTP method.
    fn method(&self) -> &str;
    /// The first value of this metadata (HTTP header, gRPC metadata, Dubbo attachment). Names are in lower case.
    fn get(&self, name: &str) -> Option<&[u8]>;
    /// Shows every value of this metadata, in order.
    fn get_all(&self, name: &str, visit: &mut dyn FnMut(&[u8]));
    /// Shows every value of these metadata, with the place of its name among `names`: one look at all there are, for
    /// whoever asks for several.
    fn get_several<'a>(&'a self, names: &[&str], visit: &mut dyn FnMut(usize, &'a [u8]));
    /// Sets this metadata to one value, which replaces all there were. A value that the protocol cannot carry is
    /// left out.
    fn set(&mut self, name: &'static str, value: &[u8]);
    /// Removes all values of this metadata.
    fn remove(&mut self, name: &str);
    /// The record of this request; [`Context::none`] where the protocol does not carry one.
    fn context(&self) -> &Context;
    /// Who sent the request.
    fn peer(&self) -> &Peer {
        self.context().peer()
    }
    /// What only a request over HTTP says; `None` for any other.
    fn http(&self) -> Option<HttpHead<'_>> {
        None
    }
}

/// What a request over HTTP says of itself, gRPC included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpHead<'a> {
    /// The method, also of a gRPC request: `POST`.
    pub method: &'a str,
    /// The scheme, where the request says it.
    pub scheme: Option<&'a str>,
    /// The host asked for, with its port as far as one was said; may be empty.
    pub authority: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The query, without its question mark, where there is one.
    pub query: Option<&'a str>,
    /// The version of HTTP as OpenTelemetry writes it: `1.1`, `2`.
    pub version: &'static str,
    /// Whether it is gRPC.
    pub is_grpc: bool,
}

/// What a watcher may see and write of an answer's head.
pub trait Head {
    /// How the call ended, where the head alone can tell (an HTTP status, a gRPC answer without a body). `None`:
    /// only the end of the body can.
    fn outcome(&self) -> Option<Outcome>;
    /// The status code of the head.
    fn code(&self) -> Code;
    /// Outcome and code together, for heads that find both in one look.
    fn outcome_and_code(&self) -> (Option<Outcome>, Code) {
        (self.outcome(), self.code())
    }
    /// Whose answer it is. A refusal of ours is a head too.
    fn side(&self) -> Side {
        Side::Upstream
    }
    /// The first value of this metadata. Names are in lower case.
    fn get(&self, name: &str) -> Option<&[u8]>;
    /// Sets this metadata of the answer to one value. One that the protocol cannot carry is left out.
    fn set(&mut self, name: &'static str, value: &[u8]);
}

/// Who is at the other end of a downstream connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its network address; `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    /// Its process, as the kernel vouches for it on a Unix socket.
    pub credentials: Option<Credentials>,
    /// The identity in its verified certificate.
    pub identity: Option<String>,
}

impl Peer {
    /// Nothing is known.
    pub const UNKNOWN: Peer = Peer { address: None, credentials: None, identity: None };
}

/// A process at the other end of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its process id, where the system tells it.
    pub pid: Option<i32>,
}
