//! What a writer writes to.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

pub(super) enum Output {
    Writer(Box<dyn Write + Send>),
    File { path: PathBuf, open: Option<File>, torn: bool },
}

impl Output {
    pub(super) fn writer(writer: impl Write + Send + 'static) -> Self {
        Self::Writer(Box::new(writer))
    }

    pub(super) fn file(path: PathBuf) -> Self {
        Self::File { path, open: None, torn: false }
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Writer(writer) => {
                writer.write_all(lines)?;
                writer.flush()
            }
            Self::File { path, open, torn } => {
                if open.as_ref().is_some_and(|file| !is_at(file, path)) {
                    *open = None;
                }
                let file = match open {
                    Some(file) => file,
                    None => {
                        *torn = false;
                        open.insert(OpenOptions::new().append(true).create(true).open(path)?)
                    }
                };
                // what comes next is no part of a line that was cut off by a full disk
                if *torn {
                    file.write_all(b"\n")?;
                    *torn = false;
                }
                file.write_all(lines).inspect_err(|_| *torn = true)
            }
        }
    }
}

/// Whether the path still leads to this file: rotation renames it, or removes it.
fn is_at(file: &File, path: &std::path::Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => is_same(&open, &there),
        _ => false,
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Where files have no numbers that can be read: a file that is there is taken for the one that is open.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
