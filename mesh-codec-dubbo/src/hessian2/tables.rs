//! What a stream has defined so far.

use smallvec::SmallVec;

/// The definitions of a stream: where its classes and types stand, and how many containers were opened.
///
/// Values later in a stream name them by number, so they go on from value to value of one stream: in Dubbo, of one
/// body. They hold no bytes but offsets, and can be kept without the stream; the first 8 of each need no allocation.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub(crate) classes: SmallVec<[Definition; 8]>,
    pub(crate) types: SmallVec<[u32; 8]>,
    pub(crate) containers: u32,
    pub(crate) values: u32,
}

/// A class definition: where its name begins, where its first field's name does, and how many of these there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    pub(crate) name: u32,
    pub(crate) names: u32,
    pub(crate) fields: u32,
}

/// A place in a stream to come back to, from [`Reader::mark`](super::Reader::mark).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub(crate) at: usize,
    pub(crate) classes: u32,
    pub(crate) types: u32,
    pub(crate) containers: u32,
    pub(crate) values: u32,
}

impl Mark {
    /// How many bytes of the stream lie before it.
    pub const fn position(&self) -> usize {
        self.at
    }
}

impl Tables {
    /// Nothing defined, as at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all, for another stream; the memory stays.
    pub fn clear(&mut self) {
        self.classes.clear();
        self.types.clear();
        self.containers = 0;
        self.values = 0;
    }

    /// How many containers were opened: the next one's number.
    pub const fn containers(&self) -> u32 {
        self.containers
    }

    /// How many classes were defined.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// How many types were named.
    pub fn types(&self) -> usize {
        self.types.len()
    }

    pub(crate) fn mark(&self, at: usize) -> Mark {
        Mark {
            at,
            // readers allow no more than `u32` bytes
            classes: self.classes.len() as u32,
            types: self.types.len() as u32,
            containers: self.containers,
            values: self.values,
        }
    }

    pub(crate) fn rewind(&mut self, mark: &Mark) {
        self.classes.truncate(mark.classes as usize);
        self.types.truncate(mark.types as usize);
        self.containers = mark.containers;
        self.values = mark.values;
    }
}
