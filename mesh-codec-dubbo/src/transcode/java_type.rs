//! The declared type of a parameter, as far as it decides how a value is written.

use std::{fmt, str::FromStr};

/// A Java type as Dubbo's generic calls name it: `int`, `java.lang.String`, `demo.User[]`, `[I`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JavaType {
    name: String,
    kind: Kind,
}

/// How a value of a type is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// As the value itself says: a class, a collection, `java.lang.Object`.
    Any,
    Bool(Null),
    /// A whole number of so many bits.
    Whole(u8, Null),
    Float(Null),
    Char(Null),
    Text,
    /// `java.math.BigDecimal`: text, which is exact.
    Decimal,
    /// `java.math.BigInteger`
    BigWhole,
    Date,
    /// `byte[]`: base64 in JSON.
    Bytes,
    Array(Box<Kind>),
    /// A collection, whose elements have a type that nobody names.
    Collection,
    /// `java.util.Map`
    Map,
}

/// Whether a null is a value of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Null {
    /// Of a primitive type.
    Refused,
    Allowed,
}

/// Why a text names no type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JavaTypeError {
    text: String,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    NoName,
    Generic,
    Void,
    /// A class of this package is meant.
    Package(&'static str),
}

impl JavaType {
    /// As it was written, which is how the call names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a value stands in JSON without quotes.
    pub(super) fn is_plain_in_json(&self) -> bool {
        matches!(self.kind, Kind::Bool(_) | Kind::Whole(..) | Kind::Float(_) | Kind::Decimal | Kind::BigWhole)
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }
}

/// Classes that are often written without their package, which no provider finds.
const PACKAGES: [(&str, &str); 19] = [
    ("BigDecimal", "java.math"),
    ("BigInteger", "java.math"),
    ("Boolean", "java.lang"),
    ("Byte", "java.lang"),
    ("Character", "java.lang"),
    ("Collection", "java.util"),
    ("Date", "java.util"),
    ("Double", "java.lang"),
    ("Float", "java.lang"),
    ("Integer", "java.lang"),
    ("List", "java.util"),
    ("LocalDate", "java.time"),
    ("LocalDateTime", "java.time"),
    ("Long", "java.lang"),
    ("Map", "java.util"),
    ("Object", "java.lang"),
    ("Set", "java.util"),
    ("Short", "java.lang"),
    ("String", "java.lang"),
];

impl FromStr for JavaType {
    type Err = JavaTypeError;

    fn from_str(text: &str) -> Result<Self, JavaTypeError> {
        let kind = parse(text).map_err(|why| JavaTypeError { text: text.to_owned(), why })?;
        Ok(Self { name: text.to_owned(), kind })
    }
}

fn parse(text: &str) -> Result<Kind, Why> {
    if text.contains(['<', '>']) {
        return Err(Why::Generic);
    }
    if let Some(element) = text.strip_suffix("[]") {
        return parse(element).map(array);
    }
    if let Some(element) = text.strip_prefix('[') {
        return descriptor(element).map(array);
    }
    named(text)
}

/// As the virtual machine writes the type of an element.
fn descriptor(text: &str) -> Result<Kind, Why> {
    match text {
        "Z" => named("boolean"),
        "B" => named("byte"),
        "C" => named("char"),
        "D" => named("double"),
        "F" => named("float"),
        "I" => named("int"),
        "J" => named("long"),
        "S" => named("short"),
        _ => match (text.strip_prefix('['), text.strip_prefix('L').and_then(|name| name.strip_suffix(';'))) {
            (Some(element), _) => descriptor(element).map(array),
            (None, Some(name)) => named(&name.replace('/', ".")),
            (None, None) => Err(Why::NoName),
        },
    }
}

fn array(element: Kind) -> Kind {
    match element {
        Kind::Whole(8, Null::Refused) => Kind::Bytes,
        element => Kind::Array(Box::new(element)),
    }
}

