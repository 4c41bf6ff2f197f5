//! References to the environment.

use super::*;

#[test]
fn references_are_expanded() {
    let text = |text: &str| Value::String(text.to_owned());
    for (written, value) in [
        // Plain scalars are typed after the expansion.
        ("${PORT}", Value::Integer(8080)),
        ("${YES}", Value::Bool(true)),
        ("${NOTHING}", Value::Null),
        ("0x${PORT}", Value::Integer(0x8080)),
        ("${HOST}", text("orders.internal")),
        ("${HOST}:${PORT}", text("orders.internal:8080")),
        ("${_x1}", text("x")),
        // Others stay text.
        ("\"${PORT}\"", text("8080")),
        ("'${PORT}'", text("8080")),
        ("|-\n  ${PORT}", text("8080")),
        (">-\n  ${PORT}", text("8080")),
        ("\"\\x24{PORT}\"", text("8080")),
        // Defaults.
        ("${NOPE:-7}", Value::Integer(7)),
        ("${NOPE:-}", Value::Null),
        ("${NOTHING:-7}", Value::Integer(7)),
        ("${PORT:-7}", Value::Integer(8080)),
        ("${NOPE:-a-b:-c}", text("a-b:-c")),
        ("${NOPE:-$$5}", text("$5")),
        ("\"${NOPE:-a: b}\"", text("a: b")),
        // Dollars.
        ("$$", text("$")),
        ("$$$$", text("$$")),
        ("$${PORT}", text("${PORT}")),
        ("$$${PORT}", text("$8080")),
        ("$PORT", text("$PORT")),
        ("a$", text("a$")),
        ("^/a$|b", text("^/a$|b")),
        ("$(PORT)", text("$(PORT)")),
        // A value is not looked at again, whatever is in it.
        ("${INJECTION}", text("a: [1]\n# ${PORT} $$")),
    ] {
        let root = document(&format!("key: {written}"));
        assert_eq!(root.locate("key").value, value, "{written}");
    }
    let root = document("{ a: \"${PORT}\", b: [\"${HOST}\"] }");
    assert_eq!(root.locate("b[0]").as_str(), Some("orders.internal"));
}

#[test]
fn what_was_written_is_kept_for_display() {
    let root = document("a: ${PORT}\nb: \"p ${PORT} $$\"\nc: $PORT\nd: 8080\n");
    let source = |key: &str| root.locate(key).source.as_deref();
    assert_eq!(source("a"), Some("${PORT}"));
    assert_eq!(source("b"), Some("p ${PORT} $$"));
    assert_eq!(source("c"), None);
    assert_eq!(source("d"), None);
    assert_eq!(root.get("a"), root.get("d"), "equal by value");
}

#[test]
fn faulty_references_are_told_at_their_place() {
    for (text, fault) in [
        (
            "key: ${NOPE}",
            "1:6: the environment variable `NOPE` is not set [set it, or give a default: `${NOPE:-default}`]",
        ),
        (
            "key: \"${PORT} $${NOPE} ${NOPE}\"",
            "1:24: the environment variable `NOPE` is not set [set it, or give a default: `${NOPE:-default}`]",
        ),
        (
            "key: |\n  one ${PORT}\n  é ${NOPE}\n",
            "3:5: the environment variable `NOPE` is not set [set it, or give a default: `${NOPE:-default}`]",
        ),
        (
            // Written with an escape, it has only the place of its scalar.
            "key: \"a \\x24{NOPE}\"",
            "1:6: the environment variable `NOPE` is not set [set it, or give a default: `${NOPE:-default}`]",
        ),
        (
            "key: a ${PORT",
            "1:8: a reference to the environment that does not end [end it with `}`, or write `$${` for the text `${`]",
        ),
        (
            "key: ${}",
            "1:6: `` is not a name of an environment variable [write `${NAME}` or `${NAME:-default}`, or `$${` for the text `${`]",
        ),
        (
            "key: ${1}",
            "1:6: `1` is not a name of an environment variable [write `${NAME}` or `${NAME:-default}`, or `$${` for the text `${`]",
        ),
        (
            "key: ${PORT-80}",
            "1:6: `PORT-80` is not a name of an environment variable [write `${NAME}` or `${NAME:-default}`, or `$${` for the text `${`]",
        ),
        (
            "key: ${NOPE:-${PORT}}",
            "1:6: the default of `NOPE` refers to the environment itself [a default is a text as it is]",
        ),
    ] {
        assert_eq!(faults(text), [fault], "{text}");
    }
    assert_eq!(faults("a: ${NOPE} ${NEITHER}\nb: ${NOPE}").len(), 3, "all are told");
}

#[test]
fn an_expansion_that_explodes_is_refused() {
    let env = |_: &str| Some("x".repeat(1 << 20));
    let text = "- ${A}\n".repeat(100);
    let (_, faults) = read_partly(&text, "mesh.yaml", &env);
    assert_eq!(faults[0].position, Position::new(5, 3));
    assert_eq!(faults[0].message, "the environment expands to more than 4 MiB");
}
