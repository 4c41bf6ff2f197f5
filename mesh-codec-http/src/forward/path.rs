use mesh_core::{Kind, Rejection};
use std::{borrow::Cow, error::Error, fmt};

/// A path that two readers would understand in two ways: it is refused with 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// An escaped slash, `%2F`.
    Slash,
    /// A backslash, as it is or as `%5C`.
    Backslash,
    /// An escaped NUL, `%00`.
    Nul,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Slash => "an escaped slash in the path",
            Malformed::Backslash => "a backslash in the path",
            Malformed::Nul => "an escaped NUL in the path",
        })
    }
}

impl Error for Malformed {}

impl From<Malformed> for Rejection {
    fn from(malformed: Malformed) -> Self {
        Rejection::new(Kind::Malformed).because(malformed)
    }
}

/// What becomes of empty segments, `/a//b`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Slashes {
    /// They stay.
    #[default]
    Keep,
    /// Slashes that follow each other are one, before dot segments are removed.
    Merge,
}

/// The path that a router matches and the upstream gets.
///
/// - Dot segments are removed (RFC 3986, section 5.2.4), `%2e` being a dot.
/// - Escapes of characters that need none, letters, digits and `-._~`, are decoded (section 6.2.2.2), so that
///   `/%61dmin` does not pass by a route for `/admin`; nothing else is. A path with a `%` that begins no escape keeps
///   them all: what is decoded must not make a new one.
/// - Slashes are merged if the listener says so.
///
/// Without a query; a path that does not begin with a slash (`*`, empty) stays as it is. Allocates only where there is
/// something to change.
///
/// # Errors
/// [`Malformed`] where a server behind could see another path.
///
/// ```
/// # use mesh_codec_http::forward::{Malformed, Slashes, normalise};
/// assert_eq!(normalise("/a/./b/../%63//", Slashes::Keep).unwrap(), "/a/c//");
/// assert_eq!(normalise("/a//b", Slashes::Merge).unwrap(), "/a/b");
/// assert_eq!(normalise("/admin%2Fusers", Slashes::Keep), Err(Malformed::Slash));
/// ```
pub fn normalise(path: &str, slashes: Slashes) -> Result<Cow<'_, str>, Malformed> {
    let found = Found::of(path.as_bytes())?;
    let merge = slashes == Slashes::Merge && found.empty;
    let decode = found.needless && !found.broken;
    if !(found.dots || merge || decode) || !path.starts_with('/') {
        return Ok(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if merge && segment.is_empty() && !last {
            continue;
        }
        match dots(segment) {
            None => {
                normal.push('/');
                if decode {
                    push_decoded(&mut normal, segment);
                } else {
                    normal.push_str(segment);
                }
                continue;
            }
            Some(1) => {}
            Some(_) => normal.truncate(normal.rfind('/').unwrap_or(0)),
        }
        // a dot segment at the end leaves the slash before it
        if last {
            normal.push('/');
        }
    }
    if normal == path { Ok(Cow::Borrowed(path)) } else { Ok(Cow::Owned(normal)) }
}

/// What one pass over a path has seen.
#[derive(Default)]
struct Found {
    /// There may be a dot segment.
    dots: bool,
    /// There is an empty segment that is not the last one.
    empty: bool,
    /// There is an escape that could be decoded.
    needless: bool,
    /// There is a `%` that begins no escape.
    broken: bool,
}

impl Found {
    fn of(path: &[u8]) -> Result<Self, Malformed> {
        if is_plain(path) {
            return Ok(Self::default());
        }
        Self::looking_at_each(path)
    }

    fn looking_at_each(path: &[u8]) -> Result<Self, Malformed> {
        let mut found = Self::default();
        let mut before = 0;
        for (index, byte) in path.iter().enumerate() {
            match byte {
                b'.' => found.dots |= before == b'/',
                b'/' => found.empty |= before == b'/',
                b'\\' => return Err(Malformed::Backslash),
                b'%' => match escaped(&path[index + 1..]) {
                    Some(b'/') => return Err(Malformed::Slash),
                    Some(b'\\') => return Err(Malformed::Backslash),
                    Some(0) => return Err(Malformed::Nul),
                    Some(byte) => {
                        found.dots |= byte == b'.';
                        found.needless |= needs_no_escape(byte);
                    }
                    None => found.broken = true,
                },
                _ => {}
            }
            before = *byte;
        }
        Ok(found)
    }
}

