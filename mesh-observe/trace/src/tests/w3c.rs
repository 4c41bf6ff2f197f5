use crate::w3c::{format, parse};
use mesh_core::TraceContext;
use proptest::prelude::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// The cases of W3C's test suite for `traceparent`, and what a hop must take them for.
#[test]
fn the_test_suite() {
    let zeros = "0".repeat(32);
    let upper = TRACE.to_uppercase();
    for (text, flags) in [
        (format!("00-{TRACE}-{SPAN}-00"), Some(0)),
        (format!("00-{TRACE}-{SPAN}-01"), Some(1)),
        (format!("00-{TRACE}-{SPAN}-ff"), Some(0xff)),
        // higher versions
        (format!("cc-{TRACE}-{SPAN}-01"), Some(1)),
        (format!("01-{TRACE}-{SPAN}-01-what-comes-next"), Some(1)),
        (format!("01-{TRACE}-{SPAN}-01-"), Some(1)),
        (format!("01-{TRACE}-{SPAN}-01.what"), None),
        (format!("01-{TRACE}-{SPAN}-011"), None),
        (format!("ff-{TRACE}-{SPAN}-01"), None),
        // version 00 is 55 bytes long
        (format!("00-{TRACE}-{SPAN}-01-"), None),
        (format!("00-{TRACE}-{SPAN}-01-x"), None),
        (format!("00-{TRACE}-{SPAN}-01 "), None),
        (format!("00-{TRACE}-{SPAN}-0"), None),
        (format!("00-{TRACE}-{SPAN}"), None),
        // characters
        (format!("0x-{TRACE}-{SPAN}-01"), None),
        (format!(".0-{TRACE}-{SPAN}-01"), None),
        (format!("00-{upper}-{SPAN}-01"), None),
        (format!("00-{TRACE}-B7AD6B7169203331-01"), None),
        (format!("00-{TRACE}-{SPAN}-0A"), None),
        (format!("00-{TRACE}-{SPAN}-.0"), None),
        (format!("00-.{}-{SPAN}-01", &TRACE[1..]), None),
        (format!("00-{TRACE}-.{}-01", &SPAN[1..]), None),
        (format!("00_{TRACE}-{SPAN}-01"), None),
        (format!("00-{TRACE}_{SPAN}-01"), None),
        (format!("00-{TRACE}-{SPAN}_01"), None),
        // ids
        (format!("00-{zeros}-{SPAN}-01"), None),
        (format!("00-{TRACE}-0000000000000000-01"), None),
        (format!("00-{}-{SPAN}-01", &TRACE[1..]), None),
        (format!("00-{TRACE}0-{SPAN}-01"), None),
        (String::new(), None),
        ("00".into(), None),
        ("é".repeat(40), None),
    ] {
        let expected = flags.map(|flags| TraceContext {
            trace_id: u128::from_str_radix(TRACE, 16).unwrap(),
            span_id: u64::from_str_radix(SPAN, 16).unwrap(),
            flags,
        });
        assert_eq!(parse(text.as_bytes()), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, flags: u8) {
        let trace = TraceContext { trace_id, span_id, flags };
        let text = format(&trace);
        prop_assert_eq!(std::str::from_utf8(&text).unwrap(), std::format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}"));
        prop_assert_eq!(parse(&text), Some(trace));
    }

    /// One byte wrong anywhere: what is read has that byte, or nothing is.
    #[test]
    fn a_hostile_byte(at in 0..55_usize, byte: u8, trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX) {
        let mut text = format(&TraceContext { trace_id, span_id, flags: 1 });
        text[at] = byte;
        if let Some(read) = parse(&text) {
            let mut same = format(&read);
            same[..2].copy_from_slice(&text[..2]);
            prop_assert_eq!(same, text);
        }
    }

    #[test]
    fn hostile_bytes(bytes: Vec<u8>) {
        if let Some(read) = parse(&bytes) {
            prop_assert!(read.trace_id != 0 && read.span_id != 0);
        }
    }
}

/// Every byte at every place of a word.
#[test]
fn digits() {
    for place in 0..16 {
        for byte in 0..=255_u8 {
            let mut text = *b"0123456789abcdef";
            text[place] = byte;
            let is_digit = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let expected = is_digit.then(|| u64::from_str_radix(std::str::from_utf8(&text).unwrap(), 16).unwrap());
            assert_eq!(crate::hex::u64_of(&text), expected, "{byte:#x} at {place}");
        }
    }
}
