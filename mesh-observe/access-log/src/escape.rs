//! Values from the wire, so that none can end its line, close its quotes, or speak to a terminal.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything but printable ASCII as `\xNN`; quotation mark and backslash behind a backslash.
    Text,
    /// The inside of a JSON string. What is no UTF-8 becomes U+FFFD.
    Json,
}

impl Mode {
    /// Appends a value.
    pub(crate) fn escape(self, value: &[u8], into: &mut Vec<u8>) {
        // most values need nothing, and are copied in one go
        if is_plain(value) {
            return into.extend_from_slice(value);
        }
        match self {
            Mode::Text => value.iter().for_each(|byte| text(*byte, into)),
            Mode::Json => json(value, into),
        }
    }
}

/// Whether it is printable ASCII without quotation mark and backslash. Eight bytes at a time: in a value of usual length
/// that is what costs.
fn is_plain(value: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // the high bit of some byte is set if one of them is zero, and of none if none is
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let (chunks, rest) = value.as_chunks::<8>();
    // spaces are plain
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    let found = chunks.iter().chain([&last]).fold(0, |found, chunk| {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let named = [b'"', b'\\', 0x7f].map(|byte| zero(word ^ (ONES * u64::from(byte))));
        found | word | control | named[0] | named[1] | named[2]
    });
    found & HIGH == 0
}

fn text(byte: u8, into: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => into.extend_from_slice(&[b'\\', byte]),
        b' '..=b'~' => into.push(byte),
        _ => into.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
    }
}

fn json(value: &[u8], into: &mut Vec<u8>) {
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => into.extend_from_slice(&[b'\\', c as u8]),
                // beside what JSON forbids: what terminals obey, and what some readers take for the end of a line
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    let digit = |shift: u32| HEX[(c as usize >> shift) & 15];
                    into.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
                }
                _ => into.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            into.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}
