use std::fmt;

use mesh_core::spec::{Invalid, Position};

/// How much of a long line is shown.
const WIDTH: usize = 120;

/// A fault in a file, with the line it is in.
///
/// `Display` shows it as compilers do, without a line feed at the end:
///
/// ```text
/// mesh.yaml:12:23: listeners.web.pipeline[1].rate_limit: unknown key `burts`
///    |
/// 12 |       - rate_limit: { burts: 5 }
///    |                       ^^^^^
///    = help: did you mean `burst`?
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The name of the file.
    pub file: String,
    /// Where the fault is; unknown if it is the file's as a whole.
    pub position: Position,
    /// What is wrong, after the path of the faulty value.
    pub message: String,
    /// The line it is in, where there is one.
    pub line: Option<String>,
    /// What to do about it.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// The fault `invalid` in `file`, whose text is `text`.
    pub fn new(invalid: &Invalid, file: &str, text: &str) -> Self {
        let message = if invalid.path.is_empty() {
            invalid.message.clone()
        } else {
            format!("{}: {}", invalid.path, invalid.message)
        };
        let line = invalid.position.line.checked_sub(1);
        Self {
            file: file.to_owned(),
            position: invalid.position,
            message,
            line: line.and_then(|index| Some(lines(text).nth(index as usize)?.to_owned())),
            suggestion: invalid.suggestion.clone(),
        }
    }
}

/// Puts faults into the order of their positions and keeps the first one of each place: what is
/// found later at the same place most often follows from it.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
    diagnostics.dedup_by(|later, first| {
        later.file == first.file
            && later.position == first.position
            && (first.position.is_known() || later.message == first.message)
    });
}

/// The lines of a text as YAML breaks it: at a line feed, a carriage return, or both.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            return rest.take();
        };
        let break_length = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + break_length..]);
        Some(&text[..end])
    })
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.position.is_known() {
            write!(f, "{}:", self.position)?;
        }
        write!(f, " {}", printable(&self.message))?;
        let mut margin = 0;
        if let Some(line) = &self.line {
            let number = self.position.line.to_string();
            margin = number.len();
            let (shown, before) = window(line, self.position.column as usize);
            write!(f, "\n{:margin$} |\n{number} | {shown}", "")?;
            let carets = "^".repeat(marked(shown.chars().skip(before)));
            write!(f, "\n{:margin$} | {:before$}{carets}", "", "")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "\n{:margin$} = help: {}", "", printable(suggestion))?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// The part of `line` around `column`, and how many characters of it stand before that column.
fn window(line: &str, column: usize) -> (String, usize) {
    let line = printable(line);
    let column = column.saturating_sub(1);
    let length = line.chars().count();
    if length <= WIDTH {
        return (line.trim_end().to_owned(), column.min(length));
    }
    let start = column.min(length).saturating_sub(WIDTH / 2);
    let mut shown: String = line.chars().skip(start).take(WIDTH).collect();
    if start + WIDTH < length {
        shown.push('…');
    }
    if start > 0 {
        shown.insert(0, '…');
    }
    (shown, column.min(length) - start + usize::from(start > 0))
}

/// One character of width one for each character that a terminal would act on or jump over.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// How many characters to mark: the word that begins at the fault, at least one.
fn marked(mut rest: impl Iterator<Item = char>) -> usize {
    let Some(first) = rest.next() else { return 1 };
    // A reference to the environment is a word although it has braces.
    let reference = first == '$';
    if !reference && !is_word(first) {
        return 1;
    }
    let mut closed = false;
    1 + rest
        .take_while(|c| {
            let goes_on = !closed && (is_word(*c) || reference && matches!(c, '{' | '}' | ':'));
            closed = reference && *c == '}';
            goes_on
        })
        .count()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '%' | '$' | '*' | '&')
}
