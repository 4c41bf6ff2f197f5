//! The examples run.
#![allow(missing_docs)]

#[path = "../examples/slow_handler.rs"]
mod slow_handler;

#[test]
fn slow_handler() {
    slow_handler::main().expect("it runs");
}
