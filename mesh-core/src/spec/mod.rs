//! Settings as a tree that remembers where everything was written.
//!
//! A configuration file is read once into [`Node`]s (the YAML reader is `mesh-proxy`'s; a
//! `serde_json::Value` converts too). Each part of it is then turned into its own settings struct
//! by [`Node::deserialize`], which goes through `serde`, so any type that derives `Deserialize`
//! fits. What serde alone cannot say, the error does: the line and column, the path, what was
//! expected and found, and the nearest known name.
//!
//! ```
//! use mesh_core::spec::Node;
//! use mesh_core::units::Rate;
//! use serde::Deserialize;
//!
//! #[derive(Debug, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     rate: Rate,
//!     #[serde(default)]
//!     burst: Option<u32>,
//! }
//!
//! let node = Node::from(serde_json::json!({ "rate": "100/s", "burts": 10 }));
//! let invalid = node.deserialize::<Settings>().unwrap_err();
//! assert_eq!(invalid.to_string(), "unknown key `burts`; did you mean `burst`?");
//! ```
//!
//! Two things in a settings struct may ask for more than a value: a field of type [`Spanned`]
//! also gets its position (for references that are checked later), and a field of type [`Node`]
//! gets the untouched subtree (for lists of layers, whose settings are somebody else's).
//!
//! `#[serde(untagged)]` and `#[serde(flatten)]` work but lose positions below them, since serde
//! copies the subtree into a form of its own first; a hand-written visitor does not.

mod de;
mod invalid;
mod json;
mod layer;
mod node;
mod place;
mod shorthand;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub use self::invalid::{Invalid, nearest};
pub use self::layer::LayerSpec;
pub use self::node::{Key, Node, Position, Value};
pub use self::place::Spanned;
pub use self::shorthand::shorthand;
