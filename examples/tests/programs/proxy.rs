use crate::support::{
    Program, free_port, http1,
    origin::{Origin, ok},
};
use std::process::Command;

#[test]
fn it_takes_turns() {
    let origins = ["one", "two"].map(|name| Origin::start(move |_| ok(name)));
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxy"));
    command.arg(format!("127.0.0.1:{port}"));
    command.args(origins.iter().map(|origin| format!("127.0.0.1:{}", origin.port)));
    let _proxy = Program::start(&mut command, port, "/");
    let answers: Vec<String> = (0..4).map(|_| http1::get(port, "/").text()).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "one").count(), 2, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| *answer == "two").count(), 2, "{answers:?}");
}

/// The README shows the function as it is.
#[test]
fn the_readme_shows_it() {
    let source = include_str!("../../src/bin/proxy.rs");
    let start = source.find("async fn proxy").expect("the function");
    let end = start + source[start..].find("\n}\n").expect("its end");
    assert!(include_str!("../../../README.md").contains(&source[start..end]));
}
