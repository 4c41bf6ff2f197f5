//! Is my layer right? The contract that governance layers keep, as tests to run on any tower layer and any gate; and
//! the doubles such tests need.
//!
//! ```
//! use mesh_core::{At, End, Gate, GateLayer, Kind, Rejection, Ticket, Watch};
//! use mesh_test::{Exhaust, Line, contract};
//! use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
//!
//! /// At most so many requests at once.
//! struct AtOnce {
//!     max: AtomicU32,
//!     now: AtomicU32,
//! }
//!
//! impl AtOnce {
//!     fn new(max: u32) -> Self {
//!         Self { max: max.into(), now: 0.into() }
//!     }
//! }
//!
//! impl Watch for AtOnce {
//!     fn on_end(&self, _: Ticket, _: &End<'_>) {
//!         self.now.fetch_sub(1, Relaxed);
//!     }
//! }
//!
//! impl<R> Gate<R> for AtOnce {
//!     fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
//!         let max = self.max.load(Relaxed);
//!         match self.now.fetch_update(Relaxed, Relaxed, |now| (now < max).then_some(now + 1)) {
//!             Ok(_) => Ok(Some(Ticket::default())),
//!             Err(_) => Err(Rejection::new(Kind::Saturated)),
//!         }
//!     }
//! }
//!
//! #[global_allocator]
//! static ALLOCATOR: mesh_test::alloc::Counting = mesh_test::alloc::Counting;
//!
//! // in a test: #[test] fn contract() { .. }
//! contract::gate::<Line, _>(|| AtOnce::new(1000))
//!     .settled(|gate| gate.now.load(Relaxed) == 0) // after every way out
//!     .tight(|| AtOnce::new(1), Exhaust::Call)     // one call, and it refuses
//!     .retune(|gate| gate.max.store(gate.max.load(Relaxed), Relaxed))
//!     .allocations(0)
//!     .check();
//! ```
//!
//! | | |
//! | --- | --- |
//! | [`contract`] | [`contract::layer`] and [`contract::gate`]: the kit |
//! | [`mock`](mod@mock) | a service whose readiness, answers and panics the test decides |
//! | [`Spy`] | a gate that remembers how each request ended |
//! | [`HeldClock`], [`HeldTimer`] | time that goes on when told |
//! | [`alloc`] | allocations, counted |
//! | [`calls`] | services that answer at once, and calls of them: for benches |
//! | [`instructions`] | user instructions, counted by callgrind |
//! | [`mod@line`], [`Line`] | a toy protocol that is not HTTP |
//! | `Http`, `TestBody` (feature `http`) | messages of HTTP, and bodies that are scripted or fed by hand |
//! | `grpc` (feature `tonic`) | a tonic codec of plain bytes, a service of one function, and calls of it |

pub mod alloc;
pub mod calls;
mod clock;
pub mod contract;
#[cfg(feature = "tonic")]
pub mod grpc;
#[cfg(feature = "http")]
mod http;
pub mod instructions;
pub mod line;
mod messages;
pub mod mock;
mod spy;

pub use clock::{HeldClock, HeldTimer, Installed};
pub use contract::{Contract, Exhaust};
#[cfg(feature = "http")]
pub use http::{BodyHandle, Http, Step, TestBody, TestError};
pub use line::Line;
pub use messages::{Messages, Plain};
pub use spy::{Ended, Spy};
