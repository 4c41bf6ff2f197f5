//! From the events of the YAML parser to the tree.

use std::collections::{HashMap, HashSet};

use mesh_core::spec::{Invalid, Key, Node, Position, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::place::{Finder, position};
use super::{Environment, MAX_COPIED, MAX_DEPTH, MAX_EXPANDED, MAX_FAULTS, environment, scalar, syntax};

/// Reads the one document of `text`. Without a tree the structure could not be read.
pub(super) fn read(text: &str, env: Environment<'_>) -> (Option<Node>, Vec<Invalid>) {
    let mut builder = Builder {
        text,
        env,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        documents: 0,
        copies_left: MAX_COPIED,
        expansion_left: MAX_EXPANDED,
        faults: Vec::new(),
    };
    match builder.run() {
        Ok(()) => {
            let nothing = || Node::new(Value::Null, Position::new(1, 1));
            (Some(builder.root.unwrap_or_else(nothing)), builder.faults)
        }
        Err(fault) => {
            builder.faults.push(fault);
            (None, builder.faults)
        }
    }
}

struct Builder<'a> {
    text: &'a str,
    env: Environment<'a>,
    /// The lists and mappings that have begun and not ended, outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, Built>,
    root: Option<Node>,
    documents: usize,
    copies_left: usize,
    expansion_left: usize,
    faults: Vec<Invalid>,
}

/// A finished node with what copying it costs.
#[derive(Clone)]
struct Built {
    node: Node,
    weight: usize,
    /// How many levels it has; a scalar has none.
    height: usize,
}

struct Open {
    position: Position,
    anchor: usize,
    weight: usize,
    height: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, names: HashSet<String>, key: Expected },
}

/// What comes next in a mapping.
enum Expected {
    Key,
    ValueOf(Key),
    /// The value of a key that was refused: read, checked, and dropped.
    Dropped,
}

