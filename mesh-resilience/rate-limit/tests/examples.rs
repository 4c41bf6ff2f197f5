//! The examples run.

#[path = "../examples/paced_client.rs"]
mod paced_client;

#[test]
fn paced_client() {
    paced_client::main().expect("it runs");
}
