//! Two sidecars in a row between a client and a server, all of whose spans go to an OTLP receiver that is none of ours.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../mesh-bin/tests/support/peer.rs"]
#[allow(dead_code, unreachable_pub, reason = "the shared file holds more than is used here")]
mod peer;
#[path = "../programs/support/mod.rs"]
mod support;

use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};
use support::{
    PATIENCE, Program, free_port,
    origin::{Origin, ok},
};

/// The OTLP receiver; it ends with its input when this is dropped.
struct Collector {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    port: u16,
}

impl Collector {
    fn start() -> Collector {
        let mut command = peer::script("otlp_receiver.py");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let port = lines.recv_timeout(PATIENCE).unwrap().parse().unwrap();
        Collector { child, input, lines, port }
    }

    /// The next spans of this trace, as many as that, in the order of the services' names.
    fn spans(&self, trace: &str, count: usize) -> Vec<Value> {
        let mut spans = Vec::new();
        while spans.len() < count {
            let line = self.lines.recv_timeout(PATIENCE).expect("a span in time");
            let span: Value = serde_json::from_str(&line).unwrap();
            if span["trace"] == trace {
                spans.push(span);
            }
        }
        spans.sort_by_key(|span| span["service"].to_string());
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sidecar before this port, with these layers.
fn sidecar(name: &str, layers: &str, upstream: u16, collector: u16) -> (Program, u16) {
    let (port, admin) = (free_port(), free_port());
    let spec = format!(
        r#"
admin: {{ bind: "127.0.0.1:{admin}" }}
workers: 2
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ {layers} ]
    routes: [ {{ name: all, match: {{ path: {{ prefix: / }} }}, cluster: next }} ]
clusters:
  next: {{ discovery: {{ static: [ "127.0.0.1:{upstream}" ] }} }}
"#
    );
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{port}.yaml", std::process::id()));
    std::fs::write(&file, spec).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_otlp_sidecar"));
    command.args(["run", "--config"]).arg(file);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{collector}"));
    command.env("OTEL_SERVICE_NAME", name).env("OTEL_BSP_SCHEDULE_DELAY", "100");
    (Program::start(&mut command, admin, "/ready"), port)
}

/// Asks by the client that is traced; the ids of its trace and span, and the status.
fn ask(port: u16, path: &str, collector: u16, headers: &str) -> [String; 3] {
    let url = format!("http://127.0.0.1:{port}{path}");
    let said = peer::run(peer::script("otlp_client.py").arg(url).args([&collector.to_string(), headers]));
    let words: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    words.try_into().unwrap()
}

#[test]
fn one_trace_of_three_spans() {
    let collector = Collector::start();
    let app = Origin::start(|request| ok(request.head.get("traceparent").or(request.head.get("b3")).unwrap_or("none")));
    let (_second, second_port) = sidecar("second", "tracing: 0%", app.port, collector.port);
    let (_first, port) = sidecar("first", "tracing: 0%", second_port, collector.port);
    for headers in ["w3c", "b3"] {
        let [trace, root, status] = ask(port, "/orders/7?card=secret", collector.port, headers);
        assert_eq!(status, "200");
        let [client, first, second]: [Value; 3] = collector.spans(&trace, 3).try_into().unwrap();
        assert_eq!((&client["service"], &client["span"]), (&"client".into(), &root.into()));
        assert_eq!(first["parent"], client["span"], "{first}");
        assert_eq!(second["parent"], first["span"], "{second}");
        for (span, service) in [(&first, "first"), (&second, "second")] {
            // a server's span, and no error
            assert_eq!((&span["service"], &span["kind"], &span["status"]), (&service.into(), &2.into(), &0.into()));
            assert_eq!(span["name"], "GET");
            let attributes = &span["attributes"];
            for (name, value) in [
                ("http.request.method", Value::from("GET")),
                ("http.response.status_code", 200.into()),
                ("url.path", "/orders/7".into()),
                ("url.scheme", "http".into()),
                ("server.address", "127.0.0.1".into()),
                ("server.port", port.into()),
                ("client.address", "127.0.0.1".into()),
                ("network.protocol.version", "1.1".into()),
                ("mesh.listener", "web".into()),
                ("mesh.route", "all".into()),
                ("mesh.cluster", "next".into()),
            ] {
                assert_eq!(attributes[name], value, "{name}: {span}");
            }
        }
        // to the end of the body, which each sends on after it has it
        let nanos = |span: &Value| span["nanos"].as_u64().unwrap();
        assert!(nanos(&client) > nanos(&first), "{client} {first}");
        assert!(nanos(&second) > 0);
    }
}

/// The first sidecar begins the trace, and the second refuses: its span is the child, and says why.
#[test]
fn a_refusal_is_a_span() {
    let collector = Collector::start();
    let app = Origin::start(|_| ok("x"));
    let limited = "tracing, rate_limit: { rate: 1/d, burst: 1 }";
    let (second, second_port) = sidecar("second", limited, app.port, collector.port);
    let (first, port) = sidecar("first", "tracing: 100%", second_port, collector.port);
    let answers = [support::http1::get(port, "/a"), support::http1::get(port, "/b")];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 429]);
    let said = answers[1].head.get("traceresponse").expect("the refusal says its span").to_owned();
    // what is not sent yet is sent at the end
    assert!(first.terminate().success() && second.terminate().success());
    let [first, second]: [Value; 2] = collector.spans(&said[3..35], 2).try_into().unwrap();
    assert_eq!((&first["parent"], &second["parent"]), (&"".into(), &first["span"]));
    assert_eq!(second["span"], said[36..52]);
    assert_eq!(second["attributes"]["http.response.status_code"], 429);
    assert_eq!(second["attributes"]["mesh.rejected_by"], "rate_limit");
    assert_eq!((&first["attributes"]["http.response.status_code"], &first["status"]), (&429.into(), &0.into()));
}
