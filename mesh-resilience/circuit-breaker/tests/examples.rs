//! The examples run.

#[path = "../examples/flaky_server.rs"]
mod flaky_server;

#[test]
fn flaky_server() {
    flaky_server::main().expect("it runs");
}
