//! The attachments of a body, and what is changed of them: a layer over bytes that stay as they came.

use crate::hessian2::{Error, Limits, Reader, Text, Token, Writer};
use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

/// What is known of the attachments of a body.
#[derive(Clone, Debug)]
pub(super) struct Attachments {
    /// Those whose key is a string: in the order of the body, then those that are added.
    items: SmallVec<[Item; 12]>,
    texts: Texts,
    place: Place,
    is_changed: bool,
}

/// Texts that do not stand in the body as they are.
pub(super) type Texts = SmallVec<[u8; 128]>;

/// Where the map is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Its end stands there.
    Map { end: u32 },
    /// A null stands there in its place.
    Null { at: u32 },
    /// The body ends without one.
    Absent,
}

/// A text in UTF-8: in the body, or among the [`Texts`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
    in_body: bool,
}

#[derive(Clone, Debug)]
struct Item {
    /// Its bytes in the body; none of one that is added.
    start: u32,
    value_start: u32,
    end: u32,
    key: Span,
    /// The value, where it is a string.
    value: Option<Span>,
    /// Nothing later in the stream can need its bytes.
    is_loose: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Kept,
    Changed,
    Removed,
    Added,
}

impl Span {
    /// A text that a reader of `body` gave, which ends at `end`.
    ///
    /// Where it stands there in chunks or with surrogates it is decoded: what is compared is what the receiver reads,
    /// whatever way it is written.
    pub(super) fn of(text: &Text<'_>, end: usize, texts: &mut Texts) -> Self {
        match text.as_str() {
            Some(text) => Self { start: (end - text.len()) as u32, end: end as u32, in_body: true },
            None => Self::of_copy(text.to_string_lossy().as_bytes(), texts),
        }
    }

    /// A string of ASCII in one piece of less than 1024 units, as nearly all are, and where it ends: seen at a glance.
    /// Nothing for any other value.
    pub(super) fn plain(body: &[u8], at: usize) -> Option<(Self, usize)> {
        let (start, length) = match *body.get(at)? {
            tag @ 0x00..=0x1f => (at + 1, usize::from(tag)),
            tag @ 0x30..=0x33 => (at + 2, usize::from(tag - 0x30) << 8 | usize::from(*body.get(at + 1)?)),
            _ => return None,
        };
        let end = start + length;
        // a unit is a byte then
        let is_plain = body.get(start..end)?.is_ascii();
        is_plain.then_some((Self { start: start as u32, end: end as u32, in_body: true }, end))
    }

    fn of_copy(text: &[u8], texts: &mut Texts) -> Self {
        let start = texts.len() as u32;
        texts.extend_from_slice(text);
        Self { start, end: texts.len() as u32, in_body: false }
    }

    pub(super) fn bytes<'a>(&self, body: &'a [u8], texts: &'a [u8]) -> &'a [u8] {
        let from = if self.in_body { body } else { texts };
        &from[self.start as usize..self.end as usize]
    }
}

