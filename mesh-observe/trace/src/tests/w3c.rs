use crate::w3c::{RANDOM, SAMPLED, Unsampled, format, parse, unsampled};
use mesh_core::TraceContext;
use proptest::prelude::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// The standard's rules one by one, character by character.
fn naive(value: &[u8]) -> Option<TraceContext> {
    let text = std::str::from_utf8(value).ok()?;
    let (version, rest) = text.split_once('-')?;
    let (trace_id, rest) = rest.split_once('-')?;
    let (span_id, rest) = rest.split_once('-')?;
    let (flags, more) = match rest.split_once('-') {
        Some((flags, _)) => (flags, true),
        None => (rest, false),
    };
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.chars().all(|digit| digit.is_ascii_digit() || ('a'..='f').contains(&digit))
    };
    if !is_hex(version, 2) || !is_hex(trace_id, 32) || !is_hex(span_id, 16) || !is_hex(flags, 2) {
        return None;
    }
    if version == "ff" || (version == "00" && more) {
        return None;
    }
    let trace_id = u128::from_str_radix(trace_id, 16).unwrap();
    let span_id = u64::from_str_radix(span_id, 16).unwrap();
    let flags = u8::from_str_radix(flags, 16).unwrap();
    (trace_id != 0 && span_id != 0).then_some(TraceContext { trace_id, span_id, flags })
}

/// What is told without reading it is what reading it tells.
fn unsampled_agrees(value: &[u8]) {
    let expected = parse(value).filter(|trace| {
        value.starts_with(b"00") && trace.flags & SAMPLED == 0 && trace.flags & !(SAMPLED | RANDOM) == 0
    });
    let told = unsampled(value).map(|Unsampled { trace_id, span_id, flags }| TraceContext {
        trace_id: u128::from_str_radix(std::str::from_utf8(trace_id).unwrap(), 16).unwrap(),
        span_id: u64::from_str_radix(std::str::from_utf8(span_id).unwrap(), 16).unwrap(),
        flags,
    });
    assert_eq!(told, expected, "{}", value.escape_ascii());
}

/// The cases of W3C's test suite for `traceparent`, and what a hop must take them for.
#[test]
fn the_test_suite() {
    let zeros = "0".repeat(32);
    let upper = TRACE.to_uppercase();
    for (text, flags) in [
        (format!("00-{TRACE}-{SPAN}-00"), Some(0)),
        (format!("00-{TRACE}-{SPAN}-01"), Some(1)),
        (format!("00-{TRACE}-{SPAN}-02"), Some(2)),
        (format!("00-{TRACE}-{SPAN}-03"), Some(3)),
        (format!("00-{TRACE}-{SPAN}-04"), Some(4)),
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
        assert_eq!(naive(text.as_bytes()), expected, "{text}");
        unsampled_agrees(text.as_bytes());
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
        prop_assert_eq!(parse(&text), naive(&text));
        unsampled_agrees(&text);
        text[54] = b'0';
        unsampled_agrees(&text);
        if let Some(read) = parse(&text) {
            let mut same = format(&read);
            same[..2].copy_from_slice(&text[..2]);
            prop_assert_eq!(same, text);
        }
    }

    /// Some of what a `traceparent` is made of, and some of what it is not: as the standard's rules say.
    #[test]
    fn by_the_rules(
        version in "00|01|cc|ff|[0-9a-g]{2}",
        trace_id in "[0-9a-f]{32}|0{32}|0{31}[0-9a-f]|[0-9a-gA-F:`/]{32}|[0-9a-f]{31,33}",
        span_id in "[0-9a-f]{16}|0{16}|[0-9a-gA-F:`/]{16}|[0-9a-f]{15,17}",
        flags in "0[0-3]|[0-9a-f]{2}|[0-9a-gG]{2}|[0-9a-f]{1,3}",
        rest in "|-|-x|x",
        dash in "-|_",
    ) {
        let text = std::format!("{version}-{trace_id}{dash}{span_id}-{flags}{rest}");
        prop_assert_eq!(parse(text.as_bytes()), naive(text.as_bytes()), "{}", text);
        unsampled_agrees(text.as_bytes());
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
            assert_eq!(crate::hex::are_digits(&[b'0'; 32], &text), is_digit, "{byte:#x} at {place}");
        }
    }
}
