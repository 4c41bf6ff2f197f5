//! A real etcd (Debian: `etcd-server`, `etcd-client`) on free ports, with its data in a folder of its own. The tests of
//! the program use it, too: std only.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    env, fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One member of an etcd, most often the only one.
pub struct Peer {
    child: Child,
    client: u16,
    peer: u16,
    dir: PathBuf,
    /// As `--initial-cluster` wants it.
    members: String,
}

impl Peer {
    /// Starts one alone, and waits until it answers.
    pub fn start() -> Peer {
        Peer::start_on(free_port)
    }

    /// The same, on ports drawn by `port`.
    pub fn start_on(port: fn() -> u16) -> Peer {
        Peer::members(1, port).remove(0)
    }

    /// Starts a cluster of three, and waits until they answer.
    pub fn cluster() -> Vec<Peer> {
        Peer::members(3, free_port)
    }

    fn members(count: usize, port: fn() -> u16) -> Vec<Peer> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        for program in ["etcd", "etcdctl"] {
            let path = env::var_os("PATH").unwrap_or_default();
            let found = env::split_paths(&path).any(|dir| dir.join(program).is_file());
            assert!(found, "{program} is missing: apt-get install etcd-server etcd-client");
        }
        // somebody else may take the ports between the asking and the start
        for _ in 0..5 {
            let ports: Vec<_> = (0..count).map(|_| (port(), port())).collect();
            let members: Vec<_> = ports.iter().map(|(_, peer)| format!("m{peer}={}", url(*peer))).collect();
            let members = members.join(",");
            let start = |(client, peer): (u16, u16)| {
                let name = format!("mesh-etcd-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
                let dir = env::temp_dir().join(name);
                let child = spawn(&dir, client, peer, &members);
                Peer { child, client, peer, dir, members: members.clone() }
            };
            let mut started: Vec<Peer> = ports.into_iter().map(start).collect();
            if started.iter_mut().all(Peer::answers) {
                return started;
            }
        }
        panic!("etcd does not start");
    }

    /// As `endpoints` wants it.
    pub fn url(&self) -> String {
        url(self.client)
    }

    /// By etcd's own client.
    pub fn ctl<const N: usize>(&self, arguments: [&str; N]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.url())).args(arguments);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = command.output().expect("etcdctl runs");
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            // one that has just been started may not have its leader yet
            assert!(Instant::now() < deadline, "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn put(&self, key: &str, value: &str) {
        self.ctl(["put", key, value]);
    }

    pub fn delete(&self, key: &str) {
        assert_eq!(self.ctl(["del", key]).trim(), "1", "{key} was not there");
    }

    /// The value of a key, if it is there.
    pub fn value(&self, key: &str) -> Option<String> {
        let text = self.ctl(["get", "--print-value-only", key]);
        (!text.is_empty()).then(|| text.trim_end().to_owned())
    }

    /// The keys that begin so.
    pub fn keys(&self, prefix: &str) -> String {
        self.ctl(["get", "--prefix", "--keys-only", prefix])
    }

    /// The numbers of the leases there are.
    pub fn leases(&self) -> Vec<String> {
        self.ctl(["lease", "list"]).lines().skip(1).map(str::to_owned).collect()
    }

    /// A transaction as `etcdctl txn` reads it.
    pub fn transaction(&self, text: &str) {
        let mut child = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args([&format!("--endpoints={}", self.url()), "txn"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("etcdctl runs");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
        assert!(child.wait().expect("its end").success());
    }

    /// The revision of the store.
    pub fn revision(&self) -> i64 {
        let status = self.ctl(["get", "nothing", "-w=json"]);
        let (_, rest) = status.split_once("\"revision\":").expect("a revision");
        rest.split(|c: char| !c.is_ascii_digit()).next().expect("digits").parse().expect("a number")
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on its ports, with its data.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.dir, self.client, self.peer, &self.members);
        assert!(self.answers(), "etcd does not start again");
    }

    /// Starts it again on its ports, without its data.
    pub fn restart_empty(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.dir).expect("its data");
        self.restart();
    }

    /// Stops it where it is: connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits until it answers; false when it has ended.
    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.child.try_wait().expect("its state").is_some() {
                return false;
            }
            if TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.client))).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A port that nobody listens on, and not the one before.
pub fn free_port() -> u16 {
    static LAST: AtomicU16 = AtomicU16::new(0);
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        if LAST.swap(port, Relaxed) != port {
            return port;
        }
    }
}

pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn spawn(dir: &Path, client: u16, peer: u16, members: &str) -> Child {
    Command::new("etcd")
        .args(["--name", &format!("m{peer}")])
        .arg("--data-dir")
        .arg(dir)
        .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
        .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
        .args(["--initial-cluster", members])
        .args(["--logger", "zap", "--log-level", "error"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd starts")
}
