//! Containers by their numbers.

use super::{Limits, List, Map, Object, Value};
use std::{
    collections::{HashMap, hash_map::Entry},
    ptr,
    sync::Arc,
};

/// The containers of a stream's values, by number: what a [`Value::Ref`] names.
#[derive(Clone, Debug, Default)]
pub struct References<'a> {
    containers: Vec<&'a Value>,
}

impl<'a> References<'a> {
    /// Numbers the containers of all values of a stream, from its first one.
    pub fn new(values: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut this = Self::default();
        values.into_iter().for_each(|value| this.add(value));
        this
    }

    /// The container with this number.
    pub fn get(&self, number: u32) -> Option<&'a Value> {
        self.containers.get(number as usize).copied()
    }

    /// A value, or what it refers to; nothing where that is not in the stream.
    pub fn resolve(&self, value: &'a Value) -> Option<&'a Value> {
        match value {
            Value::Ref(number) => self.get(*number),
            value => Some(value),
        }
    }

    /// A value as the only one of a stream of its own: what it refers to outside of itself is in it, once, and references
    /// are numbered anew. Nothing where a reference leads nowhere, or containers within one another are more than
    /// [`Limits::DECODE`] allows.
    pub fn extract(&self, value: &'a Value) -> Option<Value> {
        let mut left = u32::MAX;
        self.extract_some(value, &mut left)
    }

    /// As [`extract`](Self::extract); nothing either where there are more than `left` values, which are counted off.
    pub(super) fn extract_some(&self, value: &'a Value, left: &mut u32) -> Option<Value> {
        self.copy(value, &mut Copied { numbers: HashMap::new(), left }, Limits::DECODE.depth)
    }

    fn copy(&self, value: &'a Value, copied: &mut Copied<'_>, depth: usize) -> Option<Value> {
        *copied.left = copied.left.checked_sub(1)?;
        let value = self.resolve(value)?;
        if !value.is_container() {
            return Some(value.clone());
        }
        let depth = depth.checked_sub(1)?;
        let next = u32::try_from(copied.numbers.len()).ok()?;
        match copied.numbers.entry(ptr::from_ref(value)) {
            Entry::Occupied(known) => return Some(Value::Ref(*known.get())),
            Entry::Vacant(new) => new.insert(next),
        };
        let mut inner = |value| self.copy(value, copied, depth);
        Some(match value {
            Value::List(list) => {
                let items = list.items.iter().map(inner).collect::<Option<_>>()?;
                List { kind: list.kind.clone(), variable: list.variable, items }.into()
            }
            Value::Map(map) => {
                let entries = map.entries.iter().map(|(key, value)| Some((inner(key)?, inner(value)?)));
                Map { kind: map.kind.clone(), entries: entries.collect::<Option<_>>()? }.into()
            }
            Value::Object(object) => {
                let values = object.values().iter().map(inner).collect::<Option<_>>()?;
                Object::new(Arc::clone(object.class()), values)?.into()
            }
            scalar => scalar.clone(),
        })
    }

    fn add(&mut self, value: &'a Value) {
        if value.is_container() {
            self.containers.push(value);
            value.each(|inner| self.add(inner));
        }
    }
}

/// What has been copied: the new numbers, by the containers' addresses, and how many values may still be.
struct Copied<'l> {
    numbers: HashMap<*const Value, u32>,
    left: &'l mut u32,
}
