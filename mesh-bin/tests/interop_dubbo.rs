//! Dubbo through the sidecar: Apache Dubbo for Java, 3.3 and 2.7, and three implementations for Node. What a consumer
//! prints is the same with the sidecar between as it is without.
//!
//! Dubbo's servers bind every address of the host, and its Java consumer takes a loopback address for another: so the
//! tests run in a network namespace of their own, which has only `lo`.

mod support;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use support::peer::{self, MISSING};
use support::{Mesh, free_port};

/// In a namespace: the tests below, which are ignored otherwise.
fn in_a_namespace(test: &str) {
    let this = env::current_exe().expect("this program");
    // whoever is not root needs a user namespace as well, which root may be refused
    let as_root = peer::program("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    let mut command = peer::program("unshare");
    command.arg("--net");
    if !as_root.is_ok_and(|status| status.success()) {
        command.arg("--map-root-user");
    }
    command.args(["--", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    let status = command.arg(this).args([test, "--exact", "--ignored", "--nocapture"]).status().expect("unshare runs");
    assert!(status.success(), "{test}: {status}");
}

#[test]
fn every_pair() {
    in_a_namespace("inside::every_pair");
}

/// Where the peers are.
fn peers(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/dubbo").join(path);
    assert!(path.exists(), "{} {MISSING}", path.display());
    path
}

/// One end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Apache Dubbo of this version.
    Java(&'static str),
    /// sofa-rpc-node as a provider.
    Sofa,
    /// A consumer for Node.
    Node(&'static str),
}

const NEW: Peer = Peer::Java("3.3.6");
const OLD: Peer = Peer::Java("2.7.23");

fn java(version: &str) -> Command {
    let mut command = peer::program("java");
    for package in ["lang", "math", "util", "time"] {
        command.args(["--add-opens", &format!("java.base/java.{package}=ALL-UNNAMED")]);
    }
    let classes = format!("{}:{}/*", peers(&format!("classes-{version}")).display(), peers(version).display());
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"]);
    command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", &classes, "demo.Main"]);
    command
}

fn node(script: &str) -> Command {
    let mut command = peer::program("node");
    command.env("NODE_PATH", peers("node_modules"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/dubbo").join(script));
    command
}

/// A provider that runs; it ends with its input.
struct Provider {
    child: Child,
    input: Option<ChildStdin>,
    port: u16,
}

impl Provider {
    fn start(peer: Peer) -> Provider {
        let port = free_port();
        let mut command = match peer {
            Peer::Java(version) => {
                let mut command = java(version);
                command.args(["provider", "dubbo"]);
                command
            }
            _ => node("provider.js"),
        };
        command.arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the provider starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let ready = output.lines().map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "{peer:?} has not become ready");
        Provider { child, input, port }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a consumer prints that calls whoever listens there.
fn consume(consumer: Peer, mode: &str, port: u16) -> String {
    let mut command = match consumer {
        Peer::Java(version) => {
            let mut command = java(version);
            command.args([mode, &format!("dubbo://127.0.0.1:{port}/demo.DemoService")]);
            command
        }
        Peer::Node(library) => {
            let mut command = node("consumer.js");
            command.args([library, &format!("127.0.0.1:{port}"), mode]);
            command
        }
        Peer::Sofa => panic!("a provider"),
    };
    let output = command.stdin(Stdio::null()).output().expect("the consumer runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // one of them logs to its standard output at first
    let lines = text.lines().filter(|line| line.contains(" = ")).collect::<Vec<_>>();
    assert!(output.status.success() && lines.len() > 10, "{consumer:?} {mode}: {}\n{text}", output.status);
    lines.join("\n")
}

/// A sidecar before whoever listens there.
struct Sidecar {
    mesh: Mesh,
    port: u16,
}

impl Sidecar {
    fn start(upstream: u16) -> Sidecar {
        let port = free_port();
        let mesh = Mesh::start(&format!(
            r#"
workers: 2
listeners:
  rpc:
    bind: "127.0.0.1:{port}"
    protocol: dubbo
    pipeline: [ access_log, metrics, tracing, timeout: 20s, rate_limit: 100000/s, concurrency_limit: 1000 ]
    routes:
      - match: {{ service: "demo.*" }}
        cluster: demo
clusters:
  demo:
    discovery: {{ static: [ "127.0.0.1:{upstream}" ] }}
    protocol: dubbo
    endpoint_pipeline: [ circuit_breaker: {{ consecutive_failures: 1000 }} ]
"#
        ));
        Sidecar { mesh, port }
    }
}

mod inside {
    use super::*;

    #[test]
    #[ignore = "runs in a network namespace, by the test of the same name"]
    fn every_pair() {
        // those of `cargo xtask interop` go through two sidecars as well
        let two = env::var_os("MESH_TWO_SIDECARS").is_some();
        for provider in [NEW, OLD, Peer::Sofa] {
            let running = Provider::start(provider);
            let first = Sidecar::start(running.port);
            let second = two.then(|| Sidecar::start(first.port));
            let null = if provider == Peer::Sofa { "plain" } else { "all" };
            let consumers = [
                (NEW, "consumer"),
                (NEW, "generic"),
                (OLD, "consumer"),
                (OLD, "generic"),
                (Peer::Node("dubbo2.js"), null),
                (Peer::Node("apache-dubbo-js"), null),
            ];
            for (consumer, mode) in consumers {
                // sofa-rpc-node knows no generic calls
                if provider == Peer::Sofa && mode == "generic" {
                    continue;
                }
                let expected = consume(consumer, mode, running.port);
                let sidecars = [Some(&first), second.as_ref()];
                for (count, sidecar) in sidecars.into_iter().flatten().enumerate() {
                    let seen = consume(consumer, mode, sidecar.port);
                    assert_eq!(seen, expected, "{consumer:?} {mode} to {provider:?} through {} sidecars", count + 1);
                }
                println!("{consumer:?} {mode} to {provider:?}: {} calls the same", expected.lines().count());
            }
            second.into_iter().chain([first]).for_each(|sidecar| sidecar.mesh.stop());
        }
    }
}
