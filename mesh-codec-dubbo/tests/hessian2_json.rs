//! Values as JSON.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesh_codec_dubbo::hessian2::{
    JavaString, Limits, References, Value, decode, encode,
    json::{Cycles, Dates, JsonError, Numbers, Options, from_slice, to_string, write},
};
use support::{good, load};

/// Streams of the Java vectors as JSON with the usual options.
fn of_vector(id: &str) -> String {
    let vectors = load(if id.starts_with("lite") { "hessian2-java-lite" } else { "hessian2-java-caucho" });
    let vector = vectors.iter().find(|vector| vector.id == id).unwrap_or_else(|| panic!("no {id}"));
    to_string(&decode(&vector.bytes, Limits::DECODE).unwrap()[0], &Options::default()).unwrap()
}

#[test]
fn every_vector_has_one_that_is_read_again() {
    // a number's last zeros are no part of a double
    let options = Options { decimals: Numbers::Text, ..Options::default() };
    for vector in good() {
        let values = decode(&vector.bytes, Limits::DECODE).unwrap();
        let references = References::new(&values);
        for value in &values {
            let mut out = b"before ".to_vec();
            write(value, &references, &options, &mut out).unwrap_or_else(|e| panic!("{}: {e}", vector.id));
            let text = std::str::from_utf8(&out[7..]).unwrap();
            let read: Value = from_slice(text.as_bytes()).unwrap_or_else(|e| panic!("{}: {e} in {text}", vector.id));
            // written again, it has become itself: but for longs, which may be ints now
            assert_eq!(to_string(&read, &options).unwrap(), text, "{}", vector.id);
        }
    }
}

