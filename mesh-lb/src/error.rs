use crate::table::Table;
use std::{error::Error, fmt};

/// Why there was no endpoint to call: the source of the [`Rejection`](mesh_core::Rejection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoEndpoint {
    /// Discovery has not said anything in the time it had for its first result.
    Unresolved,
    /// Discovery says that there are none.
    Empty,
    /// There are some, and something speaks against each of them; see [`Health`](mesh_core::Health).
    NoneEligible {
        /// How many there are.
        endpoints: usize,
    },
}

impl NoEndpoint {
    /// Why nothing could be picked from this table.
    pub(crate) fn of(table: &Table) -> Self {
        match table.len() {
            0 => NoEndpoint::Empty,
            endpoints => NoEndpoint::NoneEligible { endpoints },
        }
    }
}

impl fmt::Display for NoEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoEndpoint::Unresolved => f.write_str("discovery has not given a result yet"),
            NoEndpoint::Empty => f.write_str("discovery gives no endpoints"),
            NoEndpoint::NoneEligible { endpoints } => write!(f, "none of {endpoints} endpoints is eligible"),
        }
    }
}

impl Error for NoEndpoint {}
