use crate::RequestView;
use std::{fmt, sync::Arc};

/// How far a request must have come for an attribute to have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// As soon as the request is there.
    Request,
    /// Once a route has been chosen: path parameters, the template. Refused in a listener's pipeline.
    Route,
}

type Read<R> = dyn Fn(&R, &mut dyn FnMut(&[u8])) + Send + Sync;

/// A property of a request by its path (`metadata.x-user`, `peer.address`, `path`), compiled when a spec is loaded and
/// visited as bytes per request. Keys, matches, authorisation, hashing and logs see requests through this only.
pub struct Attribute<R> {
    path: Arc<str>,
    scope: Scope,
    read: Arc<Read<R>>,
}

impl<R> Attribute<R> {
    /// An attribute that `read` shows, value by value; none where the request does not have it.
    pub fn new(path: &str, scope: Scope, read: impl Fn(&R, &mut dyn FnMut(&[u8])) + Send + Sync + 'static) -> Self {
        Self { path: path.into(), scope, read: Arc::new(read) }
    }

    /// Its path, as it was written.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where it may be used.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Shows every value the request has for it.
    pub fn visit(&self, request: &R, visit: &mut dyn FnMut(&[u8])) {
        (self.read)(request, visit);
    }

    /// What `look` makes of the first value; `None` where the request has none.
    pub fn first<T>(&self, request: &R, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let (mut look, mut seen) = (Some(look), None);
        self.visit(request, &mut |value| {
            if let Some(look) = look.take() {
                seen = Some(look(value));
            }
        });
        seen
    }
}

impl<R: RequestView + 'static> Attribute<R> {
    /// The paths that every protocol has.
    pub const COMMON: [&'static str; 6] =
        ["peer.address", "peer.uid", "peer.identity", "service", "method", "metadata.NAME"];

    /// One of the attributes that every protocol has: `peer.address` (without the port), `peer.uid`, `peer.identity`,
    /// `service`, `method`, `metadata.NAME`. `None` for any other path.
    pub fn common(path: &str) -> Option<Self> {
        type Show<R> = fn(&R, &mut dyn FnMut(&[u8]));
        let make = |read: Show<R>| Some(Self::new(path, Scope::Request, read));
        match path {
            "service" => make(|request, visit| visit(request.service().as_bytes())),
            "method" => make(|request, visit| visit(request.method().as_bytes())),
            "peer.address" => make(|request, visit| {
                if let Some(address) = request.peer().address {
                    visit(Text::of(address.ip()).as_bytes());
                }
            }),
            "peer.uid" => make(|request, visit| {
                if let Some(credentials) = request.peer().credentials {
                    visit(Text::of(credentials.uid).as_bytes());
                }
            }),
            "peer.identity" => make(|request, visit| {
                if let Some(identity) = &request.peer().identity {
                    visit(identity.as_bytes());
                }
            }),
            _ => {
                let name = path.strip_prefix("metadata.").filter(|name| !name.is_empty())?.to_ascii_lowercase();
                Some(Self::new(path, Scope::Request, move |request, visit| request.get_all(&name, visit)))
            }
        }
    }
}

/// An address or a number as text, on the stack.
struct Text {
    bytes: [u8; 48],
    length: usize,
}

impl Text {
    fn of(value: impl fmt::Display) -> Self {
        use fmt::Write as _;
        let mut text = Text { bytes: [0; 48], length: 0 };
        // an IPv6 address has at the most 45 characters
        let _ = write!(text, "{value}");
        text
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.length + part.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl<R> Clone for Attribute<R> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), scope: self.scope, read: self.read.clone() }
    }
}

impl<R> fmt::Debug for Attribute<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attribute").field(&self.path).finish()
    }
}

/// A path that names no attribute of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeError {
    /// The path that was asked for.
    pub path: String,
    /// The attributes there are, `NAME` standing for any name.
    pub known: &'static [&'static str],
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown attribute `{}`, expected one of {}", self.path, self.known.join(", "))
    }
}

impl std::error::Error for AttributeError {}
