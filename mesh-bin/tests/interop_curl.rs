//! What the README shows, with `curl`, and translation between HTTP/1.1 and HTTP/2.

mod support;

use std::collections::BTreeSet;
use std::io::{BufReader, Write};

use support::origin::Origin;
use support::peer::{Server, program, run};
use support::{Mesh, free_port};

/// A sidecar with one cluster; `cluster` is what its entry says beside discovery.
fn sidecar(upstream: u16, cluster: &str) -> (Mesh, String) {
    let port = free_port();
    let mesh = Mesh::start(&format!(
        r#"
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ metrics, timeout: 30s ]
    routes: [ {{ match: {{ path: {{ prefix: / }} }}, cluster: app }} ]
clusters:
  app: {{ discovery: {{ static: [ "127.0.0.1:{upstream}" ] }}{cluster} }}
"#
    ));
    (mesh, format!("http://127.0.0.1:{port}"))
}

fn curl(arguments: &[&str]) -> String {
    run(program("curl").args(["--silent", "--show-error", "--max-time", "30"]).args(arguments))
}

/// The embedded spec on ports of its own, so that the test meets no other running `mesh`.
#[test]
fn the_default_spec_shows_every_endpoint_within_sixty_requests() {
    let mut spec = include_str!("../src/default.yaml").to_owned();
    let mut elsewhere = |port: u16| {
        let free = free_port();
        assert!(spec.contains(&format!("127.0.0.1:{port}")), "no port {port} in\n{spec}");
        spec = spec.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{free}"));
        free
    };
    let [admin, web] = [15000, 15001].map(&mut elsewhere);
    for endpoint in [15011, 15012, 15013] {
        elsewhere(endpoint);
    }
    let mesh = Mesh::start_whole(&spec, admin);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        // A process per request, as a person would: curl 7.88 cannot use an HTTP/2 connection twice.
        let url = format!("http://127.0.0.1:{web}/");
        let text: String = (0..60).map(|_| curl(&[version, "--fail", &url])).collect();
        assert_eq!(text.lines().count(), 60, "{version}: {text}");
        let seen: BTreeSet<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(seen, BTreeSet::from(["one", "two", "three"]), "{version}");
    }
    mesh.stop();
}

#[test]
fn http1_to_http1() {
    let (mesh, url) = sidecar(Origin::echo().port, "");
    let text = curl(&["--http1.1", "-d", "hello", &format!("{url}/path?query=1")]);
    assert!(text.starts_with("POST /path?query=1 HTTP/1.1\n"), "{text}");
    assert!(text.contains("\nx-forwarded-for: 127.0.0.1\n"), "{text}");
    assert!(text.ends_with("\n\nhello"), "{text}");
    mesh.stop();
}

#[test]
fn http2_to_http1() {
    let (mesh, url) = sidecar(Origin::echo().port, ", protocol: http1");
    let authority = url.trim_start_matches("http://");
    let text = curl(&["--http2-prior-knowledge", "-d", "hello", "-b", "a=1; b=2", &format!("{url}/path?query=1")]);
    assert!(text.starts_with("POST /path?query=1 HTTP/1.1\n"), "{text}");
    assert!(text.contains(&format!("\nhost: {authority}\n")), "{text}");
    assert!(text.contains("\ncookie: a=1; b=2\n"), "{text}");
    assert!(text.contains("\ncontent-length: 5\n"), "{text}");
    assert!(text.ends_with("\n\nhello"), "{text}");
    mesh.stop();
}

