use crate::escape::Mode;
use proptest::prelude::*;

fn escaped(mode: Mode, value: &[u8]) -> String {
    let mut into = Vec::new();
    mode.escape(value, &mut into);
    String::from_utf8(into).unwrap()
}

#[test]
fn text() {
    assert_eq!(escaped(Mode::Text, b"curl/8.1 (x; y)"), "curl/8.1 (x; y)");
    assert_eq!(escaped(Mode::Text, b"a\nb\r\t\0\x1b[31m\x7f"), r"a\x0ab\x0d\x09\x00\x1b[31m\x7f");
    assert_eq!(escaped(Mode::Text, b"\" 200 \\"), r#"\" 200 \\"#);
    assert_eq!(escaped(Mode::Text, "é".as_bytes()), r"\xc3\xa9");
}

#[test]
fn json() {
    assert_eq!(escaped(Mode::Json, "é 日本".as_bytes()), "é 日本");
    assert_eq!(escaped(Mode::Json, b"a\nb\"c\\"), r#"a\u000ab\"c\\"#);
    assert_eq!(escaped(Mode::Json, b"\xff\xc3"), "\u{fffd}\u{fffd}");
    // what a terminal obeys, and what some readers take for the end of a line
    assert_eq!(escaped(Mode::Json, "\u{9b}31m\u{2028}\u{85}\x7f".as_bytes()), r"\u009b31m\u2028\u0085\u007f");
}

/// Each byte at each place, among others that need nothing.
#[test]
fn what_needs_nothing_is_told_from_what_does() {
    for length in 1..20 {
        for place in 0..length {
            for byte in 0..=u8::MAX {
                let mut value = vec![b'~'; length];
                value[place] = byte;
                let plain = (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
                assert_eq!(escaped(Mode::Text, &value).as_bytes() == value, plain, "{byte} at {place} of {length}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_value_ends_a_line_or_a_field(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = escaped(Mode::Text, &value);
        prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        // every quotation mark is behind an odd number of backslashes
        let mut behind = false;
        for byte in text.bytes() {
            prop_assert!(byte != b'"' || behind);
            behind = byte == b'\\' && !behind;
        }
        prop_assert!(!behind);

        let json = escaped(Mode::Json, &value);
        prop_assert!(!json.contains(char::is_control));
        let read: String = serde_json::from_str(&format!("\"{json}\"")).unwrap();
        prop_assert_eq!(read, String::from_utf8_lossy(&value).into_owned());
    }
}
