use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, RwLock},
};

/// An interned name: of a layer, a listener, a route, a cluster. Copying and comparing one is copying and comparing
/// a number, so that a request can carry it in an atomic.
///
/// Names live as long as the process. Intern only what a configuration says, never what came over the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Name(u32);

#[derive(Default)]
struct Interner {
    numbers: HashMap<&'static str, u32>,
    texts: Vec<&'static str>,
}

static INTERNER: LazyLock<RwLock<Interner>> = LazyLock::new(|| {
    let mut interner = Interner::default();
    for (number, text) in (0..).zip(KNOWN) {
        interner.numbers.insert(text, number);
        interner.texts.push(text);
    }
    RwLock::new(interner)
});

/// The names that are constants, by their numbers.
const KNOWN: [&str; 5] = ["", "http", "grpc", "tunnel", "dubbo"];

impl Name {
    /// No name; its text is empty.
    pub const NONE: Name = Name(0);
    /// `http`.
    pub const HTTP: Name = Name(1);
    /// `grpc`.
    pub const GRPC: Name = Name(2);
    /// `tunnel`: a call that asks for one, by an upgrade or a CONNECT.
    pub const TUNNEL: Name = Name(3);
    /// `dubbo`.
    pub const DUBBO: Name = Name(4);

    /// The number of this text, the same for the same text for the life of the process. Takes a lock: at
    /// configuration time only.
    pub fn intern(text: &str) -> Name {
        if let Some(number) = read().numbers.get(text) {
            return Name(*number);
        }
        let mut interner = INTERNER.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(number) = interner.numbers.get(text) {
            return Name(*number);
        }
        let text: &'static str = Box::leak(text.into());
        let number = interner.texts.len() as u32;
        interner.texts.push(text);
        interner.numbers.insert(text, number);
        Name(number)
    }

    /// The text. Takes a read lock.
    pub fn as_str(self) -> &'static str {
        read().texts.get(self.0 as usize).copied().unwrap_or("")
    }

    /// Whether this is [`Name::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Its number, from 0 ([`Name::NONE`]) up: for tables. Not the same from one process to the next.
    pub const fn number(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_number(number: u32) -> Name {
        Name(number)
    }
}

fn read() -> std::sync::RwLockReadGuard<'static, Interner> {
    INTERNER.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn the_same_text_is_the_same_name() {
        let a = Name::intern("orders");
        assert_eq!(a, Name::intern("orders"));
        assert_ne!(a, Name::intern("users"));
        assert_eq!((a.as_str(), Name::intern("").is_none()), ("orders", true));
        assert_eq!((Name::HTTP, Name::GRPC), (Name::intern("http"), Name::intern("grpc")));
    }
}
