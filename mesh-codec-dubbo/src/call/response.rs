//! The answer to a call.

use super::{
    attachments::Attachments,
    recycled::{Free, Recycle, Recycled},
    request::write,
};
use crate::{
    frame::{Flags, Frame, Head, Serialization, Status},
    hessian2::{Error, ErrorKind, Limits, Reader, Writer},
};
use bytes::{Bytes, BytesMut};
use mesh_core::{Code, Governed, Guards, Outcome};
use std::{borrow::Cow, cell::RefCell, fmt, sync::OnceLock, thread::LocalKey};

/// The answer to a call: its frame, what is open on it, and what is changed of its attachments. Of its body nothing is
/// read until somebody asks. One pointer; the record behind it is recycled per thread.
pub struct Response(Recycled<Inner>);

struct Inner {
    head: Head,
    body: Bytes,
    /// Nothing in it: there are none, and there can be none.
    attachments: OnceLock<Option<Attachments>>,
    guards: Guards,
    is_one_way: bool,
}

thread_local!(static FREE: Free<Inner> = const { RefCell::new(Vec::new()) });

impl Default for Inner {
    fn default() -> Self {
        Self {
            head: Head { flags: Flags::response(Serialization::HESSIAN2), status: Status::OK, id: 0 },
            body: Bytes::new(),
            attachments: OnceLock::new(),
            guards: Guards::new(),
            is_one_way: false,
        }
    }
}

impl Recycle for Inner {
    fn clear(&mut self) {
        // such a call had ended when it was written
        if std::mem::take(&mut self.is_one_way) {
            self.guards.end_well();
        }
        self.guards = Guards::new();
        self.body = Bytes::new();
        self.attachments.take();
    }

    fn free() -> &'static LocalKey<Free<Self>> {
        &FREE
    }
}

/// What an answer says.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// What the method gave: a reader at the value.
    Value(Reader<'a>),
    /// The method gave null, or nothing at all.
    Null,
    /// The method threw: a reader at the throwable.
    Exception(Reader<'a>),
    /// The call failed around the method: a status other than [`Status::OK`], and the message, where there is one.
    Failed(Status, Option<Cow<'a, str>>),
    /// The body is in a serialization that is not looked into.
    Opaque,
}

impl Response {
    /// The answer in a frame.
    pub fn from_frame(frame: Frame) -> Self {
        let mut inner = Recycled::<Inner>::take();
        inner.head = frame.head;
        inner.body = frame.body;
        Self(inner)
    }

    /// An answer to `request` that says that its method gave what `write` writes. Response attachments are for consumers
    /// that can read them: of version 2.0.2 to 2.0.99 of the protocol.
    pub fn value(request: &super::Request, write: impl FnOnce(&mut Writer<BytesMut>)) -> Self {
        Self::result(request, 1, write)
    }

    /// An answer to `request` that says that its method gave null, or nothing.
    pub fn null(request: &super::Request) -> Self {
        Self::result(request, 2, |_| ())
    }

    /// An answer to `request` that says that its method threw what `write` writes: an object of a class of throwables that
    /// the consumer has. For what goes wrong around a method there is [`Response::failed`].
    pub fn exception(request: &super::Request, write: impl FnOnce(&mut Writer<BytesMut>)) -> Self {
        Self::result(request, 0, write)
    }

    fn result(request: &super::Request, kind: i32, write: impl FnOnce(&mut Writer<BytesMut>)) -> Self {
        let with_attachments = takes_attachments(request.dubbo_version());
        let mut writer = Writer::new(BytesMut::with_capacity(64));
        writer.int(if with_attachments { kind + 3 } else { kind });
        write(&mut writer);
        if with_attachments {
            writer.map(None);
            writer.string("dubbo");
            writer.string("2.0.2");
            writer.end();
        }
        let head = Head { flags: Flags::response(Serialization::HESSIAN2), status: Status::OK, id: request.head().id };
        Self::from_frame(Frame { head, body: writer.into_inner().freeze() })
    }

    /// An answer that says that the call failed: any status but [`Status::OK`], and a message.
    pub fn failed(status: Status, message: &str) -> Self {
        Self::from_frame(failure(Flags::response(Serialization::HESSIAN2), status, 0, message))
    }

    /// What stands for the answer to a one-way call, which has ended when its request was written: nobody will write
    /// this, so that it ends well wherever it is dropped.
    pub fn to_one_way() -> Self {
        let mut inner = Recycled::<Inner>::take();
        inner.head = Inner::default().head;
        inner.is_one_way = true;
        Self(inner)
    }

    /// Whether nobody waits for it.
    pub fn is_one_way(&self) -> bool {
        self.0.is_one_way
    }

    /// What the header says. The id is that of the connection it came on.
    pub fn head(&self) -> &Head {
        &self.0.head
    }

    /// Its status.
    pub fn status(&self) -> Status {
        self.0.head.status
    }

    /// The body as it came, without what is changed of it.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// What it says.
    ///
    /// # Errors
    /// A body in Hessian2 that is no answer.
    pub fn answer(&self) -> Result<Answer<'_>, Error> {
        if self.0.head.flags.serialization() != Serialization::HESSIAN2 {
            return Ok(match self.status() {
                Status::OK => Answer::Opaque,
                status => Answer::Failed(status, None),
            });
        }
        let mut reader = Reader::new(&self.0.body, Limits::WALK);
        if self.status() != Status::OK {
            let message = if reader.is_at_end() { None } else { reader.read_text()? };
            return Ok(Answer::Failed(self.status(), message.map(|text| text.to_string_lossy())));
        }
        match kind(&mut reader)? {
            1 | 4 => Ok(Answer::Value(reader)),
            2 | 5 => Ok(Answer::Null),
            _ => Ok(Answer::Exception(reader)),
        }
    }

    /// Whether the method threw. The status of such an answer is [`Status::OK`], and to layers it is a success: a provider
    /// that throws is there and works. See [`exceptions_fail`]. Looks at the first value of the body only.
    pub fn is_exception(&self) -> bool {
        matches!(self.answer(), Ok(Answer::Exception(_)))
    }

    /// The attachment of a name, where it is a string. The result is passed over to find it.
    pub fn attachment(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.attachments()?.get(name, &self.0.body)?).ok()
    }

    /// Sets an attachment, as of a [request](super::Request::set_attachment). Left out where the answer has none: where
    /// its status is not [`Status::OK`], and for consumers that take none.
    pub fn set_attachment(&mut self, name: &str, value: &str) {
        if self.attachments().is_none() {
            return;
        }
        let Inner { attachments, body, .. } = &mut *self.0;
        if let Some(Some(attachments)) = attachments.get_mut() {
            attachments.set(name, value, body);
        }
    }

    /// Writes its frame with another id, all changes included, behind what a buffer holds.
    pub fn write(&self, id: u64, out: &mut BytesMut) {
        let head = Head { id, ..self.0.head };
        write(&head, &self.0.body, self.0.attachments.get(), out);
    }

    /// What layers have left open on it. Whoever writes it ends them.
    pub fn guards_mut(&mut self) -> &mut Guards {
        &mut self.0.guards
    }

    fn attachments(&self) -> Option<&Attachments> {
        self.0.attachments.get_or_init(|| self.0.read_attachments()).as_ref()
    }
}

