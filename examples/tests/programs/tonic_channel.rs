use std::process::Command;

#[test]
fn refusals_are_statuses() {
    let output = Command::new(env!("CARGO_BIN_EXE_tonic_channel")).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "/demo.Echo/Say: hello",
        "/demo.Echo/Sleep: DeadlineExceeded, timeout",
        "/demo.Echo/Say: ResourceExhausted, rate_limited",
        "/demo.Echo/Say: answered, the limit is off",
    ];
    assert_eq!(lines, expected);
}
