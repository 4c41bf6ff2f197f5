mod environment;
mod faults;
mod hostile;

use mesh_core::spec::Value;

use super::*;

/// The environment of the tests.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "8080",
        "HOST" => "orders.internal",
        "YES" => "true",
        "NOTHING" => "",
        "INJECTION" => "a: [1]\n# ${PORT} $$",
        "_x1" => "x",
        _ => return None,
    };
    Some(value.to_owned())
}

fn document(text: &str) -> Node {
    match read(text, "mesh.yaml", &env) {
        Ok(document) => document.root,
        Err(faults) => panic!("{text}: {}", faults[0]),
    }
}

/// The faults of `text` as `LINE:COLUMN: message`, with the suggestion in brackets.
fn faults(text: &str) -> Vec<String> {
    let (_, faults) = read_partly(text, "mesh.yaml", &env);
    faults
        .into_iter()
        .map(|fault| {
            let suggestion = fault.suggestion.map(|text| format!(" [{text}]"));
            let suggestion = suggestion.unwrap_or_default();
            format!("{}: {}{suggestion}", fault.position, fault.message)
        })
        .collect()
}

#[test]
fn scalars_have_the_types_of_the_core_schema() {
    let text = |text: &str| Value::String(text.to_owned());
    for (written, value) in [
        ("", Value::Null),
        ("~", Value::Null),
        ("null", Value::Null),
        ("NULL", Value::Null),
        ("nULL", text("nULL")),
        ("true", Value::Bool(true)),
        ("False", Value::Bool(false)),
        ("yes", text("yes")),
        ("off", text("off")),
        ("0", Value::Integer(0)),
        ("-17", Value::Integer(-17)),
        ("+17", Value::Integer(17)),
        ("007", Value::Integer(7)),
        ("0x1F", Value::Integer(31)),
        ("0o17", Value::Integer(15)),
        ("0x-1", text("0x-1")),
        ("0o8", text("0o8")),
        ("0x", text("0x")),
        ("1_000", text("1_000")),
        ("18446744073709551615", Value::Integer(u64::MAX.into())),
        ("1e3", Value::Float(1e3)),
        ("-1.5", Value::Float(-1.5)),
        (".5", Value::Float(0.5)),
        ("5.", Value::Float(5.0)),
        ("1E-2", Value::Float(0.01)),
        (".inf", Value::Float(f64::INFINITY)),
        ("-.INF", Value::Float(f64::NEG_INFINITY)),
        (".NaN", Value::Float(f64::NAN)),
        ("inf", text("inf")),
        ("nan", text("nan")),
        (".", text(".")),
        ("1.2.3", text("1.2.3")),
        ("127.0.0.1:80", text("127.0.0.1:80")),
        ("100/s", text("100/s")),
        ("0.5%", text("0.5%")),
        ("12:30", text("12:30")),
        ("2026-11-24", text("2026-11-24")),
        ("\"5\"", text("5")),
        ("'true'", text("true")),
        ("\"\"", text("")),
        ("\"a\\tb\\u00e9\"", text("a\tbé")),
        ("'it''s'", text("it's")),
        ("|\n  5\n", text("5\n")),
        (">-\n  a\n  b\n", text("a b")),
        ("a\n  b", text("a b")),
    ] {
        let root = document(&format!("key: {written}"));
        let node = root.get("key").unwrap();
        assert_eq!(node.value, value, "{written}");
    }
    let large = "1".repeat(60);
    let root = document(&format!("key: {large}"));
    let value = &root.get("key").unwrap().value;
    assert!(matches!(value, Value::Float(_)), "{value:?}");
}

#[test]
fn everything_has_its_place() {
    let root = document(
        "# comment\n\
         admin: { bind: 127.0.0.1:0 }\n\
         \n\
         listeners:\n\
         \x20 web:\n\
         \x20   pipeline:\n\
         \x20     - access_log\n\
         \x20     - timeout: \"2s\"\n\
         \x20   ключ: значение   # after wider characters\n\
         \x20   empty:\n\
         \x20   after: [ a,\n\
         \x20            b ]\n",
    );
    let at = |node: &Node| (node.position.line, node.position.column);
    assert_eq!(at(&root), (2, 1));
    let key = |node: &Node, index: usize| {
        let position = node.entries()[index].0.position;
        (position.line, position.column)
    };
    assert_eq!(key(&root, 0), (2, 1));
    assert_eq!(at(root.locate("admin")), (2, 8));
    assert_eq!(at(root.locate("admin.bind")), (2, 16));
    assert_eq!(key(&root, 1), (4, 1));
    let web = root.locate("listeners.web");
    assert_eq!(at(web), (6, 5));
    assert_eq!(at(web.locate("pipeline")), (7, 7));
    assert_eq!(at(web.locate("pipeline[0]")), (7, 9));
    assert_eq!(at(web.locate("pipeline[1]")), (8, 9));
    assert_eq!(at(web.locate("pipeline[1].timeout")), (8, 18));
    assert_eq!(key(web, 1), (9, 5));
    assert_eq!(at(web.locate("ключ")), (9, 11));
    // What is not there is where its key is.
    assert_eq!(at(web.locate("empty")), (10, 5));
    assert_eq!(at(web.locate("after[1]")), (12, 14));
}