#[test]
fn scalars_of_java_are_scalars() {
    for (id, json) in [
        ("lite.enum_red", r#""RED""#),
        ("lite.bigdec", "123.4500"),
        ("lite.bigdec_neg_scale", "1E+30"),
        ("lite.bigint_neg", "-1"),
        ("lite.bigint_zero", "0"),
        ("lite.uuid", r#""01020304-0506-0708-090a-0b0c0d0e0f10""#),
        ("lite.locale_us", r#""en_US""#),
        ("lite.class_int", r#""int""#),
        ("lite.currency", r#""USD""#),
        ("lite.atomic_int", "5"),
        ("lite.sql_date", r#""1970-01-01T00:00:00Z""#),
        ("lite.optional", r#""x""#),
        ("lite.jt_localtime", r#""03:04:05.000000006""#),
        ("lite.jt_duration", r#""PT5.000000006S""#),
        ("lite.jt_zdt", r#""2020-01-02T03:04:05.000000006+08:00[Asia/Shanghai]""#),
        ("lite.jt_odt", r#""2020-01-02T03:04:05.000000006+08:00""#),
        ("lite.jt_ot", r#""03:04:05.000000006+08:00""#),
        ("lite.jt_monthday", r#""--01-02""#),
        ("lite.jt_zoneid", r#""Asia/Shanghai""#),
    ] {
        assert_eq!(of_vector(id), json, "{id}");
    }
}

#[test]
fn containers_are_arrays_and_objects() {
    let value = Value::map([
        (Value::from("list"), Value::list([Value::Long(1), Value::Double(2.0), Value::Null, true.into()])),
        (Value::Int(-3), Value::object("demo.P", [("x", Value::Int(1)), ("x", Value::Int(2))])),
        (Value::list([Value::from("k")]), Value::Double(f64::NAN)),
        (Value::Null, Value::from(vec![0_u8, 255])),
        ("quoted \"\\\u{1}\n".into(), Value::String(JavaString::from_units(&[0xd800, 0x61]))),
        ("list".into(), Value::Int(9)),
    ]);
    let json =
        concat!(r#"{"-3":{"x":2},"[\"k\"]":null,"null":"AP8=","quoted \"\\\u0001\n":""#, "\u{fffd}a", r#"","list":9}"#);
    assert_eq!(to_string(&value, &Options::default()).unwrap(), json);
}

#[test]
fn options_change_it() {
    let value = Value::list([
        Value::Long(1),
        Value::Long((1 << 53) + 1),
        Value::Date(1500),
        Value::object("demo.Color", [("name", "RED".into())]),
        Value::object("java.math.BigDecimal", [("value", "0.1".into())]),
        Value::object("java.math.BigDecimal", [("value", "1,2".into())]),
    ]);
    let written = |options: Options| to_string(&value, &options).unwrap();
    let usual = r#"[1,9007199254740993,"1970-01-01T00:00:01.500Z","RED",0.1,"1,2"]"#;
    assert_eq!(written(Options::default()), usual);
    let options = Options {
        dates: Dates::Milliseconds,
        longs: Numbers::LargeAsText,
        decimals: Numbers::Text,
        class_key: Some("@type".into()),
        constants: false,
        ..Options::default()
    };
    let other = r#"[1,"9007199254740993",1500,{"@type":"demo.Color","name":"RED"},"0.1","1,2"]"#;
    assert_eq!(written(options), other);
    assert!(written(Options { longs: Numbers::Text, ..Options::default() }).starts_with(r#"["1","#));
}

#[test]
fn cycles_end() {
    let list = Value::list([Value::Int(1), Value::Ref(0)]);
    assert_eq!(to_string(&list, &Options::default()).unwrap(), "[1,null]");
    let strict = Options { cycles: Cycles::Error, ..Options::default() };
    assert_eq!(to_string(&list, &strict), Err(JsonError::Cycle { number: 0 }));
    let mut out = Vec::new();
    assert_eq!(write(&list, &References::new([&list]), &Options::default(), &mut out).unwrap().cycles, 1);
    assert_eq!(to_string(&Value::Ref(7), &Options::default()), Err(JsonError::Dangling { number: 7 }));
    // an optional that holds itself, and a key that is its map
    let itself = Value::object("java.util.Optional", [("value", Value::Ref(0))]);
    assert_eq!(to_string(&itself, &Options::default()).unwrap(), "null");
    let key = Value::map([(Value::Ref(0), Value::Int(1))]);
    assert_eq!(to_string(&key, &Options::default()).unwrap(), r#"{"null":1}"#);
    assert!(of_vector("lite.throwable").contains(r#""cause":null"#));
}

#[test]
fn size_and_depth_are_bounded() {
    let doubling = (0..60).map(|at| match at {
        0 => Value::list(["x"].map(Value::from)),
        at => Value::list([Value::Ref(at), Value::Ref(at)]),
    });
    let bomb = Value::list(doubling);
    assert_eq!(to_string(&bomb, &Options::default()), Err(JsonError::Limit));
    // keys within keys are escaped again and again
    let keys = (0..200).fold(Value::from("\""), |key, _| Value::map([(Value::list([key]), Value::Null)]));
    assert_eq!(to_string(&keys, &Options::default()), Err(JsonError::Limit));
    let chain =
        Value::list((0..1000_u32).map(|at| Value::list(at.checked_sub(1).map(|before| Value::Ref(before + 1)))));
    assert_eq!(to_string(&chain, &Options::default()), Err(JsonError::Depth));
    let small = Options { limit: 5, ..Options::default() };
    assert_eq!(to_string(&Value::from("abc"), &small).unwrap(), r#""abc""#);
    assert_eq!(to_string(&Value::from("abcd"), &small), Err(JsonError::Limit));
}

#[test]
fn json_becomes_the_plainest_values() {
    let value =
        from_slice(br#"{"b": [1, 3000000000, 1.5, 1e2, 99999999999999999999], "a": null, "class": "x"}"#).unwrap();
    let list = Value::list([
        Value::Int(1),
        Value::Long(3_000_000_000),
        Value::Double(1.5),
        Value::Double(100.0),
        Value::Double(1e20),
    ]);
    assert_eq!(value, Value::map([("b", list), ("a", Value::Null), ("class", "x".into())]));
    assert_eq!(decode(&encode([&value]).unwrap(), Limits::DECODE).unwrap(), [value]);
    let error = from_slice(b"{\n  \"a\": }").unwrap_err();
    assert_eq!((error.line(), error.column()), (2, 8));
    assert!(from_slice("[".repeat(1000).as_bytes()).is_err());
}
