//! A string of Java's, which may hold what a Rust string cannot.

use super::Text;
use std::{borrow::Cow, fmt};

/// A string of UTF-16 units: usually a text, and then kept as a Rust [`String`]; otherwise, with surrogates that stand
/// alone, as its units.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JavaString(Kept);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kept {
    Text(String),
    /// With a surrogate at least that stands alone.
    Units(Box<[u16]>),
}

impl JavaString {
    /// From UTF-16 units, whichever.
    pub fn from_units(units: &[u16]) -> Self {
        Self(String::from_utf16(units).map_or_else(|_| Kept::Units(units.into()), Kept::Text))
    }

    /// The text; nothing where a surrogate stands alone.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Kept::Text(text) => Some(text),
            Kept::Units(_) => None,
        }
    }

    /// The text, U+FFFD in place of each surrogate that stands alone.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        match &self.0 {
            Kept::Text(text) => Cow::Borrowed(text),
            Kept::Units(units) => Cow::Owned(String::from_utf16_lossy(units)),
        }
    }

    /// The UTF-16 units.
    pub fn units(&self) -> Cow<'_, [u16]> {
        match &self.0 {
            Kept::Text(text) => Cow::Owned(text.encode_utf16().collect()),
            Kept::Units(units) => Cow::Borrowed(units),
        }
    }

    /// The units where it is no text.
    pub(super) fn as_units(&self) -> Result<&str, &[u16]> {
        match &self.0 {
            Kept::Text(text) => Ok(text),
            Kept::Units(units) => Err(units),
        }
    }
}

impl Default for JavaString {
    fn default() -> Self {
        String::new().into()
    }
}

impl From<String> for JavaString {
    fn from(text: String) -> Self {
        Self(Kept::Text(text))
    }
}

impl From<&str> for JavaString {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Text<'_>> for JavaString {
    fn from(text: Text<'_>) -> Self {
        match text.to_str() {
            Some(text) => text.into_owned().into(),
            None => Self::from_units(&text.units().collect::<Vec<_>>()),
        }
    }
}

impl PartialEq<str> for JavaString {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for JavaString {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Debug for JavaString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Text(text) => fmt::Debug::fmt(text, f),
            Kept::Units(units) => write!(f, "{units:04x?}"),
        }
    }
}
