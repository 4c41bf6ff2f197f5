//! What of a match is asked of each request that has the host and the path.

use crate::spec::{MatchSpec, PathPattern, Pattern, StringMatcher};
use http::{HeaderName, HeaderValue, Method, Request};
use smallvec::SmallVec;

#[derive(Debug)]
pub(super) struct Conditions {
    methods: Vec<Method>,
    headers: Vec<(HeaderName, StringMatcher)>,
    query: Vec<(String, StringMatcher)>,
    path: Option<Pattern>,
}

impl Conditions {
    /// `None`: there are none.
    pub(super) fn of(matches: MatchSpec) -> Option<Self> {
        let path = match matches.path {
            Some(PathPattern::Regex(pattern)) => Some(pattern),
            _ => None,
        };
        let MatchSpec { methods, headers, query, .. } = matches;
        let none = methods.is_empty() && headers.is_empty() && query.is_empty() && path.is_none();
        (!none).then_some(Self { methods, headers, query, path })
    }

    /// The cheap ones first.
    pub(super) fn hold<B>(&self, request: &Request<B>) -> bool {
        (self.methods.is_empty() || self.methods.contains(request.method()))
            && self.headers.iter().all(|(name, matcher)| header(request, name, matcher))
            && self.query.iter().all(|(name, matcher)| parameter(request.uri().query(), name, matcher))
            && self.path.as_ref().is_none_or(|pattern| pattern.matches(request.uri().path().as_bytes()))
    }
}

fn header<B>(request: &Request<B>, name: &HeaderName, matcher: &StringMatcher) -> bool {
    match matcher {
        StringMatcher::Present(present) => request.headers().contains_key(name) == *present,
        matcher => request.headers().get_all(name).iter().map(HeaderValue::as_bytes).any(|value| matcher.takes(value)),
    }
}

/// As an application sees it: `%20` and `+` are a space, in names too (the form encoding of WHATWG's URL standard).
fn parameter(query: Option<&str>, name: &str, matcher: &StringMatcher) -> bool {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut values = pairs.filter_map(|pair| {
        let (present, value) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(present).eq(name.bytes()).then_some(value)
    });
    match matcher {
        StringMatcher::Present(present) => values.next().is_some() == *present,
        StringMatcher::Exact(exact) => values.any(|value| decoded(value).eq(exact.bytes())),
        matcher => values.any(|value| {
            if value.contains(['%', '+']) {
                let value: SmallVec<[u8; 256]> = decoded(value).collect();
                matcher.takes(&value)
            } else {
                matcher.takes(value.as_bytes())
            }
        }),
    }
}

/// A `%` that begins no escape stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        rest = after;
        Some(match (byte, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    (high * 16 + low) as u8
                }
                _ => b'%',
            },
            _ => *byte,
        })
    })
}

impl StringMatcher {
    /// Whether it takes a value that is there.
    pub(crate) fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
            Self::Regex(pattern) => pattern.matches(value),
            Self::Present(present) => *present,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let exact = |text: &str| StringMatcher::Exact(text.to_owned());
        for (query, name, matcher, expected) in [
            ("v=a%20b", "v", exact("a b"), true),
            ("v=a+b", "v", exact("a b"), true),
            ("v=a%2Bb", "v", exact("a+b"), true),
            ("%76=1", "v", exact("1"), true),
            ("v=1&v=2", "v", exact("2"), true),
            ("v=1%", "v", exact("1%"), true),
            ("v=%zz%4", "v", exact("%zz%4"), true),
            ("v", "v", exact(""), true),
            ("v", "v", StringMatcher::Present(true), true),
            ("v=", "v", StringMatcher::Present(false), false),
            ("vv=1&&", "v", StringMatcher::Present(true), false),
            ("", "", StringMatcher::Present(true), false),
            ("v=%61bc", "v", StringMatcher::Prefix("ab".into()), true),
            ("v=a%62c", "v", StringMatcher::Suffix("bc".into()), true),
            ("v=a%0a", "v", StringMatcher::Regex("a.".parse().expect("good")), false),
            ("v=ab", "v", StringMatcher::Regex("a|b".parse().expect("good")), false),
            ("v=b", "v", StringMatcher::Regex("a|b".parse().expect("good")), true),
        ] {
            assert_eq!(parameter(Some(query), name, &matcher), expected, "{query} {name} {matcher:?}");
        }
        assert!(parameter(None, "v", &StringMatcher::Present(false)));
    }
}
