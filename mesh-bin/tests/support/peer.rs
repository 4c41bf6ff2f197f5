//! Programs of others, as clients and as servers.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The sentence that every missing peer gives.
pub const MISSING: &str = "is missing: run `cargo xtask test`, which installs the peers";

/// A program on the path, such as `curl`.
pub fn program(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    assert!(env::split_paths(&path).any(|dir| dir.join(name).is_file()), "{name} {MISSING}");
    Command::new(name)
}

/// A program among the peers that were installed, if it is.
pub fn installed(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers").join(path);
    path.is_file().then_some(path)
}

/// One of the Python peers in `tests/peers`.
pub fn script(name: &str) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../target/peers/venv/bin/python");
    assert!(python.is_file(), "{} {MISSING}", python.display());
    let script: PathBuf = here.join("tests/peers").join(name);
    let mut command = Command::new(python);
    command.arg(script);
    command
}

/// Runs a client to its end, which has to be good, and gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the peer runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}

/// A Python server; it ends with its input when this is dropped.
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    pub port: u16,
}

impl Server {
    /// Starts one of the scripts, which prints its port on the first line.
    pub fn start(name: &str) -> Server {
        let mut child = script(name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the peer starts");
        let input = child.stdin.take();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("the peer's first line");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("{name} printed {line:?}"));
        Server { child, input, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