/// Whether there is nothing to look at in a path. Eight bytes at a time, as nearly all paths are such. One that is plain
/// may be taken for another, never the other way round.
fn is_plain(path: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // the high bit of each byte that is equal, and perhaps of some after it
    let equal = |word: u64, byte: u8| {
        let other = word ^ (ONES * u64::from(byte));
        other.wrapping_sub(ONES) & !other & HIGH
    };
    let (mut slash_before, mut found) = (0, 0);
    let mut look = |chunk: [u8; 8]| {
        let word = u64::from_le_bytes(chunk);
        let slashes = equal(word, b'/');
        let behind_slash = slashes << 8 | slash_before;
        slash_before = slashes >> 56;
        found |= equal(word, b'%') | equal(word, b'\\') | (slashes | equal(word, b'.')) & behind_slash;
    };
    let (chunks, rest) = path.as_chunks::<8>();
    chunks.iter().for_each(|chunk| look(*chunk));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        look(last);
    }
    found == 0
}

/// The byte that two hexadecimal digits, those after a `%`, stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match digits {
        [high, low, ..] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    }
}

/// RFC 3986, section 2.3.
fn needs_no_escape(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn push_decoded(normal: &mut String, segment: &str) {
    let mut parts = segment.split('%');
    normal.push_str(parts.next().unwrap_or_default());
    for part in parts {
        match escaped(part.as_bytes()).filter(|byte| needs_no_escape(*byte)) {
            Some(byte) => {
                normal.push(char::from(byte));
                normal.push_str(&part[2..]);
            }
            None => {
                normal.push('%');
                normal.push_str(part);
            }
        }
    }
}

/// 1 for `.`, 2 for `..`, escaped or not.
fn dots(segment: &str) -> Option<u8> {
    let mut rest = segment.as_bytes();
    let mut dots = 0;
    while !rest.is_empty() {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] if dots < 2 => rest,
            _ => return None,
        };
        dots += 1;
    }
    (dots > 0).then_some(dots)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn dot_segments() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a//b", "/a//b"),
            ("/.", "/"),
            ("/..", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/../../..", "/"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/a//../b", "/a/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/a/.../b", "/a/.../b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/c.", "/a..b/c."),
            ("/%2ehidden", "/.hidden"),
            ("/a%20b/%252f", "/a%20b/%252f"),
            ("/%", "/%"),
            ("/%2", "/%2"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normalise(path, Slashes::Keep).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn escapes_of_what_needs_none_are_decoded() {
        for (path, expected) in [
            ("/%61dmin", "/admin"),
            ("/a%2Db%5f%7E%2e", "/a-b_~."),
            ("/%c3%bc/%2541/%3f", "/%c3%bc/%2541/%3f"),
            ("/%41/../%42", "/B"),
            // decoded, it would be an escaped slash to whoever reads next
            ("/%%32f", "/%%32f"),
            ("/%%341", "/%%341"),
            ("/%41/%", "/%41/%"),
        ] {
            assert_eq!(normalise(path, Slashes::Keep).unwrap(), expected, "{path}");
        }
    }

    /// Wherever what matters stands in the words that are looked at.
    #[test]
    fn what_is_plain_has_nothing_to_look_at() {
        let parts = ["/", ".", "%", "\\", "a", "\u{2e2f}"];
        let middles = parts.iter().flat_map(|one| parts.map(|two| parts.map(|three| format!("{one}{two}{three}"))));
        for middle in middles.flatten() {
            for (before, after) in (0..10).flat_map(|before| (0..3).map(move |after| (before, after))) {
                let path = format!("/{}{middle}{}", "b".repeat(before), "c".repeat(after));
                let Found { dots, empty, needless, broken } = match Found::looking_at_each(path.as_bytes()) {
                    Ok(found) => found,
                    Err(_) => Found { broken: true, ..Found::default() },
                };
                let plain = !(dots || empty || needless || broken || path.contains('%'));
                assert!(plain || !is_plain(path.as_bytes()), "{path}");
                assert!(!plain || path.contains("./") || is_plain(path.as_bytes()), "{path}");
            }
        }
    }

    #[test]
    fn slashes_are_merged_on_demand() {
        for (path, expected) in [
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/a/..//", "/"),
            ("/a/.//b", "/a/b"),
            ("//..//x", "/x"),
        ] {
            assert_eq!(normalise(path, Slashes::Merge).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn nothing_to_do_borrows() {
        for path in ["/a/b.html", "/.well-known/x", "/a//b%20/", "/a..b/.c", "//", "/%41%"] {
            assert!(matches!(normalise(path, Slashes::Keep), Ok(Cow::Borrowed(_))), "{path}");
        }
        for path in ["/", "/a/b/", "/.well-known/x"] {
            assert!(matches!(normalise(path, Slashes::Merge), Ok(Cow::Borrowed(_))), "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (path, expected) in [
            ("/a%2fb", Malformed::Slash),
            ("/a/..%2Fb", Malformed::Slash),
            ("/a\\b", Malformed::Backslash),
            ("/a%5cb", Malformed::Backslash),
            ("/a%5C", Malformed::Backslash),
            ("/a%00.html", Malformed::Nul),
        ] {
            assert_eq!(normalise(path, Slashes::Keep), Err(expected), "{path}");
        }
        assert_eq!(Rejection::from(Malformed::Nul).kind(), Kind::Malformed);
    }
}