impl Attachments {
    /// Reads them from where they begin.
    pub(super) fn read<'a>(mut reader: Reader<'a>, body: &'a [u8]) -> Result<Self, Error> {
        let mut read = Self { items: SmallVec::new(), texts: Texts::new(), place: Place::Absent, is_changed: false };
        if reader.is_at_end() {
            return Ok(read);
        }
        if !reader.open_map()? {
            read.place = Place::Null { at: reader.position() as u32 - 1 };
            return Ok(read);
        }
        let mut at = reader.position();
        loop {
            if let Some((key, value_start)) = Span::plain(body, at)
                && let Some((value, end)) = Span::plain(body, value_start)
            {
                read.push([at, value_start, end], key, Some(value), true);
                at = end;
                continue;
            }
            if body.get(at) == Some(&b'Z') {
                read.place = Place::Map { end: at as u32 };
                return Ok(read);
            }
            reader = Reader::resume(body, at, reader.into_tables(), Limits::WALK);
            let key = read.text(&mut reader)?;
            let value_start = reader.position();
            let value = read.text(&mut reader)?;
            let end = reader.position();
            if let Some(key) = key {
                let is_loose = body[at] != b'C' && !defines(body[value_start]);
                read.push([at, value_start, end], key, value, is_loose);
            }
            at = end;
        }
    }

    /// Passes a value; a string is kept.
    fn text(&mut self, reader: &mut Reader<'_>) -> Result<Option<Span>, Error> {
        let mark = reader.mark();
        if let Token::String(text) = reader.read()? {
            return Ok(Some(Span::of(&text, reader.position(), &mut self.texts)));
        }
        reader.rewind(&mark);
        reader.skip()?;
        Ok(None)
    }

    fn push(&mut self, [start, value_start, end]: [usize; 3], key: Span, value: Option<Span>, is_loose: bool) {
        self.items.push(Item {
            start: start as u32,
            value_start: value_start as u32,
            end: end as u32,
            key,
            value,
            is_loose,
            state: State::Kept,
        });
    }

    /// The place of the one that counts: the last of the name as it is written, else the last of the name in any case.
    fn find(&self, name: &[u8], body: &[u8]) -> Option<usize> {
        let mut other_case = None;
        for (place, item) in self.items.iter().enumerate().rev() {
            if item.state == State::Removed {
                continue;
            }
            let key = item.key.bytes(body, &self.texts);
            if key == name {
                return Some(place);
            }
            if other_case.is_none() && key.eq_ignore_ascii_case(name) {
                other_case = Some(place);
            }
        }
        other_case
    }

    /// The value of a name, where it is a string.
    pub(super) fn get<'a>(&'a self, name: &str, body: &'a [u8]) -> Option<&'a [u8]> {
        let item = &self.items[self.find(name.as_bytes(), body)?];
        item.value.map(|value| value.bytes(body, &self.texts))
    }

    /// Names and values, in order; those of which another of the same name counts included.
    pub(super) fn iter<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let kept = self.items.iter().filter(|item| item.state != State::Removed);
        kept.map(move |item| {
            (item.key.bytes(body, &self.texts), item.value.map(|value| value.bytes(body, &self.texts)))
        })
    }

    /// Gives a name one value.
    pub(super) fn set(&mut self, name: &str, value: &str, body: &[u8]) {
        let found = self.find(name.as_bytes(), body);
        self.is_changed = true;
        let value = Span::of_copy(value.as_bytes(), &mut self.texts);
        if let Some(place) = found {
            self.remove_but(name, body, Some(place));
            let item = &mut self.items[place];
            if item.state == State::Added || item.is_loose {
                item.value = Some(value);
                item.state = if item.state == State::Added { State::Added } else { State::Changed };
                return;
            }
            // its bytes have to stay: another of the very same name comes after it, and counts
            let key = item.key;
            self.add(key, Some(value));
        } else {
            let key = Span::of_copy(name.as_bytes(), &mut self.texts);
            self.add(key, Some(value));
        }
    }

    /// Takes a name away, in whatever case.
    pub(super) fn remove(&mut self, name: &str, body: &[u8]) {
        self.remove_but(name, body, None);
    }

    fn remove_but(&mut self, name: &str, body: &[u8], but: Option<usize>) {
        for place in 0..self.items.len() {
            let item = &self.items[place];
            let key = item.key;
            let is_it = key.bytes(body, &self.texts).eq_ignore_ascii_case(name.as_bytes());
            if !is_it || but == Some(place) || item.state == State::Removed {
                continue;
            }
            self.is_changed = true;
            if item.is_loose || item.state == State::Added {
                self.items[place].state = State::Removed;
            } else if but.is_none() {
                self.add(key, None);
            }
        }
    }

    /// A value that is no string reads as none, and so does a null in its place.
    fn add(&mut self, key: Span, value: Option<Span>) {
        let state = State::Added;
        self.items.push(Item { start: 0, value_start: 0, end: 0, key, value, is_loose: true, state });
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Writes the body with all that is changed.
    pub(super) fn write(&self, body: &[u8], out: &mut BytesMut) {
        let mut from = 0;
        let mut has_added = false;
        for item in &self.items {
            let keep_to = match item.state {
                State::Kept => continue,
                State::Added => {
                    has_added = true;
                    continue;
                }
                // one that was added stands nowhere
                State::Removed if item.end == 0 => continue,
                State::Removed => item.start,
                State::Changed => item.value_start,
            };
            out.put_slice(&body[from..keep_to as usize]);
            from = item.end as usize;
            if item.state == State::Changed {
                self.write_value(item, body, out);
            }
        }
        let (end, is_map) = match self.place {
            Place::Map { end } => (end as usize, true),
            Place::Null { at } if has_added => (at as usize, false),
            Place::Null { .. } | Place::Absent => (body.len(), false),
        };
        out.put_slice(&body[from..end]);
        if has_added {
            if !is_map {
                out.put_u8(b'H');
            }
            for item in self.items.iter().filter(|item| item.state == State::Added) {
                write_text(item.key.bytes(body, &self.texts), out);
                self.write_value(item, body, out);
            }
            if !is_map {
                out.put_u8(b'Z');
            }
        }
        let rest = if let Place::Null { .. } = self.place { (end + 1).min(body.len()) } else { end };
        out.put_slice(&body[rest..]);
    }

    fn write_value(&self, item: &Item, body: &[u8], out: &mut BytesMut) {
        match item.value {
            Some(value) => write_text(value.bytes(body, &self.texts), out),
            None => out.put_u8(b'N'),
        }
    }
}

fn write_text(text: &[u8], out: &mut BytesMut) {
    if text.len() < 0x20 && text.is_ascii() {
        out.put_u8(text.len() as u8);
        out.put_slice(text);
        return;
    }
    // all of them were UTF-8 when they were taken in
    Writer::new(out).string(std::str::from_utf8(text).unwrap_or(""));
}

/// Whether what begins with this byte may define a class or a type, or take a number that references count.
fn defines(tag: u8) -> bool {
    matches!(tag, b'C' | b'H' | b'M' | b'O' | 0x55..=0x58 | 0x60..=0x7f)
}
