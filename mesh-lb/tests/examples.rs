//! The examples run.

#[path = "../examples/changing_set.rs"]
mod changing_set;

#[test]
fn changing_set() {
    changing_set::main().expect("it runs");
}
