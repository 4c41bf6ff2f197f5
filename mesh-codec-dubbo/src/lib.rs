//! Dubbo2 and Hessian2 for proxies, servers and clients.
//!
//! [`hessian2`] is the serialization: bytes to values and back, and past values without a look at them.

pub mod hessian2;
