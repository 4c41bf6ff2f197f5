//! The examples run.

#[path = "../examples/changing_set.rs"]
mod changing_set;
#[path = "../examples/two_choices.rs"]
mod two_choices;

#[test]
fn changing_set() {
    changing_set::main().expect("it runs");
}

#[test]
fn two_choices() {
    two_choices::main().expect("it runs");
}
