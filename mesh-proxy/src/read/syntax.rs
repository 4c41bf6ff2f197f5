//! What is wrong with the syntax, in other words than the parser's.

use mesh_core::spec::Invalid;
use saphyr_parser::ScanError;

use super::place::position;

/// The usual slips: what the parser says of them, and the same for somebody who does not know the
/// grammar of YAML by heart.
const SYNTAX: [(&str, &str, &str); 7] = [
    (
        "mapping values are not allowed",
        "a `:` where no key can be",
        "check the indentation here, and that the line before has its `:`; a text with `: ` in it needs quotes",
    ),
    ("tabs disallowed", "a tab in the indentation", "indent with spaces"),
    ("found unknown anchor", "an alias of a value that does not come before it", "name the value with `&`"),
    (
        "did not find expected <document start>",
        "expected the end of the file",
        "check the indentation: this line has less than the first one",
    ),
    (
        "did not find expected '-' indicator",
        "expected another entry of the list, which begins with `-`",
        "check the indentation",
    ),
    ("did not find expected key", "expected another key", "check the indentation"),
    (
        "invalid indentation in quoted scalar",
        "a quoted text that does not end",
        "add the closing quote, or indent the lines it goes on in",
    ),
];

/// The fault for an error of the parser.
pub(super) fn explain(error: &ScanError, text: &str) -> Invalid {
    let position = position(*error.marker());
    let known = SYNTAX.iter().find(|(sign, ..)| error.info().contains(sign));
    let (message, mut suggestion) = match known {
        Some((_, message, suggestion)) => ((*message).to_owned(), *suggestion),
        None => (format!("invalid YAML: {}", error.info()), ""),
    };
    let line = text.lines().nth(position.line.saturating_sub(1) as usize);
    if error.info().contains("flow") && line.is_some_and(|line| line.contains("${")) {
        suggestion = "inside `{ }` and `[ ]` put `${NAME}` in quotes: `\"${NAME}\"`";
    }
    let invalid = Invalid::new(message).at_position(position);
    match suggestion {
        "" => invalid,
        suggestion => invalid.with_suggestion(suggestion),
    }
}
