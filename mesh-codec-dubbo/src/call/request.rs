//! A call, read as far as somebody asks.

use super::{
    attachments::{Attachments, Span, Texts},
    descriptor::parameters,
    recycled::{Free, Recycle, Recycled},
};
use crate::{
    frame::{Flags, Frame, HEADER_LEN, Head, Serialization, Status},
    hessian2::{Error, Limits, Reader, Tables},
};
use bytes::{BufMut, Bytes, BytesMut};
use mesh_core::{Context, RequestView};
use std::{cell::RefCell, fmt, sync::OnceLock, thread::LocalKey, time::Duration};

/// A call on its way to a provider: its frame, and what is changed of its attachments.
///
/// The names at the start of the body are read when it is made, the attachments, which stand behind the arguments, when
/// somebody asks for one; the arguments are passed over. What goes on is the body as it came, with the attachments that
/// were [set](Self::set_attachment) or removed patched in. One pointer; the record behind it is recycled per thread.
///
/// # Other serializations
/// Of a body that is not Hessian2 nothing is known ([`is_opaque`](Self::is_opaque)): service and method are empty, there
/// are no attachments, and none can be set. It goes on as it is.
///
/// # Whom a provider believes
/// `service` and `version` are what the consumer says at the start of the body, as its own logs have it. Java's providers look
/// the service up by the attachments `path`, `version` and `group` where these are there: a rule that has to hold against a
/// consumer that lies asks for them too.
///
/// # Attachments that come twice
/// The last one of a name counts, as in Java. Where none is written exactly so, the last one in another case does:
/// layers ask in lower case.
pub struct Request(Recycled<Inner>);

struct Inner {
    head: Head,
    body: Bytes,
    names: Names,
    /// Nothing in it: they cannot be read.
    attachments: OnceLock<Option<Attachments>>,
    context: Context,
}

/// The strings at the start of a body.
#[derive(Clone, Default)]
struct Names {
    dubbo: Option<Span>,
    path: Option<Span>,
    version: Option<Span>,
    method: Option<Span>,
    descriptor: Option<Span>,
    /// The method that a generic call names in its first argument.
    called: Option<Span>,
    /// Where they end, and how many arguments follow; nothing of a descriptor that is none.
    end: usize,
    arguments: Option<u32>,
    /// All of them are plain strings, and nothing is defined among them.
    is_plain: bool,
    texts: Texts,
}

thread_local!(static FREE: Free<Inner> = const { RefCell::new(Vec::new()) });

impl Default for Inner {
    fn default() -> Self {
        Self {
            head: Head { flags: Flags::two_way(Serialization::HESSIAN2), status: Status(0), id: 0 },
            body: Bytes::new(),
            names: Names::default(),
            attachments: OnceLock::new(),
            context: Context::none(),
        }
    }
}

impl Recycle for Inner {
    fn clear(&mut self) {
        self.body = Bytes::new();
        self.names.texts.clear();
        self.attachments.take();
        self.context = Context::none();
    }

    fn free() -> &'static LocalKey<Free<Self>> {
        &FREE
    }
}

/// The parameters of the methods by which generic calls are made.
const GENERIC: &[u8] = b"Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;";

/// The names, where all are plain, and where they end.
fn plain(body: &[u8]) -> Option<([Span; 5], usize)> {
    let (dubbo, end) = Span::plain(body, 0)?;
    let (path, end) = Span::plain(body, end)?;
    let (version, end) = Span::plain(body, end)?;
    let (method, end) = Span::plain(body, end)?;
    let (descriptor, end) = Span::plain(body, end)?;
    Some(([dubbo, path, version, method, descriptor], end))
}

impl Names {
    /// Reads them, in place: what is not named is nothing.
    fn read(&mut self, body: &[u8]) -> Result<(), Error> {
        match plain(body) {
            Some(([dubbo, path, version, method, descriptor], end)) => {
                self.dubbo = Some(dubbo);
                self.path = Some(path);
                self.version = Some(version);
                self.method = Some(method);
                self.descriptor = Some(descriptor);
                (self.end, self.is_plain) = (end, true);
            }
            None => {
                let mut reader = Reader::new(body, Limits::WALK);
                self.dubbo = self.text(&mut reader)?;
                self.path = self.text(&mut reader)?;
                self.version = self.text(&mut reader)?;
                self.method = self.text(&mut reader)?;
                self.descriptor = self.text(&mut reader)?;
                (self.end, self.is_plain) = (reader.position(), false);
            }
        }
        let descriptor = self.bytes(&self.descriptor, body);
        let is_generic =
            descriptor == GENERIC && matches!(self.bytes(&self.method, body), b"$invoke" | b"$invokeAsync");
        self.arguments = parameters(descriptor);
        self.called = None;
        if is_generic && let Some(mut reader) = self.reader(body) {
            self.called = self.text(&mut reader).ok().flatten();
        }
        Ok(())
    }

