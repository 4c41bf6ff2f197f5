//! `mesh run --config FILE -- APP ARG…`

mod support;

use std::process::{Command, Stdio};
use support::http1::{self, Connection};
use support::{Output, PROGRAM, eventually, free_port, mesh, write_file};

fn config(port: u16) -> String {
    let spec = format!(
        r#"
workers: 1
listeners:
  web:
    bind: "127.0.0.1:{port}"
    routes: [ {{ respond: {{ body: ok }} }} ]
"#
    );
    write_file("mesh.yaml", &spec).to_str().expect("utf-8").to_owned()
}

/// Runs the program with a script of the shell as its application, to the end.
fn beside(port: u16, script: &str, arguments: &[&str]) -> Output {
    let path = config(port);
    let start = ["run", "--config", &path, "--", "sh", "-c", script, "app"];
    mesh(&start.iter().chain(arguments).copied().collect::<Vec<_>>())
}

#[test]
fn it_ends_with_the_application_and_its_code() {
    let port = free_port();
    let output = beside(port, r#"echo "told $1 $2"; exit 7"#, &["--config", "--"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(7), "told --config --\n"), "{}", output.stderr);
    assert!(output.stderr.contains("the application has ended"), "{}", output.stderr);
    assert_eq!(beside(port, "exit 0", &[]).code, Some(0));
    assert_eq!(beside(port, "kill -KILL $$", &[]).code, Some(137));
}

#[test]
fn it_is_ready_when_the_application_starts() {
    // the application asks the sidecar, whose answer it prints: it need not try again
    let port = free_port();
    let script = format!(
        r#"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n' >&3; cat <&3"#
    );
    let path = config(port);
    let output = mesh(&["run", "--config", &path, "--", "bash", "-c", &script]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stdout.starts_with("HTTP/1.1 200") && output.stdout.ends_with("ok"), "{}", output.stdout);
}

#[test]
fn an_application_that_is_not_there() {
    let path = config(free_port());
    let output = mesh(&["run", "--config", &path, "--", "/no/such/program"]);
    assert_eq!(output.code, Some(127), "{}", output.stderr);
    let output = mesh(&["run", "--config", &path, "--", "/etc/passwd"]);
    assert_eq!(output.code, Some(126), "{}", output.stderr);
}

/// A signal goes on to the application, and the sidecar stays until that has ended.
#[test]
fn signals_are_handed_on() {
    let port = free_port();
    let marks = write_file("marks", "");
    let marks = marks.to_str().expect("utf-8");
    // it leaves when it is told to go on, long after the signal
    let script = format!(
        r#"trap 'echo term >>{marks}' TERM; trap 'echo int >>{marks}' INT; echo up >>{marks}
           until grep -q go {marks}; do sleep 0.02; done; exit 3"#
    );
    let mut child = Command::new(PROGRAM)
        .args(["run", "--config", &config(port), "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let read = || std::fs::read_to_string(marks).unwrap_or_default();
    eventually("the application runs", || read().contains("up"));
    for (signal, mark) in [("-TERM", "term"), ("-INT", "int")] {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        eventually(mark, || read().contains(mark));
    }
    assert_eq!(http1::get(port, "/").status, 200, "it is there as long as the application is");
    drop(Connection::open(port).expect("it accepts"));
    std::fs::write(marks, "go").expect("written");
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
}
