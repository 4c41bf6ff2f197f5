use mesh_net::BindError;
use std::{fmt, io};

/// Why an engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener's address cannot be had.
    Bind {
        /// The listener.
        listener: String,
        /// Why.
        source: BindError,
    },
    /// A worker could not be started.
    Worker(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { listener, source } => write!(f, "listener `{listener}`: {source}"),
            Self::Worker(error) => write!(f, "a worker could not be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } => Some(source),
            Self::Worker(error) => Some(error),
        }
    }
}

/// Why a plan was not taken in place of the running one, which goes on as it was.
#[derive(Debug)]
pub enum ReloadError {
    /// The address of a listener that is new, or has another one, cannot be had.
    Bind {
        /// The listener.
        listener: String,
        /// Why.
        source: BindError,
    },
    /// It changes what cannot change while the program runs.
    Fixed {
        /// The key of the spec: `workers` or `admin`.
        key: &'static str,
    },
    /// The program is ending.
    Draining,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { listener, source } => write!(f, "listener `{listener}`: {source}"),
            Self::Fixed { key } => write!(f, "`{key}` cannot change while the program runs: that needs a restart"),
            Self::Draining => f.write_str("the program is ending"),
        }
    }
}

impl std::error::Error for ReloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } => Some(source),
            Self::Fixed { .. } | Self::Draining => None,
        }
    }
}
