//! What is kept of a request until its line is written.

use crate::{
    escape::Mode,
    format::{Capture, Compiled, HEADERS},
    operator::Field,
};
use mesh_core::{Head, HttpHead, Nanos, RequestView};
use std::{cell::RefCell, ops::Range};

/// What a request speaks, as far as its answers differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    Grpc,
    #[default]
    Other,
}

/// Values of one request, escaped, in one buffer that is used again.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    bytes: Vec<u8>,
    /// Where each value stands, the request's first; one that is missing ends before it begins.
    values: Vec<(u32, u32)>,
    pub(crate) speaks: Speaks,
    /// When it was admitted, where the record does not say when it arrived.
    pub(crate) began: Nanos,
    /// When the head of the answer came, where the format asks for that.
    pub(crate) head_at: Option<Nanos>,
    /// Drawn for the log already.
    pub(crate) sampled: bool,
}

const MISSING: (u32, u32) = (1, 0);
/// How many drafts a thread keeps for the next requests, and how large a buffer it keeps.
const KEPT: usize = 1024;
const KEPT_BYTES: usize = 4096;

thread_local!(static FREE: RefCell<Vec<Draft>> = const { RefCell::new(Vec::new()) });

impl Draft {
    /// Keeps what the format asks for of this request.
    pub(crate) fn of<R: RequestView>(request: &R, format: &Compiled, protocol: &str) -> Self {
        let mut draft = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten().unwrap_or_default();
        let http = request.http();
        draft.speaks = match http {
            None => Speaks::Other,
            Some(HttpHead { is_grpc: true, .. }) => Speaks::Grpc,
            Some(_) => Speaks::Http,
        };
        let mut headers = [None; HEADERS];
        if !format.headers.is_empty() {
            let mut names = [""; HEADERS];
            names.iter_mut().zip(&format.headers).for_each(|(name, header)| *name = header);
            request.get_several(&names[..format.headers.len()], &mut |place, value| {
                // of several the first
                headers[place].get_or_insert(value);
            });
        }
        let found = Found { request, http, names: &format.headers, headers: &headers, protocol };
        for Capture { fields, limit } in &format.request {
            let start = draft.bytes.len();
            let written = fields.iter().any(|field| found.write(field, *limit, format.mode, &mut draft.bytes));
            draft.place(start, written);
        }
        draft.values.resize(format.request.len() + format.response.len(), MISSING);
        draft
    }

    /// Keeps what the format asks for of this head.
    pub(crate) fn see(&mut self, head: &dyn Head, format: &Compiled) {
        self.values.truncate(format.request.len());
        for Capture { fields, limit } in &format.response {
            let start = self.bytes.len();
            let value = fields.iter().find_map(|name| head.get(name));
            if let Some(value) = value {
                format.mode.escape(cut(value, *limit), &mut self.bytes);
            }
            self.place(start, value.is_some());
        }
    }

    fn place(&mut self, start: usize, written: bool) {
        self.values.push(if written { (start as u32, self.bytes.len() as u32) } else { MISSING });
    }

    /// The value in this place, escaped.
    pub(crate) fn value(&self, place: usize) -> Option<&[u8]> {
        let (start, end) = *self.values.get(place)?;
        self.bytes.get(Range { start: start as usize, end: end as usize })
    }

    /// Its buffers are used again.
    pub(crate) fn recycle(mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            return;
        }
        self.bytes.clear();
        self.values.clear();
        let Self { bytes, values, .. } = self;
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(Self { bytes, values, ..Self::default() });
            }
        });
    }
}

/// A request as it is looked at once.
struct Found<'a, R> {
    request: &'a R,
    http: Option<HttpHead<'a>>,
    names: &'a [Box<str>],
    headers: &'a [Option<&'a [u8]>; HEADERS],
    protocol: &'a str,
}

impl<R: RequestView> Found<'_, R> {
    /// Appends a field, if there is one.
    fn write(&self, field: &Field, limit: usize, mode: Mode, into: &mut Vec<u8>) -> bool {
        let text = match (field, self.http) {
            (Field::Header(name), _) => {
                let place = self.names.iter().position(|other| other == name);
                match place.and_then(|place| self.headers[place]) {
                    Some(value) => mode.escape(cut(value, limit), into),
                    None => return false,
                }
                return true;
            }
            (Field::Method, Some(http)) => http.method,
            (Field::Method, None) => self.request.method(),
            (Field::Authority, Some(http)) => http.authority,
            (Field::Authority, None) => self.request.service(),
            (Field::Scheme, http) => http.and_then(|http| http.scheme).unwrap_or(""),
            (Field::Path | Field::PathAndQuery, None) => return self.path_of_call(limit, mode, into),
            (Field::Path, Some(http)) => http.path,
            (Field::PathAndQuery, Some(http)) => {
                mode.escape(cut(http.path.as_bytes(), limit), into);
                if let Some(query) = http.query
                    && let Some(rest) = limit.checked_sub(http.path.len() + 1)
                {
                    into.push(b'?');
                    mode.escape(cut(query.as_bytes(), rest), into);
                }
                return !http.path.is_empty();
            }
            (Field::QueryParameter(name), http) => {
                let pairs = http.and_then(|http| http.query).unwrap_or("").split('&');
                let mut named = pairs.filter_map(|pair| {
                    let (present, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (present == &**name).then_some(value)
                });
                match named.next() {
                    Some(value) => mode.escape(cut(value.as_bytes(), limit), into),
                    None => return false,
                }
                return true;
            }
            (Field::Protocol, Some(http)) => {
                into.extend_from_slice(b"HTTP/");
                http.version
            }
            (Field::Protocol, None) => self.protocol,
        };
        mode.escape(cut(text.as_bytes(), limit), into);
        !text.is_empty()
    }

    /// The path that gRPC would give this call.
    fn path_of_call(&self, limit: usize, mode: Mode, into: &mut Vec<u8>) -> bool {
        let (service, method) = (self.request.service(), self.request.method());
        for part in ["/", service, "/", method] {
            mode.escape(cut(part.as_bytes(), limit), into);
        }
        true
    }
}

/// At most so many bytes, and of text no part of a character.
fn cut(value: &[u8], limit: usize) -> &[u8] {
    if value.len() <= limit {
        return value;
    }
    let mut end = limit;
    while end > 0 && end + 4 > limit && value[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &value[..end]
}
