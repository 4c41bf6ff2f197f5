//! Hosts in tables, paths in a tree of segments; at each place of it the ordinals of the routes that end there.

use crate::spec::HostPattern;
use foldhash::fast::FixedState;
use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _},
};

/// Keys are a configuration's, not a client's.
pub(super) type Table<T> = HashMap<Box<str>, T, FixedState>;

/// No ordinal, no node.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Index {
    pub(super) exact: Table<Tree>,
    /// By the domain with its leading dot.
    pub(super) below: Table<Tree>,
    pub(super) any: Option<Tree>,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Edges,
    /// All lists, one after the other.
    pub(super) ordinals: Vec<u32>,
}

/// A part of `Index::ordinals`, in ascending order.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The routes of one host pattern.
#[derive(Debug)]
pub(super) struct Tree {
    /// The lowest of all ordinals in it.
    pub(super) lowest: u32,
    pub(super) root: u32,
    /// Routes without a condition on the path.
    pub(super) any: List,
    /// Routes with a regular expression for the path.
    pub(super) regex: List,
}

/// A place in a path, after some of its segments.
#[derive(Debug)]
pub(super) struct Node {
    /// The lowest of all ordinals further on.
    pub(super) lowest_below: u32,
    /// Where any segment leads that is not empty.
    pub(super) variable: u32,
    /// Routes that take every path that comes here.
    pub(super) here: List,
    /// Routes that take a path that ends here.
    pub(super) end: List,
    /// Routes that take a path that goes on with a slash.
    pub(super) more: List,
}

/// From a node by a segment to the next: one table for all nodes, open addressing with linear probing.
#[derive(Debug)]
pub(super) struct Edges {
    /// By hash; [`NONE`] where there is nothing. A power of two, at most half full.
    slots: Box<[u32]>,
    edges: Box<[Edge]>,
    hasher: FixedState,
}

#[derive(Debug)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) segment: Box<str>,
}

impl Edges {
    pub(super) fn new(edges: Vec<Edge>) -> Self {
        let slots = vec![NONE; (edges.len() * 2).next_power_of_two()].into_boxed_slice();
        let mut table = Self { slots, edges: edges.into_boxed_slice(), hasher: FixedState::default() };
        for (edge, number) in table.edges.iter().zip(0..) {
            let mut slot = table.first_slot(edge.from, &edge.segment);
            while table.slots[slot] != NONE {
                slot = (slot + 1) & (table.slots.len() - 1);
            }
            table.slots[slot] = number;
        }
        table
    }

    fn first_slot(&self, from: u32, segment: &str) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(from);
        hasher.write(segment.as_bytes());
        hasher.finish() as usize & (self.slots.len() - 1)
    }

    fn next(&self, from: u32, segment: &str) -> Option<u32> {
        let mut slot = self.first_slot(from, segment);
        loop {
            // the number of no edge: the slot is empty
            let edge = self.edges.get(self.slots[slot] as usize)?;
            if edge.from == from && *edge.segment == *segment {
                return Some(edge.to);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

impl Index {
    /// The lowest ordinal whose host and path match and for which `holds`.
    #[inline]
    pub(super) fn find<'h>(
        &self,
        host: impl FnOnce() -> &'h str,
        path: &str,
        holds: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut search = Search { index: self, path, holds, found: NONE };
        if !(self.exact.is_empty() && self.below.is_empty()) {
            let host = host();
            search.hosts(host.strip_suffix('.').unwrap_or(host));
        }
        if let Some(tree) = &self.any {
            search.tree(tree);
        }
        (search.found != NONE).then_some(search.found)
    }
}

struct Search<'a, F> {
    index: &'a Index,
    path: &'a str,
    holds: F,
    found: u32,
}

impl<F: Fn(u32) -> bool> Search<'_, F> {
    /// Without regard to upper and lower case.
    fn hosts(&mut self, host: &str) {
        if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.lower_hosts(host);
        }
        let mut lower = [0; HostPattern::MAX_LENGTH];
        if let Some(lower) = lower.get_mut(..host.len()) {
            lower.copy_from_slice(host.as_bytes());
            lower.make_ascii_lowercase();
            if let Ok(host) = std::str::from_utf8(lower) {
                self.lower_hosts(host);
            }
        }
    }

    fn lower_hosts(&mut self, host: &str) {
        if host.len() > HostPattern::MAX_LENGTH {
            return;
        }
        if let Some(tree) = self.index.exact.get(host) {
            self.tree(tree);
        }
        if !self.index.below.is_empty() {
            // a dot at the start has no label before it
            for (dot, _) in host.match_indices('.').filter(|(dot, _)| *dot > 0) {
                if let Some(tree) = self.index.below.get(&host[dot..]) {
                    self.tree(tree);
                }
            }
        }
    }

    fn tree(&mut self, tree: &Tree) {
        if tree.lowest >= self.found {
            return;
        }
        self.list(tree.any);
        if let Some(rest) = self.path.strip_prefix('/') {
            self.walk(tree.root, Some(rest));
        }
        // last, since they cost most: those behind what was found are left out
        self.list(tree.regex);
    }

    /// From a node with what is left of the path after the slash, if there was one. Each node is met once at the most,
    /// and the recursion is as deep as a template has variables.
    fn walk(&mut self, mut number: u32, mut rest: Option<&str>) {
        loop {
            let node = &self.index.nodes[number as usize];
            self.list(node.here);
            let Some(path) = rest else { return self.list(node.end) };
            self.list(node.more);
            if node.lowest_below >= self.found {
                return;
            }
            let (segment, next) = match path.split_once('/') {
                Some((segment, next)) => (segment, Some(next)),
                None => (path, None),
            };
            let literal = self.index.edges.next(number, segment);
            let variable = (node.variable != NONE && !segment.is_empty()).then_some(node.variable);
            number = match (literal, variable) {
                (None, None) => return,
                (Some(node), None) | (None, Some(node)) => node,
                (Some(literal), Some(variable)) => {
                    self.walk(variable, next);
                    literal
                }
            };
            rest = next;
        }
    }

    #[inline]
    fn list(&mut self, list: List) {
        for ordinal in &self.index.ordinals[list.start as usize..list.end as usize] {
            if *ordinal >= self.found {
                return;
            }
            if (self.holds)(*ordinal) {
                self.found = *ordinal;
                return;
            }
        }
    }
}