impl Builder<'_> {
    /// An error ends the reading; faults that do not are collected.
    fn run(&mut self) -> Result<(), Invalid> {
        for event in Parser::new_from_str(self.text) {
            let (event, span) = event.map_err(|error| syntax::explain(&error, self.text))?;
            let position = position(span.start);
            match event {
                Event::DocumentStart(_) => {
                    self.documents += 1;
                    if self.documents > 1 {
                        return Err(Invalid::new("expected one document, found a second one")
                            .at_position(position)
                            .with_suggestion("remove the `---`, or put each document into a file of its own"));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse(tag.as_deref(), position)?;
                    self.scalar(&text, style, anchor, span)?;
                }
                Event::Alias(anchor) => self.alias(anchor, position)?,
                Event::SequenceStart(anchor, tag) => {
                    self.refuse(tag.as_deref(), position)?;
                    self.begin(anchor, position, Content::Sequence(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse(tag.as_deref(), position)?;
                    let content = Content::Mapping { entries: Vec::new(), names: HashSet::new(), key: Expected::Key };
                    self.begin(anchor, position, content)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    /// Notes a fault; enough of them end the reading.
    fn note(&mut self, fault: Invalid) -> Result<(), Invalid> {
        if self.faults.len() + 1 >= MAX_FAULTS {
            return Err(fault);
        }
        self.faults.push(fault);
        Ok(())
    }

    fn refuse(&mut self, tag: Option<&Tag>, position: Position) -> Result<(), Invalid> {
        let Some(tag) = tag else { return Ok(()) };
        let written = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        self.note(
            Invalid::new(format!("tags are not supported, found `{written}`"))
                .at_position(position)
                .with_suggestion("quotes make a text of anything else"),
        )
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, span: Span) -> Result<(), Invalid> {
        let plain = style == ScalarStyle::Plain;
        let mut position = position(span.start);
        if self.expects_key() {
            return self.key(text, plain, position);
        }
        // A value that is not there has no place of its own.
        if let Some(Content::Mapping { key: Expected::ValueOf(key), .. }) = self.open.last().map(|open| &open.content)
            && plain
            && text.is_empty()
        {
            position = key.position;
        }
        let typed = |text: String| {
            if plain { scalar::typed(&text) } else { Value::String(text) }
        };
        let mut node = Node::new(Value::Null, position);
        match environment::expand(text, self.env, &mut self.expansion_left) {
            Ok(None) => node.value = typed(text.to_owned()),
            Ok(Some(expanded)) => {
                node.value = typed(expanded);
                node.source = Some(text.to_owned());
            }
            Err(faults) => {
                node.value = Value::String(text.to_owned());
                node.source = Some(text.to_owned());
                let mut from = Finder::new(self.text, span);
                for fault in faults {
                    let mut invalid = Invalid::new(fault.message).at_position(from.next(&fault.reference));
                    invalid.suggestion = fault.suggestion;
                    self.note(invalid)?;
                }
            }
        }
        let length = node.as_str().map_or(0, str::len) + node.source.as_ref().map_or(0, String::len);
        let built = Built { node, weight: 1 + length / 64, height: 0 };
        self.finish(built, anchor)
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last().map(|open| &open.content), Some(Content::Mapping { key: Expected::Key, .. }))
    }

    fn key(&mut self, text: &str, plain: bool, position: Position) -> Result<(), Invalid> {
        let fault = if plain && text.is_empty() {
            Invalid::new("expected a key, found nothing")
        } else if plain && text == "<<" {
            Invalid::new("merge keys are not supported")
                .with_suggestion("write the keys out, or use an alias for the whole value: `key: *name`")
        } else {
            let Some(Open { content: Content::Mapping { names, key, .. }, .. }) = self.open.last_mut() else {
                return Ok(());
            };
            if names.insert(text.to_owned()) {
                *key = Expected::ValueOf(Key::new(text, position));
                return Ok(());
            }
            Invalid::new(format!("key `{text}` is given twice"))
        };
        self.bad_key(fault.at_position(position))
    }

    /// Notes a key that cannot be one; its value will be read and dropped.
    fn bad_key(&mut self, fault: Invalid) -> Result<(), Invalid> {
        if let Some(Open { content: Content::Mapping { key, .. }, .. }) = self.open.last_mut() {
            *key = Expected::Dropped;
        }
        self.note(fault)
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<(), Invalid> {
        if self.expects_key() {
            return self.bad_key(Invalid::new("expected a key, found an alias").at_position(position));
        }
        let Some(built) = self.anchors.get(&anchor) else {
            // The parser knows the anchor, so the value is the one that the alias stands in.
            return Err(Invalid::new("an alias cannot stand inside the value it refers to").at_position(position));
        };
        if self.open.len() + built.height > MAX_DEPTH {
            return Err(too_deep(position));
        }
        self.copies_left = self.copies_left.checked_sub(built.weight).ok_or_else(|| too_many_copies(position))?;
        let built = built.clone();
        self.finish(built, 0)
    }

    fn begin(&mut self, anchor: usize, position: Position, content: Content) -> Result<(), Invalid> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(position));
        }
        self.open.push(Open { position, anchor, weight: 1, height: 1, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Invalid> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping { entries, .. } => Value::Mapping(entries),
        };
        let built = Built { node: Node::new(value, open.position), weight: open.weight, height: open.height };
        self.finish(built, open.anchor)
    }

    /// Puts a node where it belongs: into what is open, or at the root.
    fn finish(&mut self, built: Built, anchor: usize) -> Result<(), Invalid> {
        if anchor > 0 {
            self.copies_left =
                self.copies_left.checked_sub(built.weight).ok_or_else(|| too_many_copies(built.node.position))?;
            self.anchors.insert(anchor, built.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(built.node);
            return Ok(());
        };
        open.weight += built.weight;
        open.height = open.height.max(built.height + 1);
        match &mut open.content {
            Content::Sequence(items) => items.push(built.node),
            Content::Mapping { entries, key, .. } => match std::mem::replace(key, Expected::Key) {
                Expected::ValueOf(key) => entries.push((key, built.node)),
                Expected::Dropped => {}
                Expected::Key => {
                    let found = built.node.describe();
                    let fault = Invalid::new(format!("expected a key, found {found}")).at_position(built.node.position);
                    return self.bad_key(fault);
                }
            },
        }
        Ok(())
    }
}

fn too_deep(position: Position) -> Invalid {
    Invalid::new(format!("lists and mappings are nested deeper than {MAX_DEPTH}")).at_position(position)
}

fn too_many_copies(position: Position) -> Invalid {
    Invalid::new("anchors and aliases copy too much").at_position(position).with_suggestion("write the values out")
}
