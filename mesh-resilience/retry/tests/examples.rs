//! The examples run.
#![allow(missing_docs)]

#[path = "../examples/flaky.rs"]
mod flaky;

#[test]
fn flaky() {
    flaky::main().expect("it runs");
}
