//! Reading a configuration file into a tree that keeps positions.
//!
//! The file is YAML, of which JSON is a part, with the core schema's types: `5` is a number, `"5"`
//! is text, `yes` is text. References to the environment are expanded inside scalars:
//!
//! | written | stands for |
//! | --- | --- |
//! | `${NAME}` | the variable; an error where it is unset |
//! | `${NAME:-default}` | the variable, or the default where it is unset or empty |
//! | `$$` | a dollar, also in a default |
//! | `$` before anything else | itself |
//!
//! A plain scalar is typed after that, a quoted one stays text, and keys are never expanded: a
//! value can neither change the structure of the file nor the place of anything in it. Inside
//! `{ }` and `[ ]` the grammar of YAML wants references quoted.
//!
//! What YAML allows and configuration is better without is refused with the reason: several
//! documents, tags, merge keys, keys that are lists or mappings, the same key twice. Aliases are
//! allowed within a budget.
//!
//! ```
//! use mesh_proxy::read::read;
//!
//! let environment = |name: &str| (name == "PORT").then(|| "8080".to_owned());
//! let document = read("port: ${PORT}\n", "mesh.yaml", &environment).unwrap();
//! assert_eq!(document.root.get("port").unwrap().as_integer(), Some(8080));
//!
//! let refused = read("port: ${PROT}\n", "mesh.yaml", &environment).unwrap_err();
//! assert_eq!(
//!     refused[0].to_string(),
//!     "mesh.yaml:1:7: the environment variable `PROT` is not set\n  \
//!        |\n\
//!      1 | port: ${PROT}\n  \
//!        |       ^^^^^^^\n  \
//!        = help: set it, or give a default: `${PROT:-default}`",
//! );
//! ```

mod diagnostic;
mod environment;
mod place;
mod scalar;
mod syntax;
mod yaml;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use mesh_core::spec::{Invalid, Node, Position};

pub use self::diagnostic::{Diagnostic, sort};

/// Files beyond this many bytes are refused.
pub const MAX_BYTES: usize = 16 << 20;
/// Lists and mappings nest at most this deep, aliases included.
pub const MAX_DEPTH: usize = 64;
/// Reading ends after this many faults.
pub const MAX_FAULTS: usize = 100;
/// All aliases of a file together may copy this many values; a text of `n` bytes counts as `1 + n / 64`.
pub const MAX_COPIED: usize = 100_000;
/// All references to the environment together may expand to this many bytes.
pub const MAX_EXPANDED: usize = 4 << 20;

/// How the reader asks for an environment variable; `None` is an unset one.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Document {
    /// Everything in it; nothing at all is `null`.
    pub root: Node,
    /// The name under which it is called in messages.
    pub file: String,
    /// The text, as it was written.
    pub text: String,
}

impl Document {
    /// A fault of this document, ready to be shown.
    pub fn diagnose(&self, invalid: &Invalid) -> Diagnostic {
        Diagnostic::new(invalid, &self.file, &self.text)
    }
}

/// Reads `text`, which is called `file` in messages.
///
/// # Errors
/// All faults that were found, in the order of their positions. A fault of the syntax ends the
/// reading; the others are collected.
pub fn read(text: &str, file: &str, env: Environment<'_>) -> Result<Document, Vec<Diagnostic>> {
    match read_partly(text, file, env) {
        (Some(document), faults) if faults.is_empty() => Ok(document),
        (_, faults) => Err(faults),
    }
}

/// Like [`read`], but also returns what could be read of a faulty file, for a check that tells
/// everything in one go.
///
/// There is no document where the structure itself could not be read. In the one that there is, a
/// scalar that could not be expanded is the text as it was written, and of two equal keys the
/// first one counts. [`sort`] drops the faults that follow from those, which are at the same place.
pub fn read_partly(text: &str, file: &str, env: Environment<'_>) -> (Option<Document>, Vec<Diagnostic>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (root, faults) = if text.len() > MAX_BYTES { (None, vec![too_long()]) } else { yaml::read(text, env) };
    let mut faults: Vec<_> = faults.iter().map(|fault| Diagnostic::new(fault, file, text)).collect();
    sort(&mut faults);
    let document = root.map(|root| Document { root, file: file.to_owned(), text: text.to_owned() });
    (document, faults)
}

/// The tree alone, of a text that names no environment variables.
///
/// # Errors
/// The first fault, with its position.
#[cfg(feature = "file")]
pub(crate) fn read_node(text: &str) -> Result<Node, Invalid> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Err(too_long());
    }
    let (root, faults) = yaml::read(text, &|_| None);
    match (root, faults.into_iter().next()) {
        (Some(root), None) => Ok(root),
        (_, Some(fault)) => Err(fault),
        (None, None) => Ok(Node::default()),
    }
}

/// Reads the file at `path`, like [`read_partly`].
///
/// A file that cannot be opened, is too long or is not UTF-8 is one fault and no document.
pub fn read_file(path: &Path, env: Environment<'_>) -> (Option<Document>, Vec<Diagnostic>) {
    let file = path.display().to_string();
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    let opened = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    if let Err(error) = opened {
        let fault = Invalid::new(format!("cannot be read: {error}"));
        return (None, vec![Diagnostic::new(&fault, &file, "")]);
    }
    // A character cut in two by the limit is no fault of its own.
    if bytes.len() > MAX_BYTES {
        return (None, vec![Diagnostic::new(&too_long(), &file, "")]);
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => read_partly(text, &file, env),
        Err(error) => {
            let text = String::from_utf8_lossy(&bytes);
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let position = place::advance(Position::new(1, 1), &good);
            let fault = Invalid::new("expected UTF-8, found other bytes").at_position(position);
            (None, vec![Diagnostic::new(&fault, &file, &text)])
        }
    }
}

fn too_long() -> Invalid {
    Invalid::new(format!("the file is longer than {} MiB", MAX_BYTES >> 20))
}
