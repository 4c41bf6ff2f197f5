//! What the tests and measurements need beside cargo: Debian packages and Python peers.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{on_path, output, peers, root, run};
use crate::step::Outcome;

/// A program and the Debian package that brings it.
type Tool = (&'static str, &'static str);

/// The peers of the interop tests.
const TEST_TOOLS: &[Tool] = &[
    ("curl", "curl"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("dnsmasq", "dnsmasq-base"),
];

/// What counts instructions.
const VALGRIND: &[Tool] = &[("valgrind", "valgrind")];

/// What makes load.
const LOAD_TOOLS: &[Tool] = &[("wrk", "wrk"), ("h2load", "nghttp2-client")];

/// Everything that `cargo xtask test` needs. Does nothing when it is there.
pub(crate) fn tests() -> Outcome {
    let mut tools = TEST_TOOLS.to_vec();
    if !python_peers_are_current()? && !python_has_venv() {
        tools.push(("", "python3-venv"));
    }
    packages(&tools)?;
    python_peers()
}

/// What `cargo xtask instructions` needs.
pub(crate) fn instructions() -> Outcome {
    packages(VALGRIND)
}

/// What `cargo xtask load` and `cargo xtask memory` need.
pub(crate) fn load() -> Outcome {
    packages(LOAD_TOOLS)
}

/// Installs the packages of those tools that are not on the path: by apt-get as root, else the
/// error names the command that a person has to run.
fn packages(tools: &[Tool]) -> Outcome {
    let missing: Vec<&str> =
        tools.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    if !on_path("apt-get") {
        return Err(format!("install these programs by hand, this is no Debian: {wanted}"));
    }
    if !output(Command::new("id").arg("-u"))?.trim().eq("0") {
        return Err(format!("run this once: sudo apt-get install -y {wanted}"));
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(missing)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

fn python_has_venv() -> bool {
    Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The pinned Python peers, by name and version.
fn requirements() -> Result<String, String> {
    let path = root().join("mesh-bin/tests/peers/requirements.txt");
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The stamp is a copy of the requirements that were installed, written last.
fn python_peers_are_current() -> Result<bool, String> {
    let stamp = fs::read_to_string(peers().join("venv/requirements.stamp"));
    let wanted = requirements()?;
    Ok(stamp.is_ok_and(|stamp| stamp == wanted) && works(&peers().join("venv/bin/python")))
}

/// A virtual environment breaks when the interpreter below it goes.
fn works(python: &Path) -> bool {
    python.is_file()
        && Command::new(python)
            .args(["-c", "import grpc, h2"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

/// Installs the Python peers into `target/peers/venv`, unless they are there.
fn python_peers() -> Outcome {
    if python_peers_are_current()? {
        return Ok(());
    }
    let venv = peers().join("venv");
    if venv.exists() {
        fs::remove_dir_all(&venv).map_err(|error| format!("{}: {error}", venv.display()))?;
    }
    fs::create_dir_all(peers()).map_err(|error| format!("{}: {error}", peers().display()))?;
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    run(Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"])
        .arg(root().join("mesh-bin/tests/peers/requirements.txt")))?;
    let stamp = venv.join("requirements.stamp");
    fs::write(&stamp, requirements()?).map_err(|error| format!("{}: {error}", stamp.display()))
}
