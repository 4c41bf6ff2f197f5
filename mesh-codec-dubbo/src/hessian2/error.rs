//! What can be wrong with a stream.

use std::fmt;

/// A stream that cannot be read: what is wrong, where, and the tag of the value there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    offset: usize,
    tag: Option<u8>,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It ends within a value, or an announced count is larger than what is left of it.
    Truncated,
    /// A tag that is reserved, or not of what has to stand here.
    Unexpected {
        /// What has to stand here.
        expected: &'static str,
    },
    /// A string with a byte that begins or continues no character.
    Text,
    /// A negative length or count.
    Negative,
    /// A reference to a container that has not been opened before.
    Reference,
    /// An object of a class that has not been defined before.
    Class,
    /// A type that has not been named before.
    Type,
    /// Bytes behind the last value.
    Trailing,
    /// More than the reader's [`Limits`](super::Limits) allow.
    Limit(Limit),
}

/// Which of the [`Limits`](super::Limits) has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Bytes of the stream.
    Total,
    /// Units of a string, bytes of a binary.
    Length,
    /// Containers within one another.
    Depth,
    /// Values of the stream.
    Values,
    /// Class definitions or types of the stream.
    Definitions,
}

impl Error {
    pub(crate) const fn new(kind: ErrorKind, offset: usize, tag: Option<u8>) -> Self {
        Self { kind, offset, tag }
    }

    /// What is wrong.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where, in bytes from the start of the stream: the tag of the value that cannot be read, or the byte within it.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The byte at [`offset`](Self::offset); none at the end of the stream.
    pub const fn tag(&self) -> Option<u8> {
        self.tag
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the stream ends too early"),
            Self::Unexpected { expected } => write!(f, "expected {expected}"),
            Self::Text => f.write_str("not the encoding of a character"),
            Self::Negative => f.write_str("a negative length"),
            Self::Reference => f.write_str("a reference to nothing before it"),
            Self::Class => f.write_str("a class that is not defined"),
            Self::Type => f.write_str("a type that is not named before"),
            Self::Trailing => f.write_str("bytes behind the last value"),
            Self::Limit(limit) => write!(f, "more than the limit of {limit}"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "bytes",
            Self::Length => "the length of a string or binary",
            Self::Depth => "the depth of containers",
            Self::Values => "values",
            Self::Definitions => "definitions",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at offset {}", self.kind, self.offset)?;
        self.tag.map_or(Ok(()), |tag| write!(f, " (byte 0x{tag:02x})"))
    }
}

impl std::error::Error for Error {}
