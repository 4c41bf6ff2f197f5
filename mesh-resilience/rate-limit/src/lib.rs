//! Exact lock-free token-bucket rate limiting (GCRA) as a tower layer

#[cfg(feature = "config")]
mod config;
mod gate;
mod layer;
mod policy;
mod quota;
mod settings;
mod sync;

#[cfg(test)]
mod tests;

#[cfg(feature = "config")]
pub use config::register;
pub use gate::RateLimit;
pub use layer::{RateLimitLayer, RateLimitPerService};
pub use policy::{Decision, Gcra, Room};
pub use quota::Quota;
pub use settings::RateLimitSettings;
