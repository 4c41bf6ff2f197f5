//! Paths with variables, `/users/{id}/orders`: what a router matches, a redirect fills in, and an attribute shows.

use std::{error::Error, fmt, str::FromStr};

/// A path with variables, compared segment by segment.
///
/// `{name}` stands for one segment that is not empty; `{*name}`, as the last one, for all that is left, slashes
/// included, which may be nothing. Everything else stands for itself. Names are letters, digits, `_` and `-`.
///
/// ```
/// use mesh_core::http::PathTemplate;
///
/// let template: PathTemplate = "/users/{id}/files/{*rest}".parse().unwrap();
/// assert_eq!(template.variable("/users/7/files/a/b", "id"), Some("7"));
/// assert_eq!(template.variable("/users/7/files/a/b", "rest"), Some("a/b"));
/// assert!(!template.matches("/users//files/"));
/// assert!("/users/{id".parse::<PathTemplate>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathTemplate(Box<str>);

/// A segment of a [`PathTemplate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateSegment<'a> {
    /// This text.
    Literal(&'a str),
    /// Any segment that is not empty, by this name.
    Variable(&'a str),
    /// All that is left, by this name.
    Rest(&'a str),
}

/// Why a text is no [`PathTemplate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError(String);

/// More variables than anybody has in a path; a bound for what works with them.
const MAX_VARIABLES: usize = 16;

impl PathTemplate {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, those between the slashes.
    pub fn segments(&self) -> impl Iterator<Item = TemplateSegment<'_>> {
        segments(&self.0)
    }

    /// The names of its variables, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments().filter_map(|segment| match segment {
            TemplateSegment::Literal(_) => None,
            TemplateSegment::Variable(name) | TemplateSegment::Rest(name) => Some(name),
        })
    }

    /// Whether it takes this path.
    pub fn matches(&self, path: &str) -> bool {
        walk(&self.0, path, |_, _| {})
    }

    /// What a variable stands for in a path: a part of it, as it is there, percent signs and all. `None` if the path
    /// does not match, or there is no such variable.
    pub fn variable<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        variable(&self.0, path, name)
    }
}

/// As [`PathTemplate::variable`], of a text that is known to be a template.
pub(super) fn variable<'p>(template: &str, path: &'p str, name: &str) -> Option<&'p str> {
    let mut found = None;
    let matches = walk(template, path, |present, value| {
        if present == name {
            found = Some(value);
        }
    });
    found.filter(|_| matches)
}

fn segments(template: &str) -> impl Iterator<Item = TemplateSegment<'_>> {
    template.get(1..).unwrap_or_default().split('/').map(|segment| {
        match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            None => TemplateSegment::Literal(segment),
            Some(name) => match name.strip_prefix('*') {
                None => TemplateSegment::Variable(name),
                Some(name) => TemplateSegment::Rest(name),
            },
        }
    })
}

/// Shows each variable with its value; whether all of the path fits, which is known only at the end.
fn walk<'t, 'p>(template: &'t str, path: &'p str, mut visit: impl FnMut(&'t str, &'p str)) -> bool {
    let mut rest = path.strip_prefix('/');
    for segment in segments(template) {
        let Some(path) = rest else { return false };
        if let TemplateSegment::Rest(name) = segment {
            visit(name, path);
            return true;
        }
        let (present, next) = match path.split_once('/') {
            Some((present, next)) => (present, Some(next)),
            None => (path, None),
        };
        match segment {
            TemplateSegment::Variable(name) if !present.is_empty() => visit(name, present),
            TemplateSegment::Literal(literal) if literal == present => {}
            _ => return false,
        }
        rest = next;
    }
    rest.is_none()
}

impl FromStr for PathTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let refuse = |why: String| Err(TemplateError(format!("`{text}` is not a path template: {why}")));
        if !text.starts_with('/') {
            return refuse("it begins with a slash".into());
        }
        if text.contains(['?', '#']) {
            return refuse("the query is not part of a path".into());
        }
        let mut names = Vec::new();
        let mut all = text[1..].split('/').zip(segments(text)).peekable();
        while let Some((written, segment)) = all.next() {
            let name = match segment {
                TemplateSegment::Literal(literal) if literal.contains(['{', '}']) => {
                    return refuse(format!("a variable is a whole segment, as in `/users/{{id}}`, not `{written}`"));
                }
                TemplateSegment::Literal(_) => continue,
                TemplateSegment::Variable(name) => name,
                TemplateSegment::Rest(name) if all.peek().is_none() => name,
                TemplateSegment::Rest(_) => {
                    return refuse(format!("`{written}` takes all that is left, so it is last"));
                }
            };
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if name.is_empty() || !name.bytes().all(letter) {
                return refuse(format!("`{written}` has no name of letters, digits, `_` and `-`"));
            }
            if names.contains(&name) {
                return refuse(format!("`{written}` is there twice"));
            }
            names.push(name);
        }
        if names.len() > MAX_VARIABLES {
            return refuse(format!("it has more than {MAX_VARIABLES} variables"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for TemplateError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_segments() {
        let template: PathTemplate = "/users/{id}/orders/{order-id}".parse().unwrap();
        assert_eq!(template.variables().collect::<Vec<_>>(), ["id", "order-id"]);
        let path = "/users/a%20b/orders/7";
        assert_eq!((template.variable(path, "id"), template.variable(path, "order-id")), (Some("a%20b"), Some("7")));
        assert_eq!(template.variable(path, "other"), None);
        for path in
            ["/users/1/orders", "/users/1/orders/", "/users/1/orders/2/", "/users//orders/2", "users/1/orders/2"]
        {
            assert!(!template.matches(path), "{path}");
            assert_eq!(template.variable(path, "id"), None, "{path}");
        }
    }

    #[test]
    fn the_rest_may_be_empty_and_has_slashes() {
        let template: PathTemplate = "/files/{*rest}".parse().unwrap();
        assert_eq!(template.variable("/files/", "rest"), Some(""));
        assert_eq!(template.variable("/files//a/b/", "rest"), Some("/a/b/"));
        assert!(!template.matches("/files"));
        let all: PathTemplate = "/{*all}".parse().unwrap();
        assert!(all.matches("/") && all.matches("/a/b") && !all.matches("*"));
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (text, why) in [
            ("users/{id}", "begins with a slash"),
            ("/users/{id}?x", "query"),
            ("/users/{id", "whole segment"),
            ("/users/id}", "whole segment"),
            ("/users/x{id}", "whole segment"),
            ("/users/{}", "no name"),
            ("/users/{a b}", "no name"),
            ("/{*}", "no name"),
            ("/{*rest}/x", "so it is last"),
            ("/{a}/{a}", "twice"),
        ] {
            let error = text.parse::<PathTemplate>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let many: String = (0..17).map(|number| format!("/{{v{number}}}")).collect();
        assert!(many.parse::<PathTemplate>().is_err());
    }
}
