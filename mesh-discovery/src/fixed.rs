use crate::{Discovery, Updates};
use futures_core::Stream;
use mesh_core::{Address, Endpoints, Target, Update};
use std::{
    collections::HashSet,
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// Endpoints that never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    pub(crate) targets: Vec<Target>,
}

impl Static {
    /// These endpoints, in this order. None at all is allowed: there is nothing to call then.
    ///
    /// # Errors
    /// The first address that is there twice.
    pub fn new(targets: impl IntoIterator<Item = Target>) -> Result<Self, DuplicateAddress> {
        let targets: Vec<Target> = targets.into_iter().collect();
        let mut seen = HashSet::new();
        match targets.iter().position(|target| !seen.insert(&target.address)) {
            Some(index) => Err(DuplicateAddress { address: targets[index].address.clone(), index }),
            None => Ok(Self { targets }),
        }
    }

    /// The endpoints.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The set of them, which needs no driver.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints::fixed(self.targets.iter().cloned())
    }
}

/// One update, and the end.
impl Discovery for Static {
    fn updates(&self) -> Updates {
        Box::pin(Once(Some(Update::Set(self.targets.clone()))))
    }

    fn fixed(&self) -> Option<&[Target]> {
        Some(&self.targets)
    }
}

struct Once(Option<Update>);

impl Stream for Once {
    type Item = Update;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Update>> {
        Poll::Ready(self.0.take())
    }
}

/// An address was given twice. It would be one endpoint, so one of the two descriptions would be ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateAddress {
    /// The address.
    pub address: Address,
    /// The place of the second one in the list, from 0.
    pub index: usize,
}

impl fmt::Display for DuplicateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the address `{}` is given twice", self.address)
    }
}

impl Error for DuplicateAddress {}