    /// A reader behind them, with all that was defined there.
    fn reader<'a>(&self, body: &'a [u8]) -> Option<Reader<'a>> {
        if self.is_plain {
            return Some(Reader::resume(body, self.end, Tables::new(), Limits::WALK));
        }
        let mut reader = Reader::new(body, Limits::WALK);
        // they could be read when the request was made
        for _ in 0..5 {
            reader.skip().ok()?;
        }
        Some(reader)
    }

    fn text(&mut self, reader: &mut Reader<'_>) -> Result<Option<Span>, Error> {
        let text = reader.read_text()?;
        Ok(text.map(|text| Span::of(&text, reader.position(), &mut self.texts)))
    }

    fn bytes<'a>(&'a self, name: &Option<Span>, body: &'a [u8]) -> &'a [u8] {
        name.as_ref().map_or(b"", |span| span.bytes(body, &self.texts))
    }
}

impl Request {
    /// The call in a frame, and the record of it.
    ///
    /// # Errors
    /// A body in Hessian2 that does not begin with the five strings, or nulls, of a call.
    pub fn from_frame(frame: Frame, context: Context) -> Result<Self, Error> {
        let mut inner = Recycled::<Inner>::take();
        inner.head = frame.head;
        inner.body = frame.body;
        inner.context = context;
        let Inner { head, body, names, .. } = &mut *inner;
        if head.flags.serialization() == Serialization::HESSIAN2 {
            names.read(body)?;
        } else {
            *names = Names::default();
        }
        Ok(Self(inner))
    }

    /// What the header says. The id is that of the connection it came on.
    pub fn head(&self) -> &Head {
        &self.0.head
    }

    /// Whether nobody waits for an answer.
    pub fn is_one_way(&self) -> bool {
        !self.0.head.flags.is_two_way()
    }

    /// Whether the body is in a serialization that is not looked into.
    pub fn is_opaque(&self) -> bool {
        self.0.head.flags.serialization() != Serialization::HESSIAN2
    }

    /// Whether somebody has looked for the attachments of a body in Hessian2 and they could not be read: an argument
    /// that is none, or a descriptor that is none. Such a call should be refused; what nobody has looked into goes on.
    pub fn is_malformed(&self) -> bool {
        !self.is_opaque() && matches!(self.0.attachments.get(), Some(None))
    }

    /// The version of the protocol that the consumer speaks: `2.0.2`. Empty where it is null.
    pub fn dubbo_version(&self) -> &str {
        self.name(&self.0.names.dubbo)
    }

    /// The version of the service; nothing where it is unset: null, empty or `0.0.0`.
    pub fn service_version(&self) -> Option<&str> {
        Some(self.name(&self.0.names.version)).filter(|version| !matches!(*version, "" | "0.0.0"))
    }

    /// The group of the service, from the attachments; nothing where it is unset or empty.
    pub fn group(&self) -> Option<&str> {
        self.attachment("group").filter(|group| !group.is_empty())
    }

    /// The types of the parameters, as the JVM writes them: `Ljava/lang/String;I`.
    pub fn descriptor(&self) -> &str {
        self.name(&self.0.names.descriptor)
    }

    /// Whether it is a generic call, `$invoke` or `$invokeAsync`: [`method`](RequestView::method) is then the one that it
    /// names in its first argument.
    pub fn is_generic(&self) -> bool {
        self.0.names.called.is_some()
    }

    /// How many arguments there are; nothing of an opaque body, and where the descriptor is none.
    pub fn argument_count(&self) -> Option<u32> {
        self.0.names.arguments.filter(|_| !self.is_opaque())
    }

