//! Processes, ports and patience. The HTTP client and the upstream are those of the program's own tests: std only.

#![allow(dead_code, unreachable_pub, reason = "the shared files hold more than is used here")]

#[path = "../../../../mesh-bin/tests/support/http1.rs"]
pub mod http1;
#[path = "../../../../mesh-bin/tests/support/origin.rs"]
pub mod origin;

use std::{
    net::TcpListener,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that is to happen at all. Generous: machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A port nobody listens on, below the range that the system draws outgoing ports from.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 5_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
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

/// A running program; killed when dropped.
pub struct Program(Child);

impl Program {
    /// Starts it, and waits until `path` on `port` is answered with 200.
    pub fn start(command: &mut Command, port: u16, path: &str) -> Program {
        let mut program = Program(command.stdin(Stdio::null()).spawn().expect("the program starts"));
        eventually("the program answers", || {
            let ended = program.0.try_wait().expect("the state of the program");
            assert!(ended.is_none(), "the program ended before it answered: {ended:?}");
            http1::try_get(port, path).is_ok_and(|response| response.status == 200)
        });
        program
    }

    /// SIGTERM, and the program's own end.
    pub fn terminate(mut self) -> ExitStatus {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "kill: {status}");
        let mut ended = None;
        eventually("the end of the program", || {
            ended = self.0.try_wait().expect("the state of the program");
            ended.is_some()
        });
        ended.expect("just seen")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Polls until the condition holds; the name is what the failure says.
fn eventually(name: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {name}");
        thread::sleep(Duration::from_millis(5));
    }
}
