//! The program as its users have it: it runs a spec that names the layer, and its commands know the layer.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_custom-layer");
const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sidecar.yaml");
/// How long anything may take that is to happen at all.
const PATIENCE: Duration = Duration::from_secs(30);

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().expect("the program runs")
}

/// A file of a test, under its own name.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    fs::write(&path, text).expect("a file for the test");
    path
}

/// The running sidecar, killed when dropped.
struct Sidecar {
    child: Child,
    web: SocketAddr,
    admin: SocketAddr,
}

impl Sidecar {
    /// Runs a spec on free ports, which it logs, before this application.
    fn start(spec: &Path, app: SocketAddr) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(spec)
            .envs([("PORT", "0"), ("ADMIN_PORT", "0"), ("MESH_LOG", "info")])
            .env("APP_PORT", app.port().to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut web, mut admin) = (None, None);
        while web.is_none() || admin.is_none() {
            let line = log.next().expect("it says where it listens").expect("text");
            let address = line.split_once("address=").and_then(|(_, address)| address.parse().ok());
            *(if line.contains("admin listening") { &mut admin } else { &mut web }) = address;
        }
        thread::spawn(move || log.for_each(drop));
        Self { child, web: web.expect("just seen"), admin: admin.expect("just seen") }
    }

    /// The status and the whole answer to a request of this tenant.
    fn get(&self, path: &str, tenant: &str) -> (u16, String) {
        answer(request(self.web, &format!("GET {path} HTTP/1.1\r\nx-tenant: {tenant}")))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request whose head begins so.
fn request(to: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "{head}\r\nhost: {to}\r\nconnection: close\r\n\r\n").expect("written");
    stream
}

fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {text:?}")), text)
}

/// An application that answers `/held` when told.
struct App {
    address: SocketAddr,
    arrived: Receiver<()>,
    release: Sender<()>,
}

impl App {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let ((arrive, arrived), (release, released)) = (channel(), channel::<()>());
        let released = Arc::new(Mutex::new(released));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (arrive, released) = (arrive.clone(), released.clone());
                thread::spawn(move || serve(stream, &arrive, &released));
            }
        });
        Self { address, arrived, release }
    }
}

fn serve(mut stream: TcpStream, arrive: &Sender<()>, released: &Mutex<Receiver<()>>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    lines.find(String::is_empty);
    if first.starts_with("GET /held ") {
        let _ = arrive.send(());
        let _ = released.lock().expect("nobody panics").recv();
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\napp");
}

#[test]
fn a_spec_that_names_it_runs() {
    let app = App::start();
    let spec = fs::read_to_string(SPEC).expect("the spec");
    let path = file("runs.yaml", &spec);
    let sidecar = Sidecar::start(&path, app.address);

    let (status, text) = sidecar.get("/", "gold");
    assert_eq!((status, text.ends_with("app")), (200, true), "{text}");
    for stranger in ["", "silver"] {
        let (status, text) = sidecar.get("/", stranger);
        assert_eq!((status, text.contains("x-mesh-rejected-by: tenants")), (403, true), "{text}");
    }

    // one of the free at once; the others are not disturbed
    let held = request(sidecar.web, "GET /held HTTP/1.1\r\nx-tenant: free");
    app.arrived.recv_timeout(PATIENCE).expect("it is at the application");
    assert_eq!(sidecar.get("/", "free").0, 503);
    assert_eq!(sidecar.get("/", "gold").0, 200);

    // a reload that lets two through remembers the one
    fs::write(&path, spec.replace("free: 1", "free: 2")).expect("written");
    let (status, report) = answer(request(sidecar.admin, "POST /reload HTTP/1.1"));
    assert_eq!(status, 200, "{report}");
    let second = request(sidecar.web, "GET /held HTTP/1.1\r\nx-tenant: free");
    app.arrived.recv_timeout(PATIENCE).expect("it is at the application");
    assert_eq!(sidecar.get("/", "free").0, 503);

    for stream in [held, second] {
        app.release.send(()).expect("the application waits");
        assert_eq!(answer(stream).0, 200);
    }
    assert_eq!(sidecar.get("/", "free").0, 200);

    let metrics = answer(request(sidecar.admin, "GET /metrics HTTP/1.1")).1;
    let refusals = r#"mesh_rejections_total{layer="tenants",reason="forbidden"} 2"#;
    assert!(metrics.lines().any(|line| line == refusals), "{metrics}");
}

#[test]
fn a_bad_setting_has_its_place() {
    let spec = fs::read_to_string(SPEC).expect("the spec");
    for (good, bad, faults) in [
        ("free: 1", "free: none", ":14:38: listeners.web.pipeline[2].tenants.limits.free: "),
        ("limits:", "limit:", ":14:11: listeners.web.pipeline[2].tenants: unknown key `limit`"),
        ("{ gold: 100, free: 1 }", "{}", ":14:19: listeners.web.pipeline[2].tenants.limits: without a tenant"),
        ("x-tenant  ", "X-Tenant  ", "did you mean `x-tenant`?"),
    ] {
        let path = file("bad.yaml", &spec.replace(good, bad));
        let output = run(&["check", path.to_str().expect("text")]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{bad}: {text}");
        assert!(text.contains(faults), "{bad}: {faults} is not in\n{text}");
    }
}

#[test]
fn all_commands_know_it() {
    let explained = run(&["explain", SPEC]);
    let text = String::from_utf8_lossy(&explained.stdout);
    assert!(text.contains(r#"tenants {"header":"x-tenant","limits":{"free":1,"gold":100}}"#), "{text}");

    let layers = run(&["layers"]);
    let text = String::from_utf8_lossy(&layers.stdout);
    let line = text.lines().find(|line| line.starts_with("tenants ")).expect("a line of its own");
    for part in ["http", "header, limits", "admits so many requests of each tenant at once"] {
        assert!(line.contains(part), "{line}");
    }

    let schema: serde_json::Value = serde_json::from_slice(&run(&["schema"]).stdout).expect("JSON");
    let known = &schema["definitions"]["Pipeline"]["items"]["anyOf"][1]["properties"];
    assert!(known["tenants"].is_object() && known["rate_limit"].is_object(), "{known}");
    let settings = &schema["definitions"]["TenantSettings"]["properties"];
    assert_eq!(settings["header"]["default"], "x-tenant", "{settings}");
}