#[test]
fn http1_to_http2() {
    let server = Server::start("h2_server.py");
    let (mesh, url) = sidecar(server.port, ", protocol: http2");
    let authority = url.trim_start_matches("http://");
    let text = curl(&["--http1.1", "-d", "hello", &format!("{url}/path?query=1")]);
    for part in [
        r#""protocol": "HTTP/2", "method": "POST""#.to_owned(),
        r#""path": "/path?query=1""#.to_owned(),
        format!(r#""authority": "{authority}""#),
        r#""body_bytes": 5"#.to_owned(),
        r#"["x-forwarded-for", "127.0.0.1"]"#.to_owned(),
    ] {
        assert!(text.contains(&part), "{part} is not in {text}");
    }
    for name in ["connection", "host", "transfer-encoding", "keep-alive"] {
        assert!(!text.contains(&format!("[\"{name}\",")), "{name} in {text}");
    }
    mesh.stop();
}

#[test]
fn http2_to_http2_with_trailers() {
    let server = Server::start("h2_server.py");
    let (mesh, url) = sidecar(server.port, ", protocol: http2");
    let text = curl(&["--http2-prior-knowledge", "-i", &format!("{url}/trailers")]);
    assert!(text.starts_with("HTTP/2 200"), "{text}");
    assert!(text.contains("x-checksum: abc"), "{text}");
    mesh.stop();
}

/// As downstream is what the upstream protocol is by default: one listener, both versions.
#[test]
fn the_upstream_protocol_follows_the_downstream_one() {
    let server = Server::start("h2_server.py");
    let (mesh, url) = sidecar(server.port, "");
    let text = curl(&["--http2-prior-knowledge", &format!("{url}/")]);
    assert!(text.contains(r#""protocol": "HTTP/2""#), "{text}");
    mesh.stop();
    let (mesh, url) = sidecar(Origin::echo().port, "");
    let text = curl(&["--http1.1", &format!("{url}/")]);
    assert!(text.starts_with("GET / HTTP/1.1\n"), "{text}");
    mesh.stop();
}

#[test]
fn head() {
    let http1 = Origin::echo();
    let http2 = Server::start("h2_server.py");
    for (upstream, cluster) in [(http1.port, ", protocol: http1"), (http2.port, ", protocol: http2")] {
        let (mesh, url) = sidecar(upstream, cluster);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let text = curl(&[version, "--head", &url]);
            assert!(text.contains(" 200"), "{version}{cluster}: {text}");
            assert!(text.contains("content-length: "), "{version}{cluster}: {text}");
        }
        mesh.stop();
    }
}

/// An upload whose length nobody knows, and one that asks before it sends.
#[test]
fn uploads() {
    let http1 = Origin::start(|request| {
        let sum: u64 = request.body.iter().map(|byte| u64::from(*byte)).sum();
        support::origin::ok(&format!("{} bytes, sum {sum}", request.body.len()))
    });
    let http2 = Server::start("h2_server.py");
    let data = support::write_file("upload", &"0123456789abcdef".repeat(64 * 1024));
    let data = data.to_str().expect("utf-8");
    let sum: u64 = "0123456789abcdef".bytes().map(u64::from).sum::<u64>() * 64 * 1024;
    for (upstream, cluster, answer) in [
        (http1.port, ", protocol: http1", format!("1048576 bytes, sum {sum}")),
        (http2.port, ", protocol: http2", r#""body_bytes": 1048576"#.to_owned()),
    ] {
        let (mesh, url) = sidecar(upstream, cluster);
        for (version, header) in [
            ("--http1.1", "transfer-encoding: chunked"),
            ("--http1.1", "expect: 100-continue"),
            ("--http2-prior-knowledge", "x-any: thing"),
        ] {
            let text = curl(&[version, "-X", "POST", "-T", data, "-H", header, &url]);
            assert!(text.contains(&answer), "{version} {header}{cluster}: {text}");
        }
        mesh.stop();
    }
}

/// A body larger than every buffer and window between the two ends.
#[test]
fn a_large_download() {
    let body = "x".repeat(8 * 1024 * 1024);
    let origin = Origin::start(move |_| support::origin::ok(&body));
    let (mesh, url) = sidecar(origin.port, ", protocol: http1");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let size = curl(&[version, "--output", "/dev/null", "--write-out", "%{size_download}", &url]);
        assert_eq!(size, (8 * 1024 * 1024).to_string(), "{version}");
    }
    mesh.stop();
}

/// An upstream that dies within its body: over HTTP/2 too the client must not take it for the whole.
#[test]
fn a_cut_body_is_an_error_over_http2() {
    let origin = Origin::raw(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        support::origin::read_request(&mut reader, &mut stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    });
    let (mesh, url) = sidecar(origin.port, ", protocol: http1");
    let status = program("curl")
        .args(["--silent", "--max-time", "30", "--http2-prior-knowledge", &url])
        .output()
        .expect("curl runs")
        .status;
    // 92: the stream was reset.
    assert_eq!(status.code(), Some(92));
    mesh.stop();
}
