//! Where endpoints listen, by their numbers: what a log says of a request that carries only the number.

use crate::{Address, EndpointId};
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

static LIVE: RwLock<BTreeMap<EndpointId, Address>> = RwLock::new(BTreeMap::new());

/// Keeps an endpoint's address findable until it is dropped.
#[derive(Debug)]
pub(crate) struct Live(EndpointId);

impl Live {
    pub(crate) fn new(id: EndpointId, address: Address) -> Self {
        LIVE.write().unwrap_or_else(PoisonError::into_inner).insert(id, address);
        Self(id)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.write().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl EndpointId {
    /// Shows where the endpoint of this number listens; `None` when nobody holds the endpoint any more. Takes a read
    /// lock that is written only when endpoints come and go: for logs, not for the choice of an endpoint.
    pub fn with_address<T>(self, look: impl FnOnce(&Address) -> T) -> Option<T> {
        LIVE.read().unwrap_or_else(PoisonError::into_inner).get(&self).map(look)
    }
}
