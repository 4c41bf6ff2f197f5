use crate::tracestate::{members, randomness, with_threshold};
use proptest::prelude::*;

/// The cases of W3C's test suite for `tracestate`: whether all of it is valid.
#[test]
fn the_test_suite() {
    let many = |count: usize| (0..count).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
    let long = |length: usize| "z".repeat(length);
    for (text, valid) in [
        ("foo=1".to_owned(), true),
        ("foo=1,bar=2".into(), true),
        ("foo=1, bar=2 ,\tbaz=3".into(), true),
        ("foo=1,".into(), true),
        (",,foo=1".into(), true),
        (String::new(), true),
        ("foo=1,foo=1".into(), false),
        ("foo=1,foo=2".into(), false),
        ("foo@=1,bar=2".into(), false),
        ("@foo=1,bar=2".into(), false),
        ("foo@@bar=1".into(), false),
        ("foo@bar@baz=1".into(), false),
        ("t@s=1".into(), true),
        ("0t@s=1".into(), true),
        ("foo =1".into(), false),
        ("FOO=1".into(), false),
        ("foo.bar=1".into(), false),
        ("foo-_*/bar=1".into(), true),
        ("foo=bar=baz".into(), false),
        ("foo=".into(), false),
        ("foo".into(), false),
        ("foo= a".into(), true),
        ("foo=\u{7f}".into(), false),
        (format!("{}=1", long(256)), true),
        (format!("{}=1", long(257)), false),
        (format!("{}@v=1", long(241)), true),
        (format!("{}@v=1", long(242)), false),
        (format!("t@{}=1", long(14)), true),
        (format!("t@{}=1", long(15)), false),
        (format!("foo={}", long(256)), true),
        (format!("foo={}", long(257)), false),
        (many(32), true),
        (many(33), false),
    ] {
        assert_eq!(members(text.as_bytes()).is_some(), valid, "{text}");
    }
}

#[test]
fn our_member() {
    let with = |text: &str, threshold| String::from_utf8(with_threshold(text.as_bytes(), threshold)).unwrap();
    let half = Some(1 << 55);
    assert_eq!(with("", half), "ot=th:8");
    assert_eq!(with("", Some(0)), "ot=th:0");
    assert_eq!(with("", None), "");
    assert_eq!(with("", Some(0x00fd_70a3_d70a_3d71)), "ot=th:fd70a3d70a3d71");
    assert_eq!(with("a=1,b=2", half), "ot=th:8,a=1,b=2");
    assert_eq!(with("a=1,ot=rv:0123456789abcd;th:c,b=2", half), "ot=th:8;rv:0123456789abcd,a=1,b=2");
    assert_eq!(with("a=1,ot=th:c,b=2", None), "a=1,b=2");
    assert_eq!(with("a=1,ot=th:c;x:1,b=2", None), "ot=x:1,a=1,b=2");
    assert_eq!(with("A=1", half), "ot=th:8", "an invalid state is dropped");
    assert_eq!(randomness(b"a=1,ot=th:8;rv:6e6d1a75832a2f"), Some(0x6e_6d1a_7583_2a2f));
    assert_eq!(randomness(b"ot=rv:6E6d1a75832a2f"), None);
    assert_eq!(randomness(b"ot=rv:6d1a75832a2f"), None);
    assert_eq!(randomness(b"ot=th:8"), None);
}

#[test]
fn what_is_too_long_loses_members() {
    let long = format!("long={}", "x".repeat(200));
    let short: Vec<String> = (0..20).map(|n| format!("k{n:02}={}", "y".repeat(16))).collect();
    let text = format!("{},{long},{}", short[..10].join(","), short[10..].join(","));
    let cut = String::from_utf8(with_threshold(text.as_bytes(), Some(0))).unwrap();
    assert!(cut.len() <= 512 && cut.starts_with("ot=th:0,k00=") && !cut.contains("long="), "{cut}");
    assert!(cut.contains("k19="), "the long one is enough: {cut}");
}

proptest! {
    #[test]
    fn hostile_bytes(bytes: Vec<u8>, threshold in proptest::option::of(0_u64..1 << 56)) {
        let written = with_threshold(&bytes, threshold);
        prop_assert!(written.len() <= 512);
        prop_assert!(members(&written).is_some());
        let _ = randomness(&bytes);
    }

    /// Others' members stay as they are, in their order.
    #[test]
    fn others_stay(keys in proptest::collection::btree_map("[a-z][a-z0-9_]{0,8}", "[!-+.-<>-~]{1,12}", 0..16)) {
        prop_assume!(!keys.contains_key("ot"));
        let text = keys.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        let written = String::from_utf8(with_threshold(text.as_bytes(), Some(0))).unwrap();
        let expected = if text.is_empty() { "ot=th:0".to_owned() } else { format!("ot=th:0,{text}") };
        prop_assert_eq!(written, expected);
    }
}
