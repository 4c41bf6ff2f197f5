//! The examples run.
#![allow(missing_docs)]

#[path = "../examples/scrape.rs"]
mod scrape;

#[test]
fn scrape() {
    scrape::main().expect("it runs");
}
