//! Unix sockets on every side of the program.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use support::{Mesh, PATIENCE, eventually, free_port, mesh, write_file};

/// A directory of this test's own, near enough for the path of a socket to fit.
fn directory(test: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("mesh-bin-{}-{test}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

/// One exchange over a Unix socket, to the end of the connection.
fn exchange(path: &Path, request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

/// An upstream on a Unix socket that answers with the head it got.
fn echo(path: &Path) {
    let listener = UnixListener::bind(path).expect("a free path");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
            });
        }
    });
}

#[test]
fn a_listener_an_upstream_and_admin() {
    let directory = directory("all");
    let [web, app, admin] = ["web", "app", "admin"].map(|name| directory.join(name));
    echo(&app);
    let port = free_port();
    let mut mesh = Mesh::spawn(
        &format!(
            r#"
workers: 2
admin: {{ bind: "unix:{}" }}
listeners:
  web:
    bind: {{ address: "unix:{}", mode: "0660" }}
    routes: [ {{ cluster: app }} ]
  tcp:
    bind: "127.0.0.1:{port}"
    routes: [ {{ cluster: app }} ]
clusters:
  app: {{ discovery: {{ static: [ "unix:{}" ] }} }}
"#,
            admin.display(),
            web.display(),
            app.display()
        ),
        0,
    );
    eventually("the admin listener answers", || {
        exchange(&admin, &GET.replace("/ ", "/ready ")).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    assert_eq!(fs::metadata(&web).expect("there").permissions().mode() & 0o777, 0o660);
    assert_eq!(fs::metadata(&admin).expect("there").permissions().mode() & 0o777, 0o600);

    // the peer of a Unix socket has no address to append
    let answer = exchange(&web, GET).expect("an answer");
    assert!(answer.contains("GET / HTTP/1.1") && answer.contains("host: a.test"), "{answer}");
    assert!(answer.contains("x-request-id: ") && !answer.contains("x-forwarded"), "{answer}");
    let answer = support::http1::get(port, "/").text();
    assert!(answer.contains("x-forwarded-for: 127.0.0.1"), "{answer}");

    mesh.terminate();
    assert!(mesh.wait().success());
    assert!(!web.exists() && !admin.exists() && app.exists());
}

#[test]
fn a_killed_program_leaves_a_file_that_the_next_replaces() {
    let path = directory("killed").join("web");
    let spec = format!(
        "listeners: {{ web: {{ bind: \"unix:{}\", routes: [ {{ respond: {{ body: here }} }} ] }} }}\n",
        path.display()
    );
    let first = Mesh::start(&spec);
    assert!(exchange(&path, GET).expect("an answer").ends_with("here"));

    // while one runs another is refused
    let file = write_file("mesh.yaml", &spec);
    let second = mesh(&["run", "--config", file.to_str().expect("utf-8")]);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(
        second.stderr.contains("listener `web`") && second.stderr.contains("somebody listens"),
        "{}",
        second.stderr
    );
    assert!(exchange(&path, GET).expect("an answer").ends_with("here"));

    drop(first); // SIGKILL
    assert!(path.exists());
    let next = Mesh::start(&spec);
    assert!(exchange(&path, GET).expect("an answer").ends_with("here"));
    next.stop();
    assert!(!path.exists());
}

#[test]
fn an_upstream_that_is_not_there_yet_is_a_502() {
    let path = directory("late").join("app");
    let port = free_port();
    let mesh = Mesh::start(&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:{port}, routes: [ {{ cluster: app }} ] }} }}\n\
         clusters: {{ app: {{ discovery: {{ static: [ \"unix:{}\" ] }} }} }}\n",
        path.display()
    ));
    assert_eq!(support::http1::get(port, "/").status, 502);
    echo(&path);
    assert_eq!(support::http1::get(port, "/").status, 200);
    mesh.stop();
}
