//! Programs under measurement and beside it, each on its cores.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::system;
use crate::command::target;
use crate::measure::{Resident, resident};
use crate::step::Outcome;

const PATIENCE: Duration = Duration::from_secs(15);

/// A program of the release build.
pub(super) fn target_program(name: &str) -> String {
    target().join("release").join(name).display().to_string()
}

/// A folder of its own for a program's files.
pub(super) fn folder(name: &str) -> PathBuf {
    target().join("compare").join(name)
}

/// Makes the folders, and the files that endpoints answer with.
pub(super) fn make_folders() -> Outcome {
    let www = folder("origin").join("www");
    let body = |bytes: usize| "0123456789abcdef".repeat(bytes / 16);
    fs::create_dir_all(folder("nginx"))
        .and_then(|()| fs::create_dir_all(&www))
        .and_then(|()| fs::write(www.join("small"), body(128)))
        .and_then(|()| fs::write(www.join("large"), body(16 * 1024)))
        .map_err(|error| format!("{}: {error}", www.display()))
}

/// A command that keeps to these cores, and may open as many descriptors as this process could. Both programs before it
/// end in what they run: it has the process id.
pub(super) fn pinned(program: &str, cores: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores, "prlimit", &format!("--nofile={0}:{0}", system::descriptors()), program]);
    command
}

/// A running program; killed when dropped.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts it and waits until it listens on this port. What it prints goes to `NAME.log` in its folder.
    pub(super) fn start(name: &str, words: &[String], cores: &str, port: u16) -> Result<Process, String> {
        let (program, arguments) = words.split_first().ok_or("no program")?;
        let path = folder("log").join(format!("{name}.log"));
        let log = fs::create_dir_all(folder("log"))
            .and_then(|()| fs::File::create(&path))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let child = pinned(program, cores)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let mut process = Process { child };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(&path).unwrap_or_default();
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(format!("{name} ended at its start, {status}:\n{}", log()));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("{name} does not listen on {port} within {PATIENCE:?}:\n{}", log()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Processor time used, in seconds.
    pub(super) fn processor_time(&self) -> Result<f64, String> {
        system::processor_time(self.child.id())
    }

    /// Resident memory.
    pub(super) fn resident(&self) -> Result<Resident, String> {
        resident(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
