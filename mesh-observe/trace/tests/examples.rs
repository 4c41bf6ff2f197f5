//! The examples run.

#[path = "../examples/joined_spans.rs"]
mod joined_spans;

#[test]
fn joined_spans() {
    joined_spans::main().expect("it runs");
}
