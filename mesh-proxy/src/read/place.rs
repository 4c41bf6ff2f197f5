//! Places in the text of a file.

use mesh_core::spec::Position;
use saphyr_parser::{Marker, Span};

/// The parser's place as ours: both count lines from 1, only we count columns so.
pub(super) fn position(marker: Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position::new(number(marker.line()), number(marker.col() + 1))
}

/// The place where `text` ends that begins at `start`.
pub(super) fn advance(start: Position, text: &str) -> Position {
    let mut position = start;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' || c == '\r' && chars.peek() != Some(&'\n') {
            position.line += 1;
            position.column = 1;
        } else {
            position.column += 1;
        }
    }
    position
}

/// Finds references in the text of a scalar as it stands in the file, one after the other.
pub(super) struct Finder<'a> {
    rest: &'a str,
    start: Position,
    position: Position,
}

impl<'a> Finder<'a> {
    pub(super) fn new(text: &'a str, span: Span) -> Self {
        let mut chars = text.char_indices().map(|(offset, _)| offset);
        let start = chars.nth(span.start.index()).unwrap_or(text.len());
        let end = span.len().checked_sub(1).and_then(|length| chars.nth(length)).unwrap_or(text.len());
        let start_position = position(span.start);
        Self { rest: &text[start..end], start: start_position, position: start_position }
    }

    /// The place of the next `reference`; that of the scalar if it is written in another way there.
    pub(super) fn next(&mut self, reference: &str) -> Position {
        // Up to the first thing that the file may write differently: a line break, an escape.
        let reference = reference
            .split(|c: char| c.is_whitespace() || c == '"' || c == '\\' || c == '\'')
            .next()
            .unwrap_or(reference);
        let found = self.rest.match_indices(reference).find(|(offset, _)| {
            // `$${` is text.
            let dollars = self.rest[..*offset].bytes().rev().take_while(|b| *b == b'$');
            dollars.count() % 2 == 0
        });
        let Some((offset, _)) = found else {
            return self.start;
        };
        let position = advance(self.position, &self.rest[..offset]);
        let end = offset + reference.len();
        self.position = advance(position, &self.rest[offset..end]);
        self.rest = &self.rest[end..];
        position
    }
}
