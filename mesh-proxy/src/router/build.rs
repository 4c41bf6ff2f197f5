//! The index, while routes are added to it.

use super::index::{Edge, Edges, Index, List, NONE, Node, Table, Tree};
use crate::spec::{HostPattern, PathPattern};
use mesh_core::http::TemplateSegment;
use std::collections::HashMap;

#[derive(Default)]
pub(super) struct Builder {
    exact: HashMap<String, DraftTree>,
    below: HashMap<String, DraftTree>,
    any: Option<DraftTree>,
    nodes: Vec<DraftNode>,
    edges: HashMap<(u32, String), u32>,
}

struct DraftTree {
    lowest: u32,
    root: u32,
    any: Vec<u32>,
    regex: Vec<u32>,
}

struct DraftNode {
    lowest_below: u32,
    variable: u32,
    here: Vec<u32>,
    end: Vec<u32>,
    more: Vec<u32>,
}

impl DraftNode {
    fn new() -> Self {
        Self { lowest_below: NONE, variable: NONE, here: Vec::new(), end: Vec::new(), more: Vec::new() }
    }
}

/// Nodes are numbered by their order.
fn add_node(nodes: &mut Vec<DraftNode>) -> u32 {
    nodes.push(DraftNode::new());
    u32::try_from(nodes.len() - 1).expect("fewer nodes than a configuration has bytes")
}

impl Builder {
    /// Adds a route behind those that are there.
    pub(super) fn insert(&mut self, ordinal: u32, host: Option<&HostPattern>, path: Option<&PathPattern>) {
        let nodes = &mut self.nodes;
        let new = || DraftTree { lowest: ordinal, root: add_node(nodes), any: Vec::new(), regex: Vec::new() };
        let tree = match host {
            Some(HostPattern::Exact(host)) => self.exact.entry(host.clone()).or_insert_with(new),
            Some(HostPattern::Below(domain)) => self.below.entry(domain.clone()).or_insert_with(new),
            None => self.any.get_or_insert_with(new),
        };
        let root = tree.root;
        match path {
            None => tree.any.push(ordinal),
            Some(PathPattern::Regex(_)) => tree.regex.push(ordinal),
            Some(PathPattern::Exact(path)) => {
                let node = self.place(root, path.0[1..].split('/').map(TemplateSegment::Literal), ordinal);
                self.nodes[node as usize].end.push(ordinal);
            }
            // a slash at the end asks for one in the path, too
            Some(PathPattern::Prefix(path)) => match path.0.strip_suffix('/') {
                Some(path) => {
                    let segments = path.split('/').skip(1).map(TemplateSegment::Literal);
                    let node = self.place(root, segments, ordinal);
                    self.nodes[node as usize].more.push(ordinal);
                }
                None => {
                    let node = self.place(root, path.0[1..].split('/').map(TemplateSegment::Literal), ordinal);
                    self.nodes[node as usize].here.push(ordinal);
                }
            },
            Some(PathPattern::Template(template)) => {
                let open = template.segments().any(|segment| matches!(segment, TemplateSegment::Rest(_)));
                let fixed = template.segments().filter(|segment| !matches!(segment, TemplateSegment::Rest(_)));
                let node = self.place(root, fixed, ordinal);
                let node = &mut self.nodes[node as usize];
                if open { node.more.push(ordinal) } else { node.end.push(ordinal) }
            }
        }
    }

    /// The node after these segments, with all that are on the way.
    fn place<'a>(&mut self, root: u32, segments: impl Iterator<Item = TemplateSegment<'a>>, ordinal: u32) -> u32 {
        let mut number = root;
        for segment in segments {
            let nodes = &mut self.nodes;
            let node = &mut nodes[number as usize];
            node.lowest_below = node.lowest_below.min(ordinal);
            number = match segment {
                TemplateSegment::Literal(text) => {
                    *self.edges.entry((number, text.to_owned())).or_insert_with(|| add_node(nodes))
                }
                TemplateSegment::Variable(_) | TemplateSegment::Rest(_) => {
                    if node.variable == NONE {
                        let added = add_node(nodes);
                        nodes[number as usize].variable = added;
                    }
                    nodes[number as usize].variable
                }
            };
        }
        number
    }

    pub(super) fn build(self) -> Index {
        let mut ordinals = Vec::new();
        let mut list = |part: &[u32]| {
            let start = ordinals.len();
            ordinals.extend_from_slice(part);
            // each route is in one list
            List { start: start as u32, end: ordinals.len() as u32 }
        };
        let mut tree = |draft: DraftTree| Tree {
            lowest: draft.lowest,
            root: draft.root,
            any: list(&draft.any),
            regex: list(&draft.regex),
        };
        let mut table = |drafts: HashMap<String, DraftTree>| -> Table<Tree> {
            drafts.into_iter().map(|(name, draft)| (name.into(), tree(draft))).collect()
        };
        let (exact, below) = (table(self.exact), table(self.below));
        let any = self.any.map(tree);
        let nodes = self.nodes.iter().map(|draft| Node {
            lowest_below: draft.lowest_below,
            variable: draft.variable,
            here: list(&draft.here),
            end: list(&draft.end),
            more: list(&draft.more),
        });
        let nodes = nodes.collect();
        let edges = self.edges.into_iter().map(|((from, segment), to)| Edge { from, to, segment: segment.into() });
        Index { exact, below, any, nodes, edges: Edges::new(edges.collect()), ordinals }
    }
}
