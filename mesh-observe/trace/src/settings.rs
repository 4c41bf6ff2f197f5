//! What the builder fills and a spec is read into.

use crate::{Parent, Propagation};
use mesh_core::units::Ratio;
use std::{error::Error, fmt};

/// The settings of tracing.
///
/// In a spec (feature `config`) a mapping, or as a shorthand the ratio alone: `{ sample: 5%, propagate: [b3, w3c] }`,
/// `5%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// The part of the traces that begin here which is recorded: 0 % to 100 %, to 1 ppm. Default 1 %.
    pub sample: Ratio,
    /// What a caller's decision counts for. Default: it is followed.
    pub parent: Parent,
    /// The headers that are read, the first that are there and valid; none twice, at least one. Default: `w3c`, `b3`,
    /// `b3_multi`.
    pub propagate: Vec<Propagation>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            sample: const { Ratio::from_ppm(10_000).unwrap() },
            parent: Parent::Follow,
            propagate: vec![Propagation::W3c, Propagation::B3, Propagation::B3Multi],
        }
    }
}

impl TraceSettings {
    /// The defaults with this ratio.
    pub fn new(sample: Ratio) -> Self {
        Self { sample, ..Self::default() }
    }

    /// Looks at the settings.
    ///
    /// # Errors
    /// No headers to read, or some twice.
    pub fn check(&self) -> Result<(), TraceSettingsError> {
        let mut rest = &self.propagate[..];
        if rest.is_empty() {
            return Err(TraceSettingsError::NoPropagation);
        }
        while let Some((first, others)) = rest.split_first() {
            if others.contains(first) {
                return Err(TraceSettingsError::Twice(*first));
            }
            rest = others;
        }
        Ok(())
    }
}

/// What is wrong with [`TraceSettings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceSettingsError {
    /// There are no headers to read.
    NoPropagation,
    /// These are there twice.
    Twice(Propagation),
}

impl fmt::Display for TraceSettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPropagation => f.write_str("no headers to read: expected at least one of `w3c`, `b3`, `b3_multi`"),
            Self::Twice(one) => write!(f, "`{}` is there twice", one.as_str()),
        }
    }
}

impl Error for TraceSettingsError {}
