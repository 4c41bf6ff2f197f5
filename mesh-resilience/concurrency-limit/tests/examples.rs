//! The examples run.

#[path = "../examples/batch_job.rs"]
mod batch_job;

#[test]
fn batch_job() {
    batch_job::main().expect("it runs");
}
