//! Load balancers as tower services over changing sets of endpoints

mod alias;
mod balance;
#[cfg(feature = "config")]
mod config;
mod error;
mod future;
mod layer;
mod policy;
mod rotation;
mod services;
mod table;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub use balance::Balance;
pub use error::NoEndpoint;
pub use future::BalanceFuture;
pub use layer::BalanceLayer;
pub use policy::Policy;
