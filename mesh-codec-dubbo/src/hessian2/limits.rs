//! What a stream may ask of its reader.

/// Bounds on what is read, for streams from peers that are not trusted.
///
/// Lengths that a stream announces are never trusted beyond these: a count larger than the bytes that are left is an
/// error at once, and nothing is reserved for what has not been seen.
///
/// | limit | [`Limits::WALK`] | [`Limits::DECODE`], the default | counts |
/// | --- | --- | --- | --- |
/// | `total` | 4 GiB − 1 | 64 MiB | bytes of the stream |
/// | `length` | 2³¹ − 1 | 16 Mi | UTF-16 units of a string, bytes of a binary |
/// | `depth` | 16,384 | 512 | containers within one another |
/// | `values` | 2³² − 1 | 1,048,576 | values, keys and fields, and what class definitions name |
/// | `definitions` | 65,536 | 65,536 | classes and types, each |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a stream; what lies beyond is not read. More than 4 GiB − 1 is taken as that.
    pub total: usize,
    /// UTF-16 units of a string and bytes of a binary, all chunks together.
    pub length: usize,
    /// Containers within one another. A value is made, compared and dropped by recursion: a larger
    /// limit for decoding needs a larger stack, some 500 bytes for each in a release build.
    pub depth: usize,
    /// Values of a stream, those of containers included, and the names of fields in class definitions.
    pub values: u32,
    /// Class definitions, and types of lists and maps, of a stream.
    pub definitions: u32,
}

impl Limits {
    /// For passing over values: that takes four bytes for each container that is open, and twelve for each definition.
    pub const WALK: Self = Self {
        total: u32::MAX as usize,
        length: i32::MAX as usize,
        depth: 16_384,
        values: u32::MAX,
        definitions: 65_536,
    };

    /// For values in memory: up to 80 bytes for each, and the bytes of strings and binaries.
    pub const DECODE: Self =
        Self { total: 64 << 20, length: 16 << 20, depth: 512, values: 1 << 20, definitions: 65_536 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DECODE
    }
}