    /// A reader at the first argument, with all that was defined before it; nothing of an opaque body.
    pub fn arguments(&self) -> Option<Reader<'_>> {
        if self.is_opaque() {
            return None;
        }
        self.0.names.reader(&self.0.body)
    }

    /// The body as it came, without what is changed of it.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// How long the consumer waits for an answer, as it says in the attachments (`timeout`, else `_TO`, in milliseconds).
    pub fn timeout(&self) -> Option<Duration> {
        let millis = self.attachment("timeout").or_else(|| self.attachment("_TO"))?;
        millis.parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis)
    }

    /// The attachment of a name, where it is a string.
    pub fn attachment(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.attachments()?.get(name, &self.0.body)?).ok()
    }

    /// All attachments whose name is a string, in order; the value where it is a string too. Of a name that comes twice
    /// the last one counts.
    pub fn attachments_iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or("");
        let all = self.attachments().map(|attachments| attachments.iter(&self.0.body));
        all.into_iter().flatten().map(move |(name, value)| (text(name), value.map(text)))
    }

    /// Sets an attachment to one value, in place of all there were of its name. Left out where there can be none: of an
    /// opaque or malformed body.
    ///
    /// The arguments stay as they are, byte for byte. An attachment that holds a list, a map or an object stays too,
    /// since what comes after it may refer to what it defines; one of the same name behind it then counts in its stead.
    pub fn set_attachment(&mut self, name: &str, value: &str) {
        let Some((attachments, body)) = self.attachments_mut() else { return };
        attachments.set(name, value, body);
    }

    /// Removes the attachments of a name, in whatever case; one that has to stay is followed by a null that counts in
    /// its stead.
    pub fn remove_attachment(&mut self, name: &str) {
        let Some((attachments, body)) = self.attachments_mut() else { return };
        attachments.remove(name, body);
    }

    /// Writes its frame with another id, all changes included, behind what a buffer holds.
    pub fn write(&self, id: u64, out: &mut BytesMut) {
        let head = Head { id, ..self.0.head };
        write(&head, &self.0.body, self.0.attachments.get(), out);
    }

    /// The same as it is, for another attempt: body and record are shared.
    pub(crate) fn again(&self) -> Self {
        let mut inner = Recycled::<Inner>::take();
        inner.head = self.0.head;
        inner.body = self.0.body.clone();
        inner.names = self.0.names.clone();
        if let Some(attachments) = self.0.attachments.get() {
            inner.attachments = OnceLock::from(attachments.clone());
        }
        inner.context = self.0.context.clone();
        Self(inner)
    }

    fn name(&self, name: &Option<Span>) -> &str {
        std::str::from_utf8(self.0.names.bytes(name, &self.0.body)).unwrap_or("")
    }

    fn attachments(&self) -> Option<&Attachments> {
        self.0.attachments.get_or_init(|| self.0.read_attachments()).as_ref()
    }

    fn attachments_mut(&mut self) -> Option<(&mut Attachments, &Bytes)> {
        self.attachments()?;
        let Inner { attachments, body, .. } = &mut *self.0;
        Some((attachments.get_mut()?.as_mut()?, body))
    }
}

impl Inner {
    fn read_attachments(&self) -> Option<Attachments> {
        if self.head.flags.serialization() != Serialization::HESSIAN2 {
            return None;
        }
        let arguments = self.names.arguments?;
        let mut reader = self.names.reader(&self.body)?;
        (0..arguments).try_for_each(|_| reader.skip()).ok()?;
        Attachments::read(reader, &self.body).ok()
    }
}

/// Writes a frame, its attachments as they are changed.
pub(super) fn write(head: &Head, body: &[u8], attachments: Option<&Option<Attachments>>, out: &mut BytesMut) {
    out.reserve(HEADER_LEN + body.len());
    let start = out.len();
    out.put_slice(&head.write(body.len()));
    match attachments {
        Some(Some(attachments)) if attachments.is_changed() => {
            attachments.write(body, out);
            let header = head.write(out.len() - start - HEADER_LEN);
            out[start..start + HEADER_LEN].copy_from_slice(&header);
        }
        _ => out.put_slice(body),
    }
}

impl RequestView for Request {
    fn service(&self) -> &str {
        self.name(&self.0.names.path)
    }

    fn method(&self) -> &str {
        let names = &self.0.names;
        self.name(if names.called.is_some() { &names.called } else { &names.method })
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.attachments()?.get(name, &self.0.body)
    }

    /// There is one value of a name at the most.
    fn get_all(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        if let Some(value) = self.get(name) {
            visit(value);
        }
    }

    fn get_several<'a>(&'a self, names: &[&str], visit: &mut dyn FnMut(usize, &'a [u8])) {
        let Some(attachments) = self.attachments() else { return };
        for (place, name) in names.iter().enumerate() {
            if let Some(value) = attachments.get(name, &self.0.body) {
                visit(place, value);
            }
        }
    }

    /// A value that is not UTF-8 is left out.
    fn set(&mut self, name: &'static str, value: &[u8]) {
        if let Ok(value) = std::str::from_utf8(value) {
            self.set_attachment(name, value);
        }
    }

    fn remove(&mut self, name: &str) {
        self.remove_attachment(name);
    }

    fn context(&self) -> &Context {
        &self.0.context
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("head", &self.0.head)
            .field("service", &self.service())
            .field("method", &self.method())
            .finish_non_exhaustive()
    }
}
