//! Rust types as Java's, and back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_codec_dubbo::hessian2::{
    Limits, Object, References, Value, decode, encode,
    serde::{Date, from_slice, from_value, to_value, to_vec},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    time::{Duration, UNIX_EPOCH},
};

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "demo.User")]
struct User {
    name: String,
    age: i32,
    color: Color,
    tags: Vec<String>,
    boss: Option<Box<User>>,
    extra: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "demo.Color", rename_all = "UPPERCASE")]
enum Color {
    Red,
    Green,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename = "demo.Shape")]
enum Shape {
    #[serde(rename = "demo.Circle")]
    Circle { radius: f64 },
    #[serde(rename = "demo.Square")]
    Square(Square),
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Square {
    side: i64,
}

/// As a Java exception: with a cause that is itself where there is none.
#[derive(Debug, PartialEq, Deserialize)]
struct Throwable {
    #[serde(rename = "detailMessage")]
    message: Option<String>,
    cause: Option<Box<Throwable>>,
}

fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) -> Value {
    let bytes = to_vec(&value).unwrap();
    assert_eq!(from_slice::<T>(&bytes, Limits::DECODE).unwrap(), value);
    to_value(&value).unwrap()
}

fn user(name: &str, boss: Option<User>) -> User {
    let cyclic = Value::from_slice(&[0x79, 0x51, 0x90], Limits::DECODE).unwrap();
    User {
        name: name.into(),
        age: 36,
        color: Color::Green,
        tags: vec!["a".into(), "\u{1f600}".into()],
        boss: boss.map(Box::new),
        extra: [("list".into(), Value::list([cyclic])), ("long".into(), Value::Long(1))].into(),
    }
}

#[test]
fn structs_are_objects_of_the_class_that_their_name_names() {
    let value = both_ways(user("Ada", Some(user("Bob", None))));
    let Value::Object(object) = &value else { panic!("{value:?}") };
    assert_eq!(&*object.class().name, "demo.User");
    let Some(Value::Object(boss)) = object.get("boss") else { panic!("{value:?}") };
    assert!(std::sync::Arc::ptr_eq(object.class(), boss.class()));
    let Some(Value::Object(color)) = object.get("color") else { panic!("{value:?}") };
    assert_eq!((&*color.class().name, color.get("name")), ("demo.Color", Some(&"GREEN".into())));
}

#[test]
fn values_within_types_keep_their_references() {
    // the user is 0, the color 1, the tags 2, the map 3, the list 4, whose list names it
    let value = to_value(&user("Ada", None)).unwrap();
    let list = value.get("extra").and_then(|extra| extra.get("list")).unwrap();
    assert_eq!(*list, Value::list([Value::list([Value::Ref(4)])]));
    assert_eq!(decode(&encode([&value]).unwrap(), Limits::DECODE).unwrap(), [value]);
}

#[test]
fn scalars_have_their_types() {
    assert_eq!(both_ways(7_u16), Value::Int(7));
    assert_eq!(both_ways(7_u32), Value::Long(7));
    assert_eq!(both_ways(-7_i64), Value::Long(-7));
    assert_eq!(both_ways(0.1_f32), Value::Double(0.1));
    assert_eq!(both_ways('中'), "中".into());
    assert_eq!(both_ways(()), Value::Null);
    assert_eq!(both_ways(Some(true)), Value::Bool(true));
    assert_eq!(both_ways((1, "x".to_owned())), Value::list([1.into(), "x".into()]));
    assert_eq!(both_ways(Date(-5)), Value::Date(-5));
    assert_eq!(both_ways(BTreeMap::from([(1, 2.5)])), Value::map([(1, 2.5)]));
    assert_eq!(Date::from(UNIX_EPOCH - Duration::from_micros(1500)), Date(-2));
    assert!(to_value(&u64::MAX).is_err());
    assert!(from_slice::<u8>(&to_vec(&300).unwrap(), Limits::DECODE).is_err());
    assert_eq!(from_slice::<u64>(&to_vec(&300_i32).unwrap(), Limits::DECODE), Ok(300));
}

#[test]
fn variants_are_subclasses() {
    let circle = both_ways(Shape::Circle { radius: 1.5 });
    assert_eq!(circle, Value::object("demo.Circle", [("radius", 1.5.into())]));
    let square = both_ways(Shape::Square(Square { side: 2 }));
    assert_eq!(square, Value::object("demo.Square", [("side", 2_i64.into())]));
    let constant = Value::from("RED");
    assert_eq!(from_value::<Color>(&constant, &References::default()), Ok(Color::Red));
    let unknown = Value::object("demo.Color", [("name", "BLUE".into())]);
    assert!(from_value::<Color>(&unknown, &References::default()).is_err());
}

#[test]
fn an_exception_without_a_cause_is_its_own() {
    let thrown = Value::object("demo.Failed", [("detailMessage", "no".into()), ("cause", Value::Ref(0))]);
    let read: Throwable = from_value(&thrown, &References::new([&thrown])).unwrap();
    assert_eq!(read, Throwable { message: Some("no".into()), cause: None });
}

#[test]
fn what_is_referred_to_is_read_once_more() {
    let list = Value::list([Value::map([("a", 1)]), Value::Ref(1)]);
    let read: Vec<BTreeMap<String, i32>> = from_value(&list, &References::new([&list])).unwrap();
    assert_eq!(read, [BTreeMap::from([("a".into(), 1)]), BTreeMap::from([("a".into(), 1)])]);
    // a value of its own keeps it as a reference
    let read: Value = from_value(&list, &References::new([&list])).unwrap();
    assert_eq!(read, list);
    let (first, second) = match &list {
        Value::List(list) => (&list.items[0], &list.items[1]),
        other => panic!("{other:?}"),
    };
    assert_eq!(References::new([&list]).extract(second).as_ref(), Some(first));
    let cyclic = Value::list([Value::Ref(0)]);
    assert!(from_value::<Vec<Vec<i32>>>(&cyclic, &References::new([&cyclic])).is_err());
    assert!(from_value::<Vec<i32>>(&Value::Ref(3), &References::new([&cyclic])).is_err());
}

#[test]
fn references_do_not_multiply_without_end() {
    // each list has the one before it twice: 2^40 in all
    let lists = (0..40).map(|at| Value::list([Value::Ref(at), Value::Ref(at)]));
    let bomb = Value::list(std::iter::once(Value::list([])).chain(lists));
    let numbered = Value::list([bomb]);
    #[derive(Debug, Deserialize)]
    struct Nested(#[allow(dead_code, reason = "it is only read")] Vec<Nested>);
    let Value::List(outer) = &numbered else { panic!() };
    let error = from_value::<Nested>(&outer.items[0], &References::new([&outer.items[0]])).unwrap_err();
    assert!(error.to_string().contains("container") || error.to_string().contains("too many"), "{error}");
    // and a chain of them is no deeper than the stack
    let chain =
        Value::list((0..100_000_u32).map(|at| Value::list(at.checked_sub(1).map(|before| Value::Ref(before + 1)))));
    let error = from_value::<Nested>(&chain, &References::new([&chain])).unwrap_err();
    assert!(error.to_string().contains("within one another"), "{error}");
    assert_eq!(References::new([&chain]).extract(&Value::Ref(100_000)), None);
}

#[test]
fn a_shadowed_field_is_passed_over() {
    let fields = [("side", Value::Long(1)), ("side", Value::Long(2))];
    let object = Object::from_fields("demo.Square", fields).into();
    assert_eq!(from_value::<Square>(&object, &References::default()), Ok(Square { side: 2 }));
}
