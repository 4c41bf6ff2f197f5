//! Listening on a Unix socket: its file, and who may have it.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// How long somebody else may be busy with the directory.
const PATIENCE: Duration = Duration::from_secs(2);

/// A Unix socket that listens. Made by [`ListenOptions::bind_unix`](crate::ListenOptions::bind_unix). Dropping it, or
/// the acceptor it is given to, removes its file, unless another has been put in its place.
#[derive(Debug)]
pub struct UnixSocket {
    pub(crate) listener: UnixListener,
    pub(crate) file: SocketFile,
}

impl UnixSocket {
    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

/// The file of a socket of ours, removed at the end.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // without the lock a file that another process has just made could be removed
        let _lock = lock_directory(&self.path);
        if fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the file of a socket could not be removed");
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

pub(crate) fn bind(path: &Path, mode: u32, backlog: i32) -> io::Result<UnixSocket> {
    let address = SockAddr::unix(path)?;
    // held until the socket listens: a second process that starts at once must not take ours for a stale one
    let _lock = lock_directory(path)?;
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&address)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(&fs::symlink_metadata(path)?) };
    // nobody can connect before it listens, so that the mode is never wider than it is meant to be
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    Ok(UnixSocket { listener: socket.into(), file })
}

/// Removes the file that a process left which did not come to its end. Never anything but a socket, nor one that
/// somebody listens on.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is not a socket"));
    }
    // of any type: `EPROTOTYPE` says that somebody holds it, too
    match Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing the socket of a process that is gone");
            fs::remove_file(path)
        }
        // taken, though its queue may be full or its mode forbid us
        _ => Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there")),
    }
}

/// Keeps other processes that use this function out of the directory for as long as the file lives.
fn lock_directory(path: &Path) -> io::Result<File> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = File::open(directory)?;
    let start = Instant::now();
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(ErrorKind::ResourceBusy, "another process keeps its directory locked"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