fn named(name: &str) -> Result<Kind, Why> {
    Ok(match name {
        "boolean" => Kind::Bool(Null::Refused),
        "byte" => Kind::Whole(8, Null::Refused),
        "short" => Kind::Whole(16, Null::Refused),
        "int" => Kind::Whole(32, Null::Refused),
        "long" => Kind::Whole(64, Null::Refused),
        "float" | "double" => Kind::Float(Null::Refused),
        "char" => Kind::Char(Null::Refused),
        "java.lang.Boolean" => Kind::Bool(Null::Allowed),
        "java.lang.Byte" => Kind::Whole(8, Null::Allowed),
        "java.lang.Short" => Kind::Whole(16, Null::Allowed),
        "java.lang.Integer" => Kind::Whole(32, Null::Allowed),
        "java.lang.Long" => Kind::Whole(64, Null::Allowed),
        "java.lang.Float" | "java.lang.Double" => Kind::Float(Null::Allowed),
        "java.lang.Character" => Kind::Char(Null::Allowed),
        "java.lang.String" | "java.lang.CharSequence" => Kind::Text,
        "java.math.BigDecimal" => Kind::Decimal,
        "java.math.BigInteger" => Kind::BigWhole,
        "java.util.Date" => Kind::Date,
        "java.util.List" | "java.util.Set" | "java.util.Collection" | "java.util.ArrayList" | "java.util.HashSet" => {
            Kind::Collection
        }
        "java.util.Map" | "java.util.HashMap" | "java.util.LinkedHashMap" | "java.util.TreeMap" => Kind::Map,
        "void" => return Err(Why::Void),
        name => {
            if let Some((_, package)) = PACKAGES.iter().find(|(class, _)| *class == name) {
                return Err(Why::Package(package));
            }
            let part = |part: &str| {
                part.chars().next().is_some_and(|first| first.is_alphabetic() || matches!(first, '_' | '$'))
                    && part.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '$'))
            };
            if !name.split('.').all(part) {
                return Err(Why::NoName);
            }
            Kind::Any
        }
    })
}

impl fmt::Display for JavaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for JavaTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        match self.why {
            Why::NoName => write!(f, "`{text}` is not the name of a Java type, such as `int` or `java.lang.String[]`"),
            Why::Generic => {
                write!(f, "`{text}`: types are named without their parameters; did you mean `java.util.List`?")
            }
            Why::Void => write!(f, "`{text}` has no values"),
            Why::Package(package) => {
                write!(f, "`{text}`: no provider finds a class without its package; did you mean `{package}.{text}`?")
            }
        }
    }
}

impl std::error::Error for JavaTypeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types() {
        let kind = |text: &str| text.parse::<JavaType>().map(|java| java.kind);
        assert_eq!(kind("int"), Ok(Kind::Whole(32, Null::Refused)));
        assert_eq!(kind("java.lang.Integer"), Ok(Kind::Whole(32, Null::Allowed)));
        assert_eq!(kind("byte[]"), Ok(Kind::Bytes));
        assert_eq!(kind("[B"), Ok(Kind::Bytes));
        assert_eq!(kind("byte[][]"), Ok(Kind::Array(Box::new(Kind::Bytes))));
        assert_eq!(kind("[[I"), kind("int[][]"));
        assert_eq!(kind("[Ljava.lang.String;"), Ok(Kind::Array(Box::new(Kind::Text))));
        assert_eq!(kind("[Ljava/lang/String;"), Ok(Kind::Array(Box::new(Kind::Text))));
        assert_eq!(kind("demo.User$Inner"), Ok(Kind::Any));
        assert_eq!(kind("demo.User[]"), Ok(Kind::Array(Box::new(Kind::Any))));
    }

    #[test]
    fn what_is_no_type_is_explained() {
        for (text, expected) in [
            ("String", "did you mean `java.lang.String`?"),
            ("Map", "did you mean `java.util.Map`?"),
            ("java.util.List<demo.User>", "without their parameters"),
            ("void", "has no values"),
            ("", "is not the name"),
            ("demo..User", "is not the name"),
            ("[X", "is not the name"),
            ("[Ldemo.User", "is not the name"),
            ("1st", "is not the name"),
        ] {
            let error = text.parse::<JavaType>().expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