impl Inner {
    fn read_attachments(&self) -> Option<Attachments> {
        if self.head.status != Status::OK || self.head.flags.serialization() != Serialization::HESSIAN2 {
            return None;
        }
        let mut reader = Reader::new(&self.body, Limits::WALK);
        match kind(&mut reader).ok()? {
            3 | 4 => reader.skip().ok()?,
            5 => {}
            _ => return None,
        }
        Attachments::read(reader, &self.body).ok()
    }
}

/// Which of the six kinds of answer it is.
fn kind(reader: &mut Reader<'_>) -> Result<i32, Error> {
    let start = reader.position();
    let kind = reader.read_int()?;
    if (0..=5).contains(&kind) {
        return Ok(kind);
    }
    Err(Error::new(ErrorKind::Unexpected { expected: "the kind of an answer, 0 to 5" }, start, None))
}

/// The frame of an answer that says that a call failed.
///
/// In a serialization other than Hessian2 it has no body: that too fails the call at once.
pub(crate) fn failure(flags: Flags, status: Status, id: u64, message: &str) -> Frame {
    let serialization = flags.serialization();
    let body = if serialization == Serialization::HESSIAN2 {
        let mut writer = Writer::new(BytesMut::with_capacity(message.len() + 3));
        writer.string(message);
        writer.into_inner().freeze()
    } else {
        Bytes::new()
    };
    Frame { head: Head { flags: Flags::response(serialization), status, id }, body }
}

/// Whether a consumer of this version of the protocol takes attachments with an answer, as Java reckons it: two digits a
/// part, 2.0.2 to 2.0.99.
fn takes_attachments(version: &str) -> bool {
    let (mut number, mut parts) = (0_u32, 0);
    for part in version.split('.') {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(part) = part[..digits].parse::<u32>() else { return false };
        if part > 99 {
            return false;
        }
        number = number * 100 + part;
        parts += 1;
        if parts > 4 {
            return false;
        }
    }
    let number = if parts == 3 { number * 100 } else { number };
    (2_000_200..=2_009_900).contains(&number)
}

/// Exceptions that a method throws as failures, for layers that judge: `.judge(exceptions_fail)`. By default the one who
/// threw is not to blame, since a consumer's wrong argument is answered so too.
pub fn exceptions_fail(response: &Response) -> Outcome {
    match Code::Dubbo(response.status().0).outcome() {
        Outcome::Success if response.is_exception() => Outcome::Failure,
        outcome => outcome,
    }
}

impl mesh_core::Head for Response {
    fn outcome(&self) -> Option<Outcome> {
        Some(mesh_core::Head::code(self).outcome())
    }

    fn code(&self) -> Code {
        Code::Dubbo(self.status().0)
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.attachments()?.get(name, &self.0.body)
    }

    fn set(&mut self, name: &'static str, value: &[u8]) {
        if let Ok(value) = std::str::from_utf8(value) {
            self.set_attachment(name, value);
        }
    }
}

impl Governed for Response {
    fn head(&mut self) -> &mut dyn mesh_core::Head {
        self
    }

    fn guards(&mut self) -> &mut Guards {
        &mut self.0.guards
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("head", &self.0.head)
            .field("body_bytes", &self.0.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::takes_attachments;

    #[test]
    fn versions_that_take_attachments() {
        for version in ["2.0.2", "2.0.10", "2.0.99", "2.0.2-SNAPSHOT"] {
            assert!(takes_attachments(version), "{version}");
        }
        for version in ["2.6.2", "2.7.15", "3.3.0", "2.0.1", "2.5.3", "", "x", "2.0.100", "2.1.0", "1.0.2.0.2.0.2"] {
            assert!(!takes_attachments(version), "{version}");
        }
    }
}
