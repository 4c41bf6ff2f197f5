use super::*;
use crate::hessian2::{Limits, Reader, Token};
use serde_json::json;

fn parameter(from: &str, java: &str) -> Parameter {
    let java_type = (!java.is_empty()).then(|| java.parse().expect("a type"));
    Parameter { from: from.parse().expect("a source"), java_type, default: None, required: true }
}

fn mapping(parameters: Vec<Parameter>) -> Mapping {
    Mapping {
        service: "demo.Users".into(),
        method: "find".into(),
        version: None,
        group: Some("east".into()),
        parameters,
        generic: Generic::True,
        timeout: None,
        attachments: vec!["x-lane".into(), "generic".into()],
    }
}

fn called(mapping: &Mapping, uri: &str, headers: &[(&'static str, &str)], body: &str) -> Result<Vec<u8>, String> {
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let template: PathTemplate = "/users/{id}".parse().expect("a template");
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().expect("a value"));
    }
    let received = Received { path, template: Some(&template), query, headers: &map, body: body.as_bytes() };
    mapping.call(&received, CallOptions::default()).map(|call| call.body).map_err(|bad| bad.to_string())
}

/// The texts of a body up to the arguments, how many these are, and a reader before the first.
fn opened(body: &[u8]) -> (Vec<String>, Option<Vec<String>>, u32, Reader<'_>) {
    let mut reader = Reader::new(body, Limits::DECODE);
    let text =
        |reader: &mut Reader<'_>| reader.read_text().expect("text").expect("not null").to_string_lossy().into_owned();
    let head = (0..6).map(|_| text(&mut reader)).collect();
    let types = match reader.read().expect("types") {
        Token::List { length: Some(length), .. } => Some((0..length).map(|_| text(&mut reader)).collect()),
        Token::Null => None,
        other => panic!("{other:?}"),
    };
    let Ok(Token::List { length: Some(count), .. }) = reader.read() else { panic!("no arguments") };
    (head, types, count, reader)
}

#[test]
fn values_come_from_everywhere() {
    let mapping = mapping(vec![
        parameter("path.id", "int"),
        parameter("query.tag", "java.lang.String[]"),
        parameter("header.x-user", "java.lang.String"),
        parameter("cookie.session", "java.lang.String"),
        parameter("body.user.age", "long"),
        Parameter { default: Some(json!(true)), ..parameter("const", "boolean") },
    ]);
    let headers = [("x-user", "ann"), ("cookie", "a=b; session=s1"), ("x-lane", "blue"), ("generic", "nativejava")];
    let body =
        called(&mapping, "/users/7?tag=a&tag=b%20c", &headers, r#"{"x": [1], "user": {"age": 30}}"#).expect("good");
    let (head, types, count, mut reader) = opened(&body);
    assert_eq!(head, ["2.0.2", "demo.Users", "0.0.0", "$invoke", DESCRIPTOR, "find"]);
    let names = ["int", "java.lang.String[]", "java.lang.String", "java.lang.String", "long", "boolean"];
    assert_eq!(types.expect("all are known"), names);
    assert_eq!(count, 6);
    assert_eq!(reader.read(), Ok(Token::Int(7)));
    assert!(matches!(reader.read(), Ok(Token::List { length: Some(2), .. })));
    for expected in ["a", "b c", "ann", "s1"] {
        assert_eq!(reader.read_text().expect("text").expect("not null").to_str().as_deref(), Some(expected));
    }
    assert_eq!(reader.read(), Ok(Token::Long(30)));
    assert_eq!(reader.read(), Ok(Token::Bool(true)));
    assert!(reader.open_map().expect("attachments"));
    let mut attachments = Vec::new();
    while let Some(entry) = reader.next_entry().expect("an entry") {
        attachments.push(format!(
            "{}={}",
            entry.key.expect("text").to_string_lossy(),
            entry.value.expect("text").to_string_lossy()
        ));
    }
    attachments.sort();
    // one that is ours is not the client's to say
    let ours =
        ["generic=true", "group=east", "interface=demo.Users", "path=demo.Users", "version=0.0.0", "x-lane=blue"];
    assert_eq!(attachments, ours);
    assert!(reader.is_at_end());
}

#[test]
fn types_are_told_only_where_all_are_known() {
    let body = called(&mapping(vec![parameter("path.id", "int"), parameter("query.q", "")]), "/users/7?q=1", &[], "");
    assert_eq!(opened(&body.expect("good")).1, None);
    let body = called(&mapping(Vec::new()), "/users/7", &[], "");
    assert_eq!(opened(&body.expect("good")).1, Some(Vec::new()));
}

#[test]
fn a_fault_names_its_source() {
    let of = |parameter: Parameter, uri: &str, body: &str| {
        called(&mapping(vec![parameter]), uri, &[], body).expect_err("bad")
    };
    assert_eq!(of(parameter("query.age", "int"), "/users/7", ""), "`query.age`: it is missing");
    let wrong = of(parameter("path.id", "int"), "/users/x", "");
    assert_eq!(wrong, "`path.id`: expected a whole number from -2147483648 to 2147483647, found `x`");
    let wrong = of(parameter("body", "demo.User[]"), "/users/x", r#"[{"name": {"class": 1}}]"#);
    assert!(wrong.starts_with("`body[0].name.class`: a client does not choose classes"), "{wrong}");
    let wrong = of(parameter("body.user.age", "int"), "/users/x", r#"{"user": {"age": "old"}}"#);
    assert!(wrong.starts_with("`body.user.age`: expected a whole number"), "{wrong}");
    assert!(of(parameter("body", ""), "/users/x", "{").starts_with("`body`: EOF"));
    assert!(of(parameter("body", ""), "/users/x", "1 2").contains("trailing"));
    assert_eq!(of(parameter("body.a", ""), "/users/x", "{}"), "`body.a`: it is missing");
    assert!(of(parameter("body.a", ""), "/users/x", r#"{"a": 1, "a": 2}"#).contains("twice"));
    let several = of(parameter("query.age", "int"), "/users/x?age=1&age=2", "");
    assert!(several.contains("found 2 values"), "{several}");
}

#[test]
fn gson_takes_the_text_as_it_is() {
    let mut mapping = mapping(vec![
        parameter("body", "demo.User"),
        parameter("path.id", "int"),
        parameter("query.q", "java.lang.String"),
        Parameter { required: false, ..parameter("query.none", "int") },
    ]);
    mapping.generic = Generic::Gson;
    let body = called(&mapping, "/users/7?q=a%22b", &[], r#" {"n": 1.10} "#).expect("good");
    let (.., mut reader) = opened(&body);
    for expected in [r#"{"n": 1.10}"#, "7", r#""a\"b""#] {
        assert_eq!(reader.read_text().expect("text").expect("not null").to_str().as_deref(), Some(expected));
    }
    assert_eq!(reader.read(), Ok(Token::Null));
    assert!(called(&mapping, "/users/x?q=1", &[], "{}").expect_err("bad").contains("`path.id`"));
}
