//! Containers by their numbers.

use super::Value;

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

    fn add(&mut self, value: &'a Value) {
        if value.is_container() {
            self.containers.push(value);
            value.each(|inner| self.add(inner));
        }
    }
}
