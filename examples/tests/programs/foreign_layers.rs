use crate::support::{
    PATIENCE, Program, free_port,
    http1::{self, Connection},
    origin::{Origin, ok},
};
use std::{
    path::Path,
    process::{Command, Output},
    sync::{Mutex, mpsc},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_foreign_layers");
const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign.yaml");

fn get(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n")
}

#[test]
fn a_gate_of_ones_own_and_a_layer_of_towers_act_in_the_sidecar() {
    // an upstream that answers `/patient/held` when told
    let (arrive, arrived) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let ends = Mutex::new((arrive, released));
    let app = Origin::start(move |request| {
        if request.target() == "/patient/held" {
            let ends = ends.lock().expect("one at a time");
            let _ = ends.0.send(());
            let _ = ends.1.recv();
        }
        ok("from the app\n")
    });
    let (port, admin) = (free_port(), free_port());
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config", SPEC]);
    for (name, value) in [("PORT", port), ("ADMIN_PORT", admin), ("APP_PORT", app.port)] {
        command.env(name, value.to_string());
    }
    let program = Program::start(&mut command, admin, "/ready");

    // the gate refuses, and hears of the answer to what it admits
    for wrong in ["", "red-1"] {
        let refused = http1::send(port, &get("/", wrong));
        assert_eq!((refused.status, refused.head.get("x-mesh-rejected-by")), (403, Some("api_keys")), "{wrong}");
    }
    let admitted = http1::send(port, &get("/patient", "green-9"));
    assert_eq!((admitted.status, admitted.text().as_str()), (200, "from the app\n"));
    assert_eq!(admitted.head.get("x-key-of"), Some("warehouse"));

    // tower's layer lets one through; the next one waits for it, for as long as its route allows
    let mut held = Connection::open(port).expect("a connection");
    held.write(get("/patient/held", "blue-7").as_bytes()).expect("written");
    arrived.recv_timeout(PATIENCE).expect("the request is at the upstream");
    let late = http1::send(port, &get("/", "blue-7"));
    assert_eq!((late.status, late.head.get("x-mesh-rejected-by")), (504, Some("timeout")));
    assert_eq!(late.head.get("x-key-of"), Some("shop"), "a refusal further in is an answer to the gate");
    assert!(arrived.try_recv().is_err(), "it did not get to the upstream");
    release.send(()).expect("the upstream waits");
    assert_eq!(held.read_response("GET").expect("an answer").status, 200);
    assert_eq!(http1::send(port, &get("/patient", "blue-7")).status, 200);

    let metrics = http1::get(admin, "/metrics").text();
    let refusals = r#"mesh_rejections_total{layer="api_keys",reason="forbidden"} 2"#;
    assert!(metrics.lines().any(|line| line == refusals), "{metrics}");
    assert!(program.terminate().success());
}

fn run(command: &str, spec: &Path) -> Output {
    Command::new(PROGRAM).arg(command).arg(spec).output().expect("the program runs")
}

#[test]
fn their_settings_are_checked_and_explained_like_any() {
    let good = run("explain", Path::new(SPEC));
    let text = String::from_utf8_lossy(&good.stdout);
    assert!(good.status.success(), "{text}{}", String::from_utf8_lossy(&good.stderr));
    for part in ["api_keys", "in_flight {\"max\":1}"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }

    let wrong = std::fs::read_to_string(SPEC).expect("the spec");
    let wrong = wrong.replace("max: 1", "maxx: 1").replace("{ blue-7: shop, green-9: warehouse }", "{}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("foreign-{}.yaml", std::process::id()));
    std::fs::write(&path, wrong).expect("a file for the test");
    let output = run("check", &path);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["expected at least one", "did you mean `max`?", "2 faults"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

/// Its schema knows its own layers: the one beside the example is what the program prints.
#[test]
fn the_schema_beside_it_is_the_programs() {
    let output = Command::new(PROGRAM).arg("schema").output().expect("it runs");
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let kept: serde_json::Value = serde_json::from_str(include_str!("../../foreign.schema.json")).expect("JSON");
    assert!(
        kept == printed,
        "run `cargo run -p mesh-examples --bin foreign_layers -- schema > examples/foreign.schema.json`"
    );
}
