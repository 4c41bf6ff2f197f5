use std::{error::Error, fmt, time::Duration};
use tonic::{Status, transport};

/// Why a call of etcd came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection, or it was lost.
    Transport(transport::Error),
    /// The server said so, or the call broke.
    Status(Status),
    /// The server said so inside an answer.
    Refused(String),
    /// No answer within this time.
    Silent(Duration),
    /// The server ended a stream.
    Ended,
    /// The lease has run out, or nobody knows it any more.
    Lost,
    /// The server answered what no etcd answers.
    Wrong(&'static str),
}

impl From<transport::Error> for Failure {
    fn from(error: transport::Error) -> Self {
        Self::Transport(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Transport(error) => {
                write!(f, "{error}")?;
                causes(error, f)
            }
            Failure::Status(status) => {
                write!(f, "{} ({:?})", status.message(), status.code())?;
                causes(status, f)
            }
            Failure::Refused(reason) => write!(f, "refused: {reason}"),
            Failure::Silent(limit) => write!(f, "no answer within {limit:?}"),
            Failure::Ended => f.write_str("the server ended the stream"),
            Failure::Lost => f.write_str("the lease is lost"),
            Failure::Wrong(what) => write!(f, "{what}"),
        }
    }
}

/// tonic's errors tell the reason only in their sources.
fn causes(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut next = error.source();
    while let Some(cause) = next {
        write!(f, ": {cause}")?;
        next = cause.source();
    }
    Ok(())
}
