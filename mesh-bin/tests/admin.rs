//! The admin listener: every page, and what it refuses.

mod support;

use support::http1::{self, Response};
use support::origin::Origin;
use support::{Mesh, eventually, free_port};

fn spec(port: u16, origin: u16) -> String {
    format!(
        r#"
workers: 1
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ metrics, timeout: 2s ]
    routes:
      - {{ name: health, match: {{ path: {{ exact: /healthz }} }}, respond: {{ body: "<fine>" }} }}
      - {{ name: all, cluster: app }}
clusters:
  app: {{ discovery: {{ static: [ "127.0.0.1:{origin}" ] }} }}
"#
    )
}

/// A request of the admin listener with this body; `fields` are lines of the head.
fn asked(mesh: &Mesh, method: &str, path: &str, fields: &str, body: &str) -> Response {
    let length = body.len();
    let host = format!("host: 127.0.0.1:{}\r\n", mesh.admin);
    let fields = if fields.contains("host:") { fields.to_owned() } else { host + fields };
    http1::send(mesh.admin, &format!("{method} {path} HTTP/1.1\r\n{fields}content-length: {length}\r\n\r\n{body}"))
}

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn pages() {
    let port = free_port();
    let mesh = Mesh::start(&spec(port, free_port()));
    let page = http1::get(mesh.admin, "/");
    assert_eq!(page.head.get("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.head.get("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    assert_eq!(page.head.get("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    for part in [
        "<h1>mesh ",
        "Ready.",
        "href=\"/metrics\"",
        "metrics, timeout",
        "all → app",
        "health → respond 200",
        &format!("127.0.0.1:{port}"),
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let listeners = mesh.page("/listeners");
    for part in [
        "\"name\": \"web\"",
        &format!("\"address\": \"127.0.0.1:{port}\""),
        "\"protocol\": \"http\"",
        "\"clusters\": [",
        "\"status\": 200",
    ] {
        assert!(listeners.contains(part), "{part} is not in\n{listeners}");
    }
    // the effective spec: with what nobody wrote
    let config = mesh.page("/config");
    for part in [
        "\"request_id\": \"keep\"",
        "\"run\": [",
        "\"layer\": \"timeout\"",
        "\"response\": \"2s\"",
        "\"idle\": \"1m\"",
        "\"timeout\": \"30s\"",
    ] {
        assert!(config.contains(part), "{part} is not in\n{config}");
    }
    let nowhere = http1::get(mesh.admin, "/nowhere");
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.text().contains("/listeners"), "{}", nowhere.text());
    mesh.stop();
}

#[test]
fn what_is_refused() {
    let mesh = Mesh::start(&spec(free_port(), free_port()));
    let admin = mesh.admin;
    let own = format!("host: localhost:{admin}\r\n");
    let status = |method: &str, path: &str, fields: &str, body: &str| asked(&mesh, method, path, fields, body).status;
    let good = r#"{ "filter": "debug" }"#;
    for (method, path) in [("GET", "/config"), ("PUT", "/log"), ("POST", "/drain")] {
        assert_eq!(status(method, path, "host: evil.test\r\n", ""), 403, "{path}");
        assert_eq!(status(method, path, &format!("{own}origin: http://evil.test\r\n{JSON}"), good), 403, "{path}");
        assert_eq!(status(method, path, &format!("{own}sec-fetch-site: cross-site\r\n"), ""), 403, "{path}");
    }
    let wrong = asked(&mesh, "POST", "/config", "", "");
    assert_eq!((wrong.status, wrong.head.get("allow")), (405, Some("GET, HEAD")));
    let wrong = asked(&mesh, "GET", "/drain", "", "");
    assert_eq!((wrong.status, wrong.head.get("allow")), (405, Some("POST")));
    assert_eq!(asked(&mesh, "DELETE", "/log", "", "").head.get("allow"), Some("GET, HEAD, PUT"));
    // bodies are JSON, and what they say is known
    for form in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
        assert_eq!(status("PUT", "/log", form, good), 415, "{form}");
        assert_eq!(status("POST", "/drain", form, "{}"), 415, "{form}");
    }
    assert_eq!(status("POST", "/drain", "content-type: text/plain\r\n", ""), 415);
    assert_eq!(status("PUT", "/log", JSON, "{"), 400);
    assert_eq!(status("PUT", "/log", JSON, ""), 400);
    assert_eq!(status("PUT", "/log", JSON, r#"{ "level": "debug" }"#), 400);
    assert_eq!(status("PUT", "/log", JSON, r#"{ "filter": "mesh=loud" }"#), 400);
    assert_eq!(status("POST", "/drain", JSON, r#"{ "now": true }"#), 400);
    assert_eq!(status("PUT", "/log", JSON, &format!("\"{}\"", "x".repeat(70_000))), 413);
    assert_eq!(mesh.ready(), Some(200), "nothing has come of all that");
    mesh.stop();
}

#[test]
fn the_log_is_changed_while_it_runs() {
    let port = free_port();
    let mesh = Mesh::start(&spec(port, free_port()));
    assert!(mesh.page("/log").contains("\"filter\": \"info\""));
    let changed = asked(&mesh, "PUT", "/log", JSON, r#"{ "filter": "info,mesh_rejections=debug" }"#);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert!(mesh.page("/log").contains("mesh_rejections=debug"));
    eventually("it is logged", || mesh.output().contains("the log's filter was changed"));
    let quiet = asked(&mesh, "PUT", "/log", JSON, r#"{ "filter": "off" }"#);
    assert_eq!(quiet.status, 200);
    let before = mesh.output();
    assert_eq!(asked(&mesh, "PUT", "/log", JSON, r#"{ "filter": "warn" }"#).status, 200);
    assert_eq!(mesh.output(), before, "nothing is logged any more");
    mesh.stop();
}

#[test]
fn drain_ends_the_program() {
    let port = free_port();
    let mut mesh = Mesh::start(&spec(port, Origin::echo().port));
    assert_eq!(http1::get(port, "/").status, 200);
    let answer = asked(&mesh, "POST", "/drain", "", "");
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(answer.text().contains("\"draining\": true"));
    assert!(mesh.wait().success());
}
