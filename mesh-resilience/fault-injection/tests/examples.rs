//! The examples run.

#[path = "../examples/rehearsal.rs"]
mod rehearsal;

#[test]
fn rehearsal() {
    rehearsal::main().expect("it runs");
}
