//! Where in a request over HTTP an argument comes from.

use std::{borrow::Cow, fmt, str::FromStr};

/// `from` of a parameter
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// `path.NAME`: a variable of the route's template.
    Path(String),
    /// `query.NAME`: a parameter of the query; several are a list.
    Query(String),
    /// `header.NAME`: a header field.
    Header(String),
    /// `cookie.NAME`: a cookie.
    Cookie(String),
    /// `body`, or `body.a.b`: the body, or a field in it.
    Body(Vec<String>),
    /// `const`: what the mapping says.
    Const,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once('.').map_or((text, None), |(kind, name)| (kind, Some(name)));
        let named = |make: fn(String) -> Source| match name {
            Some(name) if !name.is_empty() => Ok(make(name.to_owned())),
            _ => Err(format!("`{text}`: a name is missing, as in `{kind}.id`")),
        };
        match kind {
            "path" => named(Source::Path),
            "query" => named(Source::Query),
            "header" => named(|name| Source::Header(name.to_ascii_lowercase())),
            "cookie" => named(Source::Cookie),
            "body" => {
                let fields: Vec<String> = name.iter().flat_map(|name| name.split('.')).map(str::to_owned).collect();
                if fields.iter().any(String::is_empty) {
                    return Err(format!("`{text}`: a field has no name"));
                }
                Ok(Source::Body(fields))
            }
            "const" if name.is_none() => Ok(Source::Const),
            _ => Err(format!(
                "`{text}` is no source: expected `path.NAME`, `query.NAME`, `header.NAME`, `cookie.NAME`, `body`, \
                 `body.FIELD` or `const`"
            )),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Cookie(name) => write!(f, "cookie.{name}"),
            Self::Body(fields) => {
                f.write_str("body")?;
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            Self::Const => f.write_str("const"),
        }
    }
}

/// The values of a parameter of a query, decoded: `%20` and `+` are a space. A `%` that begins no escape stands for
/// itself.
pub(super) fn parameters<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key, true) == name).then(|| decoded(value, true).into_owned())
    })
}

/// A variable of a path, decoded.
pub(super) fn segment(text: &str) -> Cow<'_, str> {
    decoded(text, false)
}

/// Bytes that are no UTF-8 become U+FFFD.
fn decoded(text: &str, plus: bool) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (byte, after) {
            (b'+', _) if plus => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    (high * 16 + low) as u8
                }
                _ => b'%',
            },
            _ => byte,
        });
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of a cookie among the fields of that name.
pub(super) fn cookie<'a>(fields: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    fields.flat_map(|field| field.split(';')).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_written_as_they_are_read() {
        for text in ["path.id", "query.q", "header.x-a", "cookie.c", "body", "body.a.b", "const"] {
            assert_eq!(text.parse::<Source>().expect(text).to_string(), text);
        }
        for text in ["", "path", "path.", "body.", "body.a..b", "const.x", "form.x"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(parameters("a=1&b=x%20y+z&a=%3", "a").collect::<Vec<_>>(), ["1", "%3"]);
        assert_eq!(parameters("a=1&b=x%20y+z", "b").collect::<Vec<_>>(), ["x y z"]);
        assert_eq!(segment("a+b%2f%C3%A4"), "a+b/ä");
        assert_eq!(cookie(["a=1; b=\"2\"", "c=3"].into_iter(), "b"), Some("2"));
        assert_eq!(cookie(["a=1"].into_iter(), "b"), None);
    }
}
