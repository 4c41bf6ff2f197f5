//! What a connection passes before anything is read of it, as a spec says it.

use super::Faults;
use mesh_core::spec::{Invalid, Node, Value, nearest};
use std::num::NonZeroUsize;

/// One of the layers in `connection` of a listener; the first is met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLayer {
    /// `max_connections`: how many there may be at once, counted over all workers. One too many is closed at once.
    MaxConnections(NonZeroUsize),
}

const NAMES: [&str; 1] = ["max_connections"];

impl ConnectionLayer {
    pub(super) fn read_list(node: Option<&Node>, path: &str, faults: &mut Faults) -> Vec<Self> {
        let items = match node.map(|node| (node, &node.value)) {
            None | Some((_, Value::Null)) => return Vec::new(),
            Some((_, Value::Sequence(items))) => items,
            Some((node, _)) => {
                let invalid = Invalid::new(format!("expected a list of layers, found {}", node.describe()));
                faults.found.push(invalid.at(node).in_path(path));
                return Vec::new();
            }
        };
        let mut layers = Vec::new();
        for (index, item) in items.iter().enumerate() {
            layers.extend(faults.take(Self::read(item), &format!("{path}[{index}]")));
        }
        if layers.len() > 1 {
            let invalid = Invalid::new("`max_connections` is said twice").at(&items[1]);
            faults.found.push(invalid.in_path(format!("{path}[1]")));
        }
        layers
    }

    fn read(item: &Node) -> Result<Self, Invalid> {
        let [(name, settings)] = item.entries() else {
            return Err(Invalid::new(format!("expected `max_connections: NUMBER`, found {}", item.describe())).at(item));
        };
        if name.name != NAMES[0] {
            let invalid = Invalid::new(format!("there is no layer `{}` of connections", name.name));
            let suggestion = match nearest(&name.name, NAMES) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("there is {}", NAMES.join(", ")),
            };
            return Err(invalid.with_suggestion(suggestion).at_position(name.position));
        }
        settings.deserialize().map(Self::MaxConnections).map_err(|invalid| invalid.in_path(NAMES[0]))
    }
}
