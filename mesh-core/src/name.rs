use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

/// An interned name: of a layer, a listener, a route, a cluster. Copying and comparing one is copying and comparing
/// a number, so that a request can carry it in an atomic.
///
/// Names live as long as the process. Intern only what a configuration says, never what came over the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Name(u32);

/// The numbers of the texts, for those who intern.
static NUMBERS: LazyLock<Mutex<HashMap<&'static str, u32>>> =
    LazyLock::new(|| Mutex::new(KNOWN.into_iter().zip(0..).collect()));

/// The texts by their numbers, those of [`KNOWN`] left out, in chunks that each are twice as long as the one before and
/// never move: to read one takes no lock.
static TEXTS: [OnceLock<Box<[OnceLock<&'static str>]>>; 27] = [const { OnceLock::new() }; 27];
/// How long the first chunk is.
const FIRST: usize = 64;

/// The chunk of a number, and its place there; `None` for those of [`KNOWN`].
fn place(number: u32) -> Option<(usize, usize)> {
    let shifted = (number as usize).checked_sub(KNOWN.len())? + FIRST;
    let chunk = (shifted / FIRST).ilog2();
    Some((chunk as usize, shifted - (FIRST << chunk)))
}

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
    ///
    /// # Panics
    /// At four milliards of names.
    pub fn intern(text: &str) -> Name {
        let mut numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.get(text) {
            return Name(*number);
        }
        let number = u32::try_from(numbers.len()).expect("names are few: a configuration says them");
        let text: &'static str = Box::leak(text.into());
        if let Some((chunk, index)) = place(number) {
            let chunk = TEXTS[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| OnceLock::new()).collect());
            chunk[index].get_or_init(|| text);
        }
        numbers.insert(text, number);
        Name(number)
    }

    /// The text. Two loads, without a lock.
    #[inline]
    pub fn as_str(self) -> &'static str {
        match place(self.0) {
            None => KNOWN[self.0 as usize],
            Some((chunk, index)) => TEXTS[chunk].get().and_then(|chunk| chunk[index].get()).copied().unwrap_or(""),
        }
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
    use super::{FIRST, KNOWN, Name, place};

    #[test]
    fn the_same_text_is_the_same_name() {
        let a = Name::intern("orders");
        assert_eq!(a, Name::intern("orders"));
        assert_ne!(a, Name::intern("users"));
        assert_eq!((a.as_str(), Name::intern("").is_none()), ("orders", true));
        assert_eq!((Name::HTTP, Name::GRPC), (Name::intern("http"), Name::intern("grpc")));
    }

    #[test]
    fn places_follow_each_other() {
        let known = KNOWN.len() as u32;
        assert_eq!([0, known - 1].map(place), [None, None]);
        let mut expected = (0, 0);
        for number in known..100_000 {
            assert_eq!(place(number), Some(expected), "{number}");
            expected.1 += 1;
            if expected.1 == FIRST << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert_eq!(place(u32::MAX).map(|place| place.0), Some(26));
    }

    /// All at once, over the ends of chunks.
    #[test]
    fn from_many_threads() {
        let text = |number: usize| format!("name {number}");
        let names =
            |first: usize| move || (0..500).map(|n| Name::intern(&text((n * 7 + first) % 500))).collect::<Vec<_>>();
        let threads = [0, 100, 250, 400].map(|first| (first, std::thread::spawn(names(first))));
        for (first, thread) in threads {
            for (n, name) in thread.join().unwrap().into_iter().enumerate() {
                assert_eq!(name.as_str(), text((n * 7 + first) % 500));
                assert_eq!(name, Name::intern(name.as_str()));
            }
        }
    }
}
