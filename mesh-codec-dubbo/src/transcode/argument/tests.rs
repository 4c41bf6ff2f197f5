use super::*;
use crate::hessian2::{Limits, Reader, Token};

const RULES: Rules = Rules { depth: 8, classes: false };

fn json(java: &str, text: &str) -> Result<Vec<u8>, String> {
    let java: Option<JavaType> = (!java.is_empty()).then(|| java.parse().expect("a type"));
    let (mut to, mut at) = (Writer::new(Vec::new()), Place::default());
    at.field("p");
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let written = FromJson::new(java.as_ref(), &mut to, &mut at, &RULES).deserialize(&mut deserializer);
    written.and_then(|()| deserializer.end()).map_err(|error| format!("{at}: {error}"))?;
    Ok(to.into_inner())
}

fn text(java: &str, text: &str) -> Result<Vec<u8>, String> {
    let java: JavaType = java.parse().expect("a type");
    let mut to = Writer::new(Vec::new());
    from_text(Some(&java), text, &mut to)?;
    Ok(to.into_inner())
}

fn written(write: impl FnOnce(&mut Arguments)) -> Result<Vec<u8>, String> {
    let mut to = Writer::new(Vec::new());
    write(&mut to);
    Ok(to.into_inner())
}

#[test]
fn scalars_become_what_their_type_says() {
    assert_eq!(json("int", "5"), written(|to| to.int(5)));
    assert_eq!(json("long", "5"), written(|to| to.long(5)));
    assert_eq!(json("double", "5"), written(|to| to.double(5.0)));
    assert_eq!(json("", "5"), written(|to| to.int(5)));
    assert_eq!(json("", "5000000000"), written(|to| to.long(5_000_000_000)));
    assert_eq!(json("", "18446744073709551615"), written(|to| to.string("18446744073709551615")));
    assert_eq!(json("", "1.5"), written(|to| to.double(1.5)));
    assert_eq!(json("java.math.BigDecimal", "0.1"), written(|to| to.string("0.1")));
    assert_eq!(
        json("java.math.BigDecimal", "\"12345678901234567890.123\""),
        written(|to| to.string("12345678901234567890.123"))
    );
    assert_eq!(json("java.lang.String", "\"a\""), written(|to| to.string("a")));
    assert_eq!(json("boolean", "true"), written(|to| to.bool(true)));
    assert_eq!(json("java.util.Date", "1600000000000"), written(|to| to.date(1_600_000_000_000)));
    assert_eq!(json("java.util.Date", "\"2020-01-02 03:04:05\""), written(|to| to.string("2020-01-02 03:04:05")));
    assert_eq!(json("byte[]", "\"AQID\""), written(|to| to.binary(&[1, 2, 3])));
    assert_eq!(json("java.lang.Integer", "null"), written(Writer::null));
    assert_eq!(json("demo.Color", "\"RED\""), written(|to| to.string("RED")));
    assert_eq!(json("char", "\"ä\""), written(|to| to.string("ä")));
}

#[test]
fn text_is_read_by_its_type() {
    assert_eq!(text("int", "-7"), written(|to| to.int(-7)));
    assert_eq!(text("long", "7"), written(|to| to.long(7)));
    assert_eq!(text("double", "7"), written(|to| to.double(7.0)));
    assert_eq!(text("boolean", "true"), written(|to| to.bool(true)));
    assert_eq!(text("demo.Color", "RED"), written(|to| to.string("RED")));
    for (java, given) in [
        ("int", "7.0"),
        ("int", "2147483648"),
        ("byte", "128"),
        ("double", "inf"),
        ("boolean", "yes"),
        ("char", "ab"),
        ("char", ""),
        ("java.math.BigDecimal", "1e999999"),
        ("java.math.BigDecimal", "."),
        ("java.math.BigInteger", "1.0"),
        ("java.util.Date", "2020-01-02T03:04:05"),
        ("java.util.Map", "{}"),
        ("byte[]", "?"),
    ] {
        let error = text(java, given).expect_err(given);
        assert!(error.contains("expected ") && error.contains(given), "{error}");
    }
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    for (java, given, expected) in [
        ("int", "1.5", "p: expected a whole number from -2147483648 to 2147483647, found 1.5"),
        ("int", "3000000000", "p: expected -2147483648 to 2147483647, found 3000000000"),
        ("int", "null", "p: expected a whole number from -2147483648 to 2147483647, found null"),
        ("int", "\"x\"", "found `x`"),
        ("boolean", "1", "p: expected true or false, found a number"),
        ("java.lang.String", "[1]", "p: expected text, found a list"),
        ("int[]", "[1, true]", "p[1]: expected a whole number"),
        ("java.util.Map", "[1]", "p: expected an object, found a list"),
        ("demo.User", r#"{"boss": {"class": "x"}}"#, "p.boss.class: a client does not choose classes"),
        ("demo.User", "[[[[[[[[[1]]]]]]]]]", "nested deeper than 8 levels"),
        ("demo.User", "{", "EOF"),
    ] {
        let error = json(java, given).expect_err(given);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn objects_and_lists_keep_their_order() {
    let bytes = json("demo.User", r#"{"name": "x", "tags": ["a", null], "age": 3}"#).expect("good");
    let mut reader = Reader::new(&bytes, Limits::DECODE);
    assert!(matches!(reader.read(), Ok(Token::Map { kind: None, .. })));
    for expected in ["name", "x", "tags"] {
        assert_eq!(reader.read_text().expect("text").expect("not null").to_str().as_deref(), Some(expected));
    }
    reader.skip().expect("a list");
    assert_eq!(reader.read_text().expect("text").expect("not null").to_str().as_deref(), Some("age"));
    assert_eq!(reader.read(), Ok(Token::Int(3)));
    assert_eq!(reader.read_or_end(), Ok(None));
    assert!(reader.is_at_end());
}
