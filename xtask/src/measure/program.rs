//! The program under measurement.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{cargo, output, run, target};
use crate::step::Outcome;

/// Under valgrind a start takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds the release program.
pub(crate) fn build() -> Outcome {
    run(&mut cargo(["build", "--release", "--package", "mesh-bin", "--bin", "mesh"]))
}

/// A port nobody listens on.
pub(crate) fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// Resident memory in KiB.
pub(crate) struct Resident {
    pub(crate) total: u64,
    /// What the process has for itself; the rest are pages of the program and the libraries.
    pub(crate) anonymous: u64,
}

/// The running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    file: PathBuf,
}

impl Program {
    /// Runs a spec, to which an admin listener is added, and waits until it is ready.
    /// `before` is a program and its arguments that runs the program, such as valgrind.
    pub(crate) fn start(before: &[String], spec: &str) -> Result<Program, String> {
        Self::start_with_admin(before, spec, free_port()?)
    }

    /// The same, with the admin listener on this port.
    pub(crate) fn start_with_admin(before: &[String], spec: &str, admin: u16) -> Result<Program, String> {
        // a file of its own: the program follows its changes
        let file = spec_file(admin, &format!("admin: {{ bind: \"127.0.0.1:{admin}\" }}\n{spec}"))?;
        let mesh = target().join("release/mesh");
        let mut command = match before.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&mesh);
                command
            }
            None => Command::new(&mesh),
        };
        let child = command
            .args(["run", "--config"])
            .arg(&file)
            .env("MESH_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let mut program = Program { child, file };
        let start = Instant::now();
        while !ready(admin).unwrap_or(false) {
            if let Ok(Some(status)) = program.child.try_wait() {
                return Err(format!("the program ended before it was ready: {status}\n{spec}"));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("the program is not ready within {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(program)
    }

    /// The file of its spec.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Resident memory.
    pub(crate) fn resident(&self) -> Result<Resident, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
                .ok_or_else(|| format!("{path} has no {name}"))
        };
        Ok(Resident { total: line("VmRSS:")?, anonymous: line("RssAnon:")? })
    }

    /// Ends the program by SIGTERM and waits for its end.
    pub(crate) fn stop(mut self) -> Outcome {
        output(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("after SIGTERM the program ended with {status}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.file);
    }
}

fn spec_file(admin: u16, spec: &str) -> Result<PathBuf, String> {
    let dir = target().join("measure");
    let path = dir.join(format!("mesh-{admin}.yaml"));
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(&path, spec))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn ready(admin: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", admin))?;
    write!(stream, "GET /ready HTTP/1.1\r\nhost: 127.0.0.1:{admin}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
