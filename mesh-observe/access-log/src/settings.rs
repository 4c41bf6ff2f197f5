//! What the builder fills and a spec is read into.

use crate::{Format, When};
use std::path::PathBuf;

/// The settings of an access log.
///
/// In a spec (feature `config`) a mapping, or as a shorthand the format alone: `{ format: json, path: access.log }`,
/// `json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// The format of a line. Default: text, [`DEFAULT_TEXT`](crate::DEFAULT_TEXT).
    pub format: Format,
    /// The file that lines are appended to. Default: standard output.
    pub path: Option<PathBuf>,
    /// Which requests get a line. Default: all.
    pub when: When,
}
