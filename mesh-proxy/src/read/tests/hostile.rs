//! Input that means harm, or no YAML at all.

use proptest::prelude::*;

use super::*;

/// How many nodes the tree has.
fn nodes(node: &Node) -> usize {
    let items: usize = node.items().iter().map(nodes).sum();
    let entries: usize = node.entries().iter().map(|(_, node)| nodes(node)).sum();
    1 + items + entries
}

/// Reads and checks what must hold of any input.
fn survives(text: &str) {
    let (document, faults) = read_partly(text, "mesh.yaml", &env);
    assert!(document.is_some() || !faults.is_empty());
    assert!(faults.len() <= MAX_FAULTS);
    for fault in &faults {
        assert!(fault.position.is_known(), "{fault}");
        assert!(fault.position.line as usize <= text.split(['\n', '\r']).count() + 1);
        assert!(fault.to_string().len() < 2_000, "{fault}");
    }
    if let Some(document) = document {
        // A node is at least one character of the text, or a copy.
        assert!(nodes(&document.root) <= text.len() + 1 + MAX_COPIED);
        assert!(document.root.position.is_known());
    }
}

#[test]
fn nesting_is_limited() {
    let list = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(faults(&list(MAX_DEPTH)), [""; 0]);
    let told = "1:65: lists and mappings are nested deeper than 64";
    assert_eq!(faults(&list(MAX_DEPTH + 1)), [told]);
    for start in ["[", "{a: ", "- ", "? ", "[?", "{? ", "!x [", "&x [", "- - ", "{{", "\"a\": ["] {
        let text = start.repeat(100_000);
        let (document, faults) = read_partly(&text, "mesh.yaml", &env);
        assert!(document.is_none(), "{start}");
        assert!(!faults.is_empty(), "{start}");
    }
    // An alias goes on where its value ends.
    let text = format!("a: &a {}\nb: &b {}\n", list(40), "[".repeat(30) + "*a" + &"]".repeat(30));
    assert_eq!(faults(&text), ["2:37: lists and mappings are nested deeper than 64"]);
}

#[test]
fn aliases_copy_within_a_budget() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..=9 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("a{level}: &a{level} [{items}]\n");
    }
    let told = &faults(&text)[0];
    assert!(told.contains(": anchors and aliases copy too much"), "{told}");

    let text = format!("- &a {}\n", "x".repeat(1 << 20)) + &"- *a\n".repeat(10);
    let told = &faults(&text)[0];
    assert!(told.starts_with("7:3: anchors and aliases copy too much"), "{told}");
}

#[test]
fn faults_are_limited() {
    let text = "- ${NOPE}\n".repeat(100_000);
    assert_eq!(faults(&text).len(), MAX_FAULTS);
    survives(&"a: 1\n".repeat(100_000));
}

#[test]
fn long_input_is_read_in_linear_time() {
    // Each of these would take hours if its cost were quadratic.
    survives(&"a".repeat(4 << 20));
    survives(&"a\n".repeat(1 << 20));
    survives(&"- 1\n".repeat(1 << 19));
    survives(&format!("[{}]", "1,".repeat(1 << 19)));
    survives(&format!("- \"{}\"", "\\u0041".repeat(1 << 19)));
    survives(&format!("- {}", "$$".repeat(1 << 20)));
    survives(&format!("- {}", "${".repeat(1 << 20)));
    let keys: String = (0..100_000).map(|i| format!("k{i}: v\n")).collect();
    survives(&keys);
}

/// Pieces that YAML gives a meaning to.
const PIECES: [&str; 44] = [
    "a",
    "b: ",
    "c:",
    "\n",
    "\n  ",
    "\n\t",
    "\r\n",
    "\r",
    " ",
    "- ",
    "-",
    "? ",
    ": ",
    ":",
    "[",
    "]",
    "{",
    "}",
    ", ",
    ",",
    "&x ",
    "*x",
    "*x ",
    "!t ",
    "!!str ",
    "!<x> ",
    "\"",
    "'",
    "\\",
    "|\n",
    ">-\n",
    "#",
    " # c\n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "${PORT}",
    "${NOPE:-",
    "}",
    "$$",
    "<<: ",
    "\u{feff}",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,100}") {
        survives(&text);
    }

    #[test]
    fn any_pieces_of_yaml_are_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40),
    ) {
        survives(&pieces.concat());
    }

    #[test]
    fn json_is_read_as_json(text in json(), spaces in 0_usize..3) {
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let written = match spaces {
            0 => text,
            _ => serde_json::to_string_pretty(&value).unwrap(),
        };
        prop_assert_eq!(document(&written).to_json(), value);
    }
}

/// JSON without characters beyond the basic plane, which it may write as pairs that YAML refuses.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        "[ -#%-\\[\\]-~\u{a0}-\u{2000}]{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..4).prop_map(|entries| {
                let entries: Vec<_> = entries.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}
