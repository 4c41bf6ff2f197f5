//! What is refused, where, and how it is shown.

use mesh_core::spec::LayerSpec;
use mesh_core::units::Rate;
use serde::Deserialize;

use super::*;

#[test]
fn each_fault_is_told_at_its_place() {
    for (text, told) in [
        ("a: 1\nb: 2\na: 3\n", "3:1: key `a` is given twice"),
        ("{a: 1, \"a\": 3}", "1:8: key `a` is given twice"),
        ("a: !!str 5", "1:4: tags are not supported, found `!!str` [quotes make a text of anything else]"),
        ("a: !secret\n  b: 1", "1:4: tags are not supported, found `!secret` [quotes make a text of anything else]"),
        (
            "x: &x { a: 1 }\nb:\n  <<: *x\n",
            "3:3: merge keys are not supported [write the keys out, or use an alias for the whole value: `key: *name`]",
        ),
        ("? [a]\n: 1\n", "1:3: expected a key, found a list"),
        ("{ {a: 1}: 2 }", "1:3: expected a key, found a mapping"),
        ("a: &x b\n*x : 1\n", "2:1: expected a key, found an alias"),
        (": 1\n", "1:1: expected a key, found nothing"),
        (
            "a: 1\n---\nb: 2\n",
            "2:1: expected one document, found a second one [remove the `---`, or put each document into a file of its own]",
        ),
        ("a: *x\n", "1:4: an alias of a value that does not come before it [name the value with `&`]"),
        ("a: &x [1, *x]\n", "1:11: an alias cannot stand inside the value it refers to"),
        (
            "a: 1\n b: 2\n",
            "2:3: a `:` where no key can be [check the indentation here, and that the line before has its `:`; a text with `: ` in it needs quotes]",
        ),
        ("a:\n\tb: 2\n", "2:2: a tab in the indentation [indent with spaces]"),
        (
            "  a: 1\nb: 2\n",
            "2:1: expected the end of the file [check the indentation: this line has less than the first one]",
        ),
        ("- a\nb: 1\n", "2:1: expected another entry of the list, which begins with `-` [check the indentation]"),
        (
            "a: \"b\nc: 1\n",
            "1:4: a quoted text that does not end [add the closing quote, or indent the lines it goes on in]",
        ),
        (
            "a: { rate: ${PORT} }\n",
            "1:13: invalid YAML: while parsing a flow mapping, did not find expected ',' or '}' [inside `{ }` and `[ ]` put `${NAME}` in quotes: `\"${NAME}\"`]",
        ),
    ] {
        assert_eq!(faults(text), [told], "{text}");
    }
    let text = "a: 1\na: 2\nb: !x 1\n<<: {}\nc: ${NOPE}\nd: [1\n";
    let lines: Vec<_> = faults(text).iter().map(|told| told[..3].to_owned()).collect();
    assert_eq!(lines, ["2:1", "3:4", "4:1", "5:4", "7:1"], "all in one go");
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read to be refused")]
struct Listener {
    bind: String,
    #[serde(default)]
    protocol: Protocol,
    #[serde(default)]
    pipeline: Node,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    #[default]
    Http,
    Tcp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read to be refused")]
struct RateLimit {
    rate: Rate,
    #[serde(default)]
    burst: u32,
}

/// What is wrong with the settings of a listener whose only layers are rate limits.
fn check(text: &str) -> Vec<String> {
    let document = read(text, "mesh.yaml", &env).unwrap();
    let listener = match document.root.deserialize::<Listener>() {
        Ok(listener) => listener,
        Err(invalid) => return vec![invalid.to_string()],
    };
    let (layers, mut faults) = LayerSpec::read_list(&listener.pipeline);
    for layer in layers {
        if let Err(invalid) = layer.settings.deserialize::<RateLimit>() {
            faults.push(invalid.in_path(&layer.path));
        }
    }
    let faults = faults.into_iter();
    faults.map(|fault| fault.in_path("pipeline").to_string()).collect()
}

#[test]
fn settings_are_refused_at_the_offending_place() {
    for (text, told) in [
        ("protocol: tcp\n", "1:1: missing key `bind`"),
        ("bind: a\nprotocol: tpc\n", "2:11: protocol: unknown value `tpc`; did you mean `tcp`?"),
        ("bind: a\n\nprotocl: tcp\n", "3:1: unknown key `protocl`; did you mean `protocol`?"),
        ("bind: 8080\n", "1:7: bind: expected text, found the number `8080`; put it in quotes to make it text"),
        ("bind: ${PORT}\n", "1:7: bind: expected text, found the number `${PORT}`; put it in quotes to make it text"),
        ("bind:\nprotocol: tcp\n", "1:1: bind: expected text, found nothing"),
        ("bind: a\nprotocol: { tcp: { x: 1 } }\n", "2:18: protocol.tcp: `tcp` takes no settings, found a mapping"),
        (
            "bind: a\npipeline:\n  - rate_limit: { rate: 5/s, burts: 1 }\n",
            "3:30: pipeline[0].rate_limit: unknown key `burts`; did you mean `burst`?",
        ),
        ("bind: a\npipeline:\n  - rate_limit:\n      burst: 1\n", "4:7: pipeline[0].rate_limit: missing key `rate`"),
        ("bind: a\npipeline:\n  - rate_limit\n", "3:5: pipeline[0].rate_limit: missing key `rate`"),
        (
            "bind: a\npipeline:\n  - rate_limit:\n    rate: 5/s\n",
            "4:5: pipeline[0]: expected `rate_limit` alone, found another key `rate`; \
             indent the settings of `rate_limit` further than its name",
        ),
        (
            "bind: a\npipeline:\n  - rate_limit: { rate: 5/s, burst: -1 }\n",
            "3:37: pipeline[0].rate_limit.burst: expected a whole number from 0 to 4294967295, \
             found the number `-1`",
        ),
        (
            "bind: a\npipeline:\n  rate_limit: { rate: 5/s }\n",
            "3:3: pipeline: expected a list of layers, found a mapping; \
             write each layer as an entry of its own: `- name` or `- name: settings`",
        ),
    ] {
        assert_eq!(check(text), [told], "{text}");
    }
    let told = check(
        "bind: a\npipeline:\n  - rate_limit: { rate: 5 }\n  - 7\n  - rate_limit: { rate: \"${HOST}\", shadow: maybe }\n",
    );
    let places: Vec<_> = told.iter().map(|told| told.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["4:5", "5:44", "3:25", "5:25"]);
    assert!(told[3].contains("`${HOST}` is not a rate"), "{told:?}");
}

fn diagnostic(text: &str, position: Position) -> String {
    let invalid = Invalid::new("wrong").at_position(position);
    Diagnostic::new(&invalid, "mesh.yaml", text).to_string()
}

#[test]
fn a_diagnostic_shows_the_line_and_marks_the_place() {
    let document = read("a:\n  rate: 5\n", "mesh.yaml", &env).unwrap();
    let invalid = document.root.locate("a.rate").deserialize::<Rate>();
    let invalid = invalid.unwrap_err().in_path("a.rate");
    assert_eq!(
        document.diagnose(&invalid).to_string(),
        "mesh.yaml:2:9: a.rate: `5` is not a rate: expected a whole number in a period, such as \
         `100/s`, `60/m` or `100/10s`\n  \
           |\n\
         2 |   rate: 5\n  \
           |         ^\n  \
           = help: did you mean `5/s`?"
    );
    for (text, column, marked) in [
        ("key: value # x", 1, "1 | key: value # x\n  | ^^^"),
        ("key: value # x", 6, "1 | key: value # x\n  |      ^^^^^"),
        ("\tkey: [1]", 7, "1 |  key: [1]\n  |       ^"),
        ("é: x", 4, "1 | é: x\n  |    ^"),
        ("a: ${B:-c}d", 4, "1 | a: ${B:-c}d\n  |    ^^^^^^^"),
        ("a", 9, "1 | a\n  |  ^"),
        ("\u{1b}[31ma", 1, "1 | \u{fffd}[31ma\n  | ^"),
    ] {
        let shown = diagnostic(text, Position::new(1, column));
        let expected = format!("mesh.yaml:1:{column}: wrong\n  |\n{marked}");
        assert_eq!(shown, expected);
    }
    assert_eq!(diagnostic(&"\n".repeat(99), Position::new(100, 1)), "mesh.yaml:100:1: wrong\n    |\n100 | \n    | ^");
    // Places that are not in the text, or not known.
    assert_eq!(diagnostic("a", Position::new(7, 1)), "mesh.yaml:7:1: wrong");
    assert_eq!(diagnostic("a", Position::UNKNOWN), "mesh.yaml: wrong");
}

#[test]
fn long_lines_are_shown_around_the_place() {
    let text = format!("{}here{}", "a ".repeat(500), " b".repeat(500));
    let shown = diagnostic(&text, Position::new(1, 1001));
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[2].chars().count() < 130, "{shown}");
    assert!(lines[2].starts_with("1 | …") && lines[2].ends_with('…'), "{shown}");
    let marks = lines[3].find('^').unwrap();
    let marked: String = lines[2].chars().skip(marks).take(4).collect();
    assert_eq!(marked, "here");
    let start = diagnostic(&text, Position::new(1, 1));
    assert!(start.contains("\n1 | a a"), "{start}");
}

#[test]
fn faults_are_sorted_and_told_once_a_place() {
    let fault = |file: &str, line, message: &str| {
        let invalid = Invalid::new(message).at_position(Position::new(line, 1));
        Diagnostic::new(&invalid, file, "")
    };
    let mut faults = vec![
        fault("b.yaml", 1, "x"),
        fault("a.yaml", 2, "first"),
        fault("a.yaml", 2, "follows"),
        fault("a.yaml", 1, "x"),
        fault("a.yaml", 0, "whole"),
        fault("a.yaml", 0, "other"),
    ];
    sort(&mut faults);
    let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(messages, ["whole", "other", "x", "first", "x"]);
}
