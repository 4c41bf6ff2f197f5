//! What a reload did.

use mesh_core::pipeline::{Fate, Report};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::fmt;

/// What a reload did with each part of the spec. As JSON: each part with the names that were kept, changed, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    /// The listeners, by name. One that is not kept may still have its sockets and connections.
    pub listeners: Changes,
    /// The routes, as `LISTENER/ROUTE`.
    pub routes: Changes,
    /// The clusters, by name. One that is not kept may still have its endpoints and connections.
    pub clusters: Changes,
    /// The layers.
    #[serde(serialize_with = "by_fate")]
    pub layers: Report,
}

/// What became of things that have names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Written as before: they go on as they are.
    pub kept: Vec<String>,
    /// Written otherwise.
    pub changed: Vec<String>,
    /// Not there before.
    pub new: Vec<String>,
    /// Not there any more.
    pub removed: Vec<String>,
}

impl Changes {
    /// Notes one that is there; `same`: whether it is as it was, if it was there.
    pub(super) fn note(&mut self, name: impl Into<String>, same: Option<bool>) {
        let names = match same {
            Some(true) => &mut self.kept,
            Some(false) => &mut self.changed,
            None => &mut self.new,
        };
        names.push(name.into());
    }
}

fn by_fate<S: Serializer>(report: &Report, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(Fate::ALL.len()))?;
    for fate in Fate::ALL {
        let layers: Vec<String> = report.with(fate).map(ToString::to_string).collect();
        map.serialize_entry(fate.as_str(), &layers)?;
    }
    map.end()
}

/// So many names are shown of each kind.
const SHOWN: usize = 10;

/// In one line, for a log: `clusters: 3 kept, 1 changed (orders); layers: 4 kept, 1 reset (listeners.web: a)`.
impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (part, changes) in [("listeners", &self.listeners), ("routes", &self.routes), ("clusters", &self.clusters)]
        {
            let kinds = [
                ("kept", &changes.kept),
                ("changed", &changes.changed),
                ("new", &changes.new),
                ("removed", &changes.removed),
            ];
            let kinds = kinds.map(|(kind, names)| (kind, names.len(), names.iter().take(SHOWN).cloned().collect()));
            show(f, part, &kinds)?;
            f.write_str("; ")?;
        }
        let kinds = Fate::ALL.map(|fate| {
            let names = self.layers.with(fate).take(SHOWN).map(ToString::to_string).collect();
            (fate.as_str(), self.layers.count(fate), names)
        });
        show(f, "layers", &kinds)
    }
}

type Kind = (&'static str, usize, Vec<String>);

fn show(f: &mut fmt::Formatter<'_>, part: &str, kinds: &[Kind]) -> fmt::Result {
    write!(f, "{part}: ")?;
    let mut separator = "";
    for (kind, count, names) in kinds.iter().filter(|(_, count, _)| *count > 0) {
        write!(f, "{separator}{count} {kind}")?;
        separator = ", ";
        if *kind != "kept" {
            let more = if *count > names.len() { ", …" } else { "" };
            write!(f, " ({}{more})", names.join(", "))?;
        }
    }
    if separator.is_empty() { f.write_str("none") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_core::{Name, pipeline::LayerReport};

    #[test]
    fn as_a_line_and_as_json() {
        let mut report = ReloadReport::default();
        report.clusters.note("orders", Some(false));
        (0..12).for_each(|number| report.clusters.note(format!("c{number}"), None));
        report.listeners.note("web", Some(true));
        report.layers.0.push(LayerReport {
            stage: "listeners.web".into(),
            layer: Name::intern("rate_limit"),
            id: Some("quota".into()),
            fate: Fate::Reset,
        });
        let line = report.to_string();
        let expected = "listeners: 1 kept; routes: none; clusters: 1 changed (orders), 12 new (c0, c1, c2, c3, c4, c5, \
                        c6, c7, c8, c9, …); layers: 1 reset (listeners.web: rate_limit (quota))";
        assert_eq!(line, expected);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["layers"]["reset"], serde_json::json!(["listeners.web: rate_limit (quota)"]));
        assert_eq!(json["clusters"]["changed"], serde_json::json!(["orders"]));
        assert_eq!(json["layers"]["new"], serde_json::json!([]));
    }
}
