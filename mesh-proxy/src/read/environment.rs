//! References to the environment inside a scalar.

use super::{Environment, MAX_EXPANDED};

/// What is wrong with a reference.
pub(super) struct Fault {
    /// The reference as it stands in the scalar, as far as it could be read: to find it in the file.
    pub(super) reference: String,
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

/// Expands the references in `text`; `None` where there is nothing to do.
///
/// `$$` is a dollar, `${NAME}` the variable, `${NAME:-default}` the variable or, where it is unset
/// or empty, the text after `:-`, in which `$$` is a dollar too. A `$` before anything else is itself.
/// `left` is what may still be expanded to, in bytes.
pub(super) fn expand(text: &str, env: Environment<'_>, left: &mut usize) -> Result<Option<String>, Vec<Fault>> {
    if !text.contains("$$") && !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if rest.starts_with("$$") {
            expanded.push('$');
            rest = &rest[2..];
        } else if rest.starts_with("${") {
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            let (reference, after) = rest.split_at(end);
            rest = after;
            match resolve(reference, env) {
                Ok(value) => match left.checked_sub(value.len()) {
                    Some(less) => {
                        *left = less;
                        expanded.push_str(&value);
                    }
                    None => {
                        faults.push(Fault {
                            reference: reference.to_owned(),
                            message: format!("the environment expands to more than {} MiB", MAX_EXPANDED >> 20),
                            suggestion: None,
                        });
                        break;
                    }
                },
                Err(fault) => faults.push(fault),
            }
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded.push_str(rest);
    if faults.is_empty() { Ok(Some(expanded)) } else { Err(faults) }
}

/// The value of one reference, `${…}`.
fn resolve(reference: &str, env: Environment<'_>) -> Result<String, Fault> {
    let fault = |message: String, suggestion: String| Fault {
        reference: reference.to_owned(),
        message,
        suggestion: Some(suggestion),
    };
    let Some(inner) = reference.strip_prefix("${").and_then(|inner| inner.strip_suffix('}')) else {
        return Err(fault(
            "a reference to the environment that does not end".to_owned(),
            "end it with `}`, or write `$${` for the text `${`".to_owned(),
        ));
    };
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !named {
        return Err(fault(
            format!("`{name}` is not a name of an environment variable"),
            "write `${NAME}` or `${NAME:-default}`, or `$${` for the text `${`".to_owned(),
        ));
    }
    if default.is_some_and(|default| default.replace("$$", "").contains("${")) {
        return Err(fault(
            format!("the default of `{name}` refers to the environment itself"),
            "a default is a text as it is".to_owned(),
        ));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.replace("$$", "$")),
        (None, None) => Err(fault(
            format!("the environment variable `{name}` is not set"),
            format!("set it, or give a default: `${{{name}:-default}}`"),
        )),
    }
}