#[test]
fn line_breaks_of_every_kind_are_counted() {
    for text in ["a: 1\nb: x\n", "a: 1\r\nb: x\r\n", "a: 1\rb: x\r"] {
        let document = read(text, "mesh.yaml", &env).unwrap();
        let invalid = document.root.get("b").unwrap().deserialize::<u8>();
        let diagnostic = document.diagnose(&invalid.unwrap_err());
        assert_eq!(diagnostic.position, Position::new(2, 4), "{text:?}");
        assert_eq!(diagnostic.line.as_deref(), Some("b: x"), "{text:?}");
    }
    assert_eq!(document("\u{feff}a: 1").entries()[0].0.position.column, 1);
}

#[test]
fn keys_are_text_whatever_they_look_like() {
    let root = document("0: a\ntrue: b\n1.5: c\n\"<<\": d\n'': e\n${PORT}: f\n");
    let names: Vec<_> = root.entries().iter().map(|(key, _)| &key.name).collect();
    assert_eq!(names, ["0", "true", "1.5", "<<", "", "${PORT}"]);
}

#[test]
fn json_is_read_too() {
    let json = "{\"a\": [1, 2.5, null, true, \"x\\/y\\u00e9\"],\n\t\"b\": {\"c\": {}}, \"d\":[]}";
    let root = document(json);
    let read: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(root.to_json(), read);
    assert_eq!(root.locate("b.c").position, Position::new(2, 13));
}

#[test]
fn nothing_at_all_is_null() {
    for text in ["", "\n", "# only a comment\n", "---\n", "---\n...\n"] {
        assert!(document(text).is_null(), "{text:?}");
    }
}

#[test]
fn aliases_stand_for_values() {
    let root = document("a: &x { p: 1, q: &y [2, three] }\nb: *x\nc: *y\nd: &z 5\ne: *z\n");
    assert_eq!(root.get("b"), root.get("a"));
    assert_eq!(root.locate("c"), root.locate("a.q"));
    assert_eq!(root.locate("e").as_integer(), Some(5));
    // A fault in the value is a fault where it is written.
    assert_eq!(root.locate("b.q[1]").position, Position::new(1, 25));
}

#[test]
fn a_faulty_document_is_read_as_far_as_possible() {
    let (document, faults) = read_partly("a: ${NOPE}\nb: 1\nb: 2\nc: 3\n", "mesh.yaml", &env);
    assert_eq!(faults.len(), 2);
    let root = document.unwrap().root;
    assert_eq!(root.get("a").unwrap().as_str(), Some("${NOPE}"));
    assert_eq!(root.get("b").unwrap().as_integer(), Some(1));
    assert_eq!(root.get("c").unwrap().as_integer(), Some(3));
    let (document, faults) = read_partly("a: [", "mesh.yaml", &env);
    assert!(document.is_none() && faults.len() == 1);
}

#[test]
fn files_are_read() {
    let directory = std::env::temp_dir().join(format!("mesh-read-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("mesh.yaml");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read_file(&path, &env)
    };

    let (document, faults) = read(b"port: ${PORT}\n");
    assert_eq!(faults, []);
    assert_eq!(document.unwrap().root.locate("port").as_integer(), Some(8080));

    let (document, faults) = read(b"a: 1\nb: \xc3\xa9 \xff\n");
    assert!(document.is_none());
    assert_eq!(faults[0].position, Position::new(2, 6));
    assert_eq!(faults[0].message, "expected UTF-8, found other bytes");

    let (document, faults) = read(&vec![b' '; MAX_BYTES + 1]);
    assert!(document.is_none());
    assert_eq!(faults[0].message, "the file is longer than 16 MiB");

    std::fs::remove_dir_all(&directory).unwrap();
    let (document, faults) = read_file(&path, &env);
    assert!(document.is_none());
    let shown = faults[0].to_string();
    let expected = format!("{}: cannot be read: ", path.display());
    assert!(shown.starts_with(&expected), "{shown}");
}
