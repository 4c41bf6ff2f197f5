//! How many file descriptors the process may have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of file descriptors (`RLIMIT_NOFILE`) to the hard one, and gives the limit that is then in
/// force. Systems set the soft one low, often 1024, for programs that use `select`; who does not is meant to raise it.
///
/// Processes that are started from now on inherit it.
///
/// # Errors
/// The kernel refuses, which it has no reason to.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(descriptor_limit())
}

/// The soft limit of file descriptors; [`usize::MAX`] where there is none.
pub fn descriptor_limit() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
