//! A listener that relays bytes, as a spec says it.

use super::Faults;
use mesh_core::{
    spec::{Invalid, Node, Spanned},
    units,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a listener has whose `protocol` is `tcp`, in place of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySpec {
    /// `cluster`: where its connections lead.
    pub cluster: Spanned<String>,
    /// `timeouts`
    pub timeouts: RelayTimeouts,
}

/// `timeouts` of a listener whose `protocol` is `tcp`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RelayTimeouts {
    /// With `tcp`: how long no byte may move in either direction. Default 1h.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub idle: Duration,
}

impl Default for RelayTimeouts {
    fn default() -> Self {
        Self { idle: Duration::from_secs(3600) }
    }
}

impl RelaySpec {
    /// Reads it from a listener that relays. `None`: it is faulty.
    pub(super) fn read(listener: &Node, path: &str, faults: &mut Faults) -> Option<Self> {
        for key in ["routes", "forwarded", "request_id", "trusted_hops", "limits"] {
            if let Some(node) = listener.get(key) {
                let why = if key == "routes" { "it has `cluster` in place of routes" } else { "that is for HTTP" };
                let invalid = Invalid::new(format!("a listener over tcp has no `{key}`: {why}"));
                faults.found.push(invalid.at(node).in_path(format!("{path}.{key}")));
            }
        }
        let timeouts = listener.get("timeouts").and_then(|node| faults.read(node, &format!("{path}.timeouts")));
        let cluster = match listener.get("cluster") {
            Some(node) => faults.read(node, &format!("{path}.cluster")),
            None => {
                let invalid = Invalid::new("a listener over tcp needs a `cluster`").at(listener);
                faults.found.push(invalid.in_path(path));
                None
            }
        };
        Some(Self { cluster: cluster?, timeouts: timeouts.unwrap_or_default() })
    }

    /// Says what is out of place in a listener that does not relay.
    pub(super) fn refuse(listener: &Node, path: &str, faults: &mut Faults) {
        if let Some(node) = listener.get("cluster") {
            let invalid = Invalid::new("`cluster` is for listeners with `protocol: tcp`");
            let invalid = invalid.with_suggestion("use `routes: [ { cluster: … } ]`");
            faults.found.push(invalid.at(node).in_path(format!("{path}.cluster")));
        }
    }
}
