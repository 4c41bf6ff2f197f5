//! Runs the real program as a black box: a spec in, sockets out.
//!
//! Everything here is std only, so that no bug of a library the program uses can hide in its tests.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod http1;
pub mod origin;
pub mod peer;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that is to happen at all. Generous: machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mesh");

/// A port nobody listens on.
///
/// Taken from below the range that the system draws outgoing ports from, and never twice, so that
/// no connection of another test takes it before the program binds it.
pub fn free_port() -> u16 {
    const FIRST: u16 = 16_000;
    const COUNT: u16 = 16_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time start at different places.
    let start = (std::process::id() as u16).wrapping_mul(61);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Polls until the condition holds; the name is what the failure says.
pub fn eventually(name: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {name}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A file of this name in a directory of this test process.
pub fn write_file(name: &str, text: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory for the test");
    let path = dir.join(name);
    fs::write(&path, text).expect("a file for the test");
    path
}

/// What a command of the program gave back.
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command of the program to its end.
pub fn mesh(arguments: &[&str]) -> Output {
    let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().expect("the program runs");
    Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The running program. Killed when dropped; its output is shown when the test fails.
pub struct Mesh {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
    /// The file of its spec.
    pub file: PathBuf,
    /// The port of its admin listener.
    pub admin: u16,
}

impl Mesh {
    /// Runs a spec, to which an admin listener is added, and waits until it is ready.
    pub fn start(spec: &str) -> Mesh {
        let admin = free_port();
        Mesh::start_whole(&format!("admin: {{ bind: \"127.0.0.1:{admin}\" }}\n{spec}"), admin)
    }

    /// Runs a spec whose admin listener has this port, and waits until it is ready.
    pub fn start_whole(spec: &str, admin: u16) -> Mesh {
        Mesh::start_file(write_file("mesh.yaml", spec), admin)
    }

    /// Runs the spec in a file, whose admin listener has this port, and waits until it is ready.
    pub fn start_file(file: PathBuf, admin: u16) -> Mesh {
        Mesh::spawn_by(Command::new(PROGRAM), file, admin).until_ready()
    }

    /// As [`Mesh::start`], in a process that can have so many file descriptors.
    pub fn start_with_descriptors(spec: &str, limit: u32) -> Mesh {
        let admin = free_port();
        let spec = format!("admin: {{ bind: \"127.0.0.1:{admin}\" }}\n{spec}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {limit} && exec \"$@\""), "sh", PROGRAM]);
        Mesh::spawn_by(shell, write_file("mesh.yaml", &spec), admin).until_ready()
    }

    fn until_ready(mut self) -> Mesh {
        let spec = fs::read_to_string(&self.file).expect("a spec");
        let mesh = &mut self;
        let start = Instant::now();
        while mesh.ready() != Some(200) {
            if let Some(status) = mesh.child.try_wait().expect("the state of the program") {
                panic!("the program ended before it was ready: {status}\nspec:\n{spec}");
            }
            assert!(start.elapsed() < PATIENCE, "not ready within {PATIENCE:?}\nspec:\n{spec}");
            thread::sleep(Duration::from_millis(5));
        }
        self
    }

    /// Runs a spec, and waits for nothing.
    pub fn spawn(spec: &str, admin: u16) -> Mesh {
        Mesh::spawn_by(Command::new(PROGRAM), write_file("mesh.yaml", spec), admin)
    }

    fn spawn_by(mut program: Command, file: PathBuf, admin: u16) -> Mesh {
        let mut child = program
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let readers = vec![collect(stdout, output.clone()), collect(stderr, output.clone())];
        Mesh { child, output, readers, file, admin }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the program has printed so far.
    pub fn output(&self) -> String {
        self.output.lock().expect("no reader panics").clone()
    }

    /// The status of `/ready`, if the admin listener answers.
    pub fn ready(&self) -> Option<u16> {
        http1::try_get(self.admin, "/ready").ok().map(|response| response.status)
    }

    /// A page of the admin listener, which has to answer 200.
    pub fn page(&self, path: &str) -> String {
        let response = http1::get(self.admin, path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.text()
    }

    /// The sum of all series of a metric whose labels contain every one of `labels`, each as
    /// `name="value"`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.page("/metrics")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                    && labels.iter().all(|label| line.contains(label))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .fold(0.0, |sum, value| sum + value)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends a signal, as `-HUP`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "kill: {status}");
    }

    /// Waits for the program's own end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        eventually("the end of the program", || {
            ended = self.child.try_wait().expect("the state of the program");
            ended.is_some()
        });
        ended.expect("just seen")
    }

    /// SIGTERM, and a good end.
    pub fn stop(mut self) {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "after SIGTERM the program ended with {status}");
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if thread::panicking() {
            eprintln!("--- output of the program\n{}---", self.output());
        }
    }
}

/// Reads a stream of the program's output to its end.
fn collect(stream: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = into.lock().expect("no reader panics");
            text.push_str(&line);
            text.push('\n');
        }
    })
}
