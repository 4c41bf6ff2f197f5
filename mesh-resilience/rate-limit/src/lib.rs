//! Exact lock-free token-bucket rate limiting (GCRA) as a tower layer

mod policy;
mod quota;
mod sync;

#[cfg(test)]
mod tests;

pub use policy::{Decision, Gcra, Room};
pub use quota::Quota;
