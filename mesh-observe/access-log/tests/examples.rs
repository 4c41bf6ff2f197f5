//! The examples run.

#[path = "../examples/only_errors.rs"]
mod only_errors;

#[test]
fn only_errors() {
    only_errors::main().expect("it runs");
}
