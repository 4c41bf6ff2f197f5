use crate::support::{Program, free_port, http1};
use std::process::Command;

#[test]
fn refusals_are_answers_and_are_counted() {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_axum_router"));
    let _program = Program::start(command.arg(format!("127.0.0.1:{port}")), port, "/metrics");

    let answer = http1::get(port, "/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello\n"));
    let late = http1::get(port, "/slow");
    assert_eq!((late.status, late.head.get("x-mesh-rejected-by")), (504, Some("timeout")));
    let refused = http1::get(port, "/");
    assert_eq!((refused.status, refused.head.get("x-mesh-rejected-by")), (429, Some("rate_limit")));
    assert!(refused.head.get("retry-after").is_some());

    let metrics = http1::get(port, "/metrics").text();
    for outcome in ["success", "timed_out", "rejected"] {
        let series = metrics
            .lines()
            .find(|line| line.starts_with("mesh_requests_total{") && line.contains(&format!("outcome=\"{outcome}\"")));
        assert!(series.is_some_and(|series| series.ends_with(" 1")), "{outcome} in\n{metrics}");
    }
}
