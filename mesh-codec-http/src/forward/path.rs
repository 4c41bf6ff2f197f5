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

/// The path that a router matches and the upstream gets: dot segments are removed (RFC 3986, section 5.2.4), `%2e`
/// being a dot. Slashes are not merged and nothing else is decoded. Without a query; a path that does not begin with
/// a slash (`*`, empty) stays as it is. Allocates only where there is something to remove.
///
/// # Errors
/// [`Malformed`] where a server behind could see another path.
///
/// ```
/// # use mesh_codec_http::forward::{Malformed, normalise};
/// assert_eq!(normalise("/a/./b/../c").unwrap(), "/a/c");
/// assert_eq!(normalise("/admin%2Fusers"), Err(Malformed::Slash));
/// ```
pub fn normalise(path: &str) -> Result<Cow<'_, str>, Malformed> {
    if !may_change(path.as_bytes())? || !path.starts_with('/') {
        return Ok(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        match dots(segment) {
            None => {
                normal.push('/');
                normal.push_str(segment);
                continue;
            }
            Some(1) => {}
            Some(_) => normal.truncate(normal.rfind('/').unwrap_or(0)),
        }
        // a dot segment at the end leaves the slash before it
        if segments.peek().is_none() {
            normal.push('/');
        }
    }
    if normal == path { Ok(Cow::Borrowed(path)) } else { Ok(Cow::Owned(normal)) }
}

/// One pass: refuses what is malformed; whether there may be a dot segment.
fn may_change(path: &[u8]) -> Result<bool, Malformed> {
    let mut dots = false;
    let mut before = 0;
    for (index, byte) in path.iter().enumerate() {
        match byte {
            b'.' => dots |= before == b'/',
            b'\\' => return Err(Malformed::Backslash),
            b'%' => match path.get(index + 1..index + 3) {
                Some(b"2f" | b"2F") => return Err(Malformed::Slash),
                Some(b"5c" | b"5C") => return Err(Malformed::Backslash),
                Some(b"00") => return Err(Malformed::Nul),
                Some(b"2e" | b"2E") => dots = true,
                _ => {}
            },
            _ => {}
        }
        before = *byte;
    }
    Ok(dots)
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
            ("/%2ehidden", "/%2ehidden"),
            ("/a%20b/%252f", "/a%20b/%252f"),
            ("/%", "/%"),
            ("/%2", "/%2"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normalise(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn nothing_to_do_borrows() {
        for path in ["/a/b.html", "/.well-known/x", "/%2ehidden", "/a..b/.c"] {
            assert!(matches!(normalise(path), Ok(Cow::Borrowed(_))), "{path}");
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
            assert_eq!(normalise(path), Err(expected), "{path}");
        }
        assert_eq!(Rejection::from(Malformed::Nul).kind(), Kind::Malformed);
    }
}
