use crate::harness::{connect, connect_fn, get, grpc, mirror, options};
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use http_body_util::BodyExt;
use mesh_codec_http::{
    forward::{
        Forwarded, RequestId, Rules, Slashes, format_grpc_timeout, normalise, received, shrink_grpc_timeout,
        strip_response, to_http1, to_http2,
    },
    server::{Options, Protocol},
};
use mesh_core::{Context, Kind, Peer, http::parse_grpc_timeout, time};
use proptest::prelude::*;
use std::time::Duration;
use tower::service_fn;

/// What the service sees of this request.
async fn seen_with(options: Options, request: &str) -> String {
    let mut connected = connect(options, service_fn(mirror));
    connected.send(request).await;
    let answer = connected.read_until("\n.\n").await;
    answer.split_once("\r\n\r\n").unwrap().1.trim_end_matches("\n.\n").into()
}

fn plain() -> Options {
    Options { forwarded: Forwarded::Off, request_id: RequestId::Off, ..options(Protocol::Http) }
}

async fn seen(request: &str) -> String {
    seen_with(plain(), request).await
}

#[tokio::test]
async fn hop_by_hop_fields_end_here() {
    let head = seen(concat!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine , close\r\nConnection: x-other\r\nX-Mine: 1\r\n",
        "x-other: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip, trailers;q=1\r\n",
        "Upgrade: h2c\r\nProxy-Authorization: Basic eA==\r\nProxy-Authenticate: Basic\r\nX-End: 3\r\n\r\n",
    ))
    .await;
    assert_eq!(head, "GET / HTTP/1.1\nhost: a\nx-end: 3");
}

#[tokio::test]
async fn connection_cannot_name_what_frames_and_routes() {
    let head = seen(concat!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length, te, cookie\r\nContent-Length: 2\r\n",
        "TE: trailers\r\nCookie: a=1\r\n\r\nhi",
    ))
    .await;
    assert_eq!(head, "POST / HTTP/1.1\ncontent-length: 2\ncookie: a=1\nhost: a\nte: trailers");
    // of the fields that we write ourselves only the client's own value goes
    let named = "GET / HTTP/1.1\r\nhost: a\r\nconnection: x-forwarded-for, x-request-id\r\nx-forwarded-for: 6.6.6.6\r\nx-request-id: mine\r\n\r\n";
    let head = seen_with(options(Protocol::Http), named).await;
    assert!(head.contains("\nx-forwarded-for: 10.1.2.3\n") && head.contains("\nx-request-id: "), "{head}");
    assert!(!head.contains("mine"), "{head}");
}

#[tokio::test]
async fn te_passes_as_far_as_it_says_trailers() {
    for (te, left) in [
        ("trailers", Some("trailers")),
        ("Trailers", Some("trailers")),
        ("gzip, trailers", Some("trailers")),
        ("gzip", None),
        ("trailersx", None),
    ] {
        let head = seen(&format!("GET / HTTP/1.1\r\nhost: a\r\nte: {te}\r\n\r\n")).await;
        assert_eq!(head.lines().find_map(|line| line.strip_prefix("te: ")), left, "{te}");
    }
}

#[tokio::test]
async fn transfer_encoding_and_expect_end_here() {
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n0\r\n\r\n";
    assert_eq!(seen(chunked).await, "POST / HTTP/1.1\nhost: a");
}

#[tokio::test]
async fn forwarded_fields_and_the_request_id() {
    let head = seen_with(options(Protocol::Http), "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (rest, id) = head.rsplit_once("x-request-id: ").unwrap();
    assert_eq!(rest, "GET / HTTP/1.1\nhost: a\nx-forwarded-for: 10.1.2.3\nx-forwarded-proto: http\n");
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'), "{id}");

    let present = concat!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n",
        "x-forwarded-proto: https\r\nx-request-id: mine\r\n\r\n",
    );
    let head = seen_with(options(Protocol::Http), present).await;
    assert_eq!(
        head,
        concat!(
            "GET / HTTP/1.1\nhost: a\nx-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.1.2.3\n",
            "x-forwarded-proto: https\nx-request-id: mine"
        )
    );
    assert_eq!(seen("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\n\r\n").await.lines().count(), 3);
}

#[test]
fn a_peer_without_an_address_adds_nothing() {
    let mut request = Request::get("/").header("host", "a").body(()).unwrap();
    received(&mut request, &Rules::new(&Peer::UNKNOWN, Forwarded::Append, RequestId::Off)).unwrap();
    assert_eq!(request.headers().len(), 1);
    let v6 = Peer { address: Some("[2001:db8::1]:5".parse().unwrap()), ..Peer::UNKNOWN };
    received(&mut request, &Rules::new(&v6, Forwarded::Append, RequestId::Off)).unwrap();
    assert_eq!(request.headers()["x-forwarded-for"], "2001:db8::1");
}

#[tokio::test]
async fn the_authority_is_settled() {
    assert_eq!(seen("GET http://b:81/p?q HTTP/1.1\r\nhost: a\r\n\r\n").await, "GET /p?q HTTP/1.1\nhost: b:81");
    assert_eq!(seen("GET http://me:pw@b HTTP/1.1\r\nhost: a\r\n\r\n").await, "GET / HTTP/1.1\nhost: b");
    assert_eq!(seen("GET / HTTP/1.0\r\n\r\n").await, "GET / HTTP/1.0");
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n",
    ] {
        let mut connected = connect_fn(plain(), mirror);
        connected.send(bad).await;
        let answer = connected.read_until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"), "{bad}: {answer}");
    }
    let mut client = connect_fn(plain(), mirror).http2().await;
    let answer = client.send(get("/").header("host", "other"), "").await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "GET http://shop.local/ HTTP/2.0\n.\n");
}

/// A request that came over this version, as the upstream side gets it.
fn request(version: Version, uri: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::get(uri).version(version).body(()).unwrap();
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn shown(request: &Request<()>) -> String {
    let mut shown = format!("{} {:?}", request.uri(), request.version());
    for (name, value) in request.headers() {
        shown += &format!(" {name}={}", value.to_str().unwrap());
    }
    shown
}

#[test]
fn translation() {
    let v2 = |fields: &[(&'static str, &str)]| request(Version::HTTP_2, "http://a:8/p?q", fields);
    let v1 = |fields: &[(&'static str, &str)]| request(Version::HTTP_11, "/p?q", fields);

    let mut down = v2(&[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")]);
    to_http1(&mut down).unwrap();
    assert_eq!(shown(&down), "/p?q HTTP/1.1 cookie=a=1; b=2 te=trailers host=a:8");

    let mut same = v1(&[("host", "a:8"), ("cookie", "a=1"), ("cookie", "b=2")]);
    to_http1(&mut same).unwrap();
    assert_eq!(shown(&same), "/p?q HTTP/1.1 host=a:8 cookie=a=1 cookie=b=2");

    let mut up = v1(&[("host", "a:8"), ("x", "y")]);
    to_http2(&mut up).unwrap();
    assert_eq!(shown(&up), "http://a:8/p?q HTTP/2.0 x=y");

    let mut same = v2(&[("cookie", "a=1"), ("cookie", "b=2")]);
    to_http2(&mut same).unwrap();
    assert_eq!(shown(&same), "http://a:8/p?q HTTP/2.0 cookie=a=1 cookie=b=2");

    let mut asterisk = request(Version::HTTP_11, "*", &[("host", "a")]);
    *asterisk.method_mut() = http::Method::OPTIONS;
    to_http1(&mut asterisk).unwrap();
    assert_eq!(asterisk.uri(), "*");

    let mut old = request(Version::HTTP_10, "/", &[]);
    to_http2(&mut old).unwrap();
    assert_eq!(shown(&old), "/ HTTP/1.1");
    let mut old = request(Version::HTTP_10, "/", &[]);
    to_http1(&mut old).unwrap();
    assert_eq!(shown(&old), "/ HTTP/1.1");

    let mut bad = v1(&[("host", "a b")]);
    assert_eq!(to_http2(&mut bad).unwrap_err().kind(), Kind::Malformed);
    let mut named = request(Version::HTTP_2, "http://me:pw@a/", &[]);
    to_http1(&mut named).unwrap();
    assert_eq!(named.headers()["host"], "a");
}

#[test]
fn there_and_back_again() {
    for uri in ["/", "/p?q", "/?q", "/a//b", "/%2e"] {
        let before = request(Version::HTTP_11, uri, &[("x", "y"), ("host", "shop:80")]);
        let mut after = request(Version::HTTP_11, uri, &[("host", "shop:80"), ("x", "y")]);
        to_http2(&mut after).unwrap();
        to_http1(&mut after).unwrap();
        assert_eq!(shown(&after), shown(&before));
    }
}

#[test]
fn responses_are_stripped() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("x-mesh-rejected-by", "rate_limit"),
        ("content-type", "application/grpc+proto"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("x-end", "1"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    assert!(strip_response(&mut headers));
    let mut left: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-type", "trailer", "x-end"]);
    assert!(!strip_response(&mut HeaderMap::new()));
}

#[test]
fn what_the_pass_has_seen() {
    let rules = Rules::new(&Peer::UNKNOWN, Forwarded::Off, RequestId::Off);
    let seen =
        |fields: &[(&'static str, &str)]| received(&mut request(Version::HTTP_2, "http://a/", fields), &rules).unwrap();
    let grpc = ("content-type", "application/grpc");
    assert_eq!(seen(&[grpc, ("grpc-timeout", "1S")]).grpc_timeout, Some(Duration::from_secs(1)));
    assert_eq!(seen(&[("grpc-timeout", "1S")]).grpc_timeout, None);
    assert_eq!(seen(&[grpc, ("grpc-timeout", "soon")]).grpc_timeout, None);
    assert!(seen(&[("content-type", "application/grpc;x=y")]).grpc);
    assert!(!seen(&[("content-type", "application/grpc-web")]).grpc);
}

#[tokio::test]
async fn a_record_of_the_call_begins() {
    let listener = mesh_core::Name::intern("web");
    let telling = |request: mesh_codec_http::Request| async move {
        let context = request.body().context();
        assert_eq!(context.peer().address, Some("10.1.2.3:4567".parse().unwrap()));
        assert!(context.arrived().unwrap() <= time::now());
        let text = format!("{} {} {}", context.listener(), context.protocol(), context.request_ended().is_some());
        Ok(crate::harness::response(mesh_codec_http::Body::full(text)))
    };
    let mut client = connect_fn(Options { listener, ..plain() }, telling).http2().await;
    for (request, body, expected) in [(get("/"), "", "web http true"), (grpc("/"), "x", "web grpc false")] {
        let answer = client.send(request, body).await.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(answer, expected);
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z.]{0,4}",
        Just(".".to_owned()),
        Just("..".to_owned()),
        Just("%2e".to_owned()),
        Just(".%2E".to_owned())
    ]
}

proptest! {
    #[test]
    fn a_timeout_never_grows_and_loses_less_than_a_hundredth(nanos in prop_oneof![0..u64::MAX, 0..1_000_000_000u64, 0..300u64]) {
        let text = format_grpc_timeout(Duration::from_nanos(nanos));
        let back = parse_grpc_timeout(text.as_bytes()).unwrap();
        prop_assert!(back <= Duration::from_nanos(nanos));
        let most = 99_999_999_u64.saturating_mul(3_600_000_000_000);
        prop_assert!(back >= Duration::from_nanos(nanos.min(most) / 100 * 99), "{nanos} {text:?}");
    }

    #[test]
    fn what_was_formatted_stays(number in 0..=99_999_999_u64, unit in "[HMSmun]") {
        let before = parse_grpc_timeout(format!("{number}{unit}").as_bytes()).unwrap();
        let once = format_grpc_timeout(before);
        let twice = format_grpc_timeout(parse_grpc_timeout(once.as_bytes()).unwrap());
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn shrinking_never_grows(millis in 1..10_000_000_u64) {
        let now = time::now();
        let context = Context::begin(now, None);
        context.limit_deadline(now.plus(Duration::from_millis(millis)));
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        if shrink_grpc_timeout(&mut headers, &context).is_ok() {
            let written = parse_grpc_timeout(headers["grpc-timeout"].as_bytes()).unwrap();
            prop_assert!(written <= Duration::from_millis(millis));
        }
    }

    #[test]
    fn normal_paths_stay_and_have_no_dot_segments(segments in prop::collection::vec(segment(), 0..8)) {
        let path = format!("/{}", segments.join("/"));
        let once = normalise(&path, Slashes::Keep).unwrap().into_owned();
        prop_assert!(once.starts_with('/') && once.len() <= path.len());
        prop_assert_eq!(normalise(&once, Slashes::Keep).unwrap(), once.as_str());
        for segment in once.split('/') {
            let dots = segment.to_ascii_lowercase().replace("%2e", ".");
            prop_assert!(dots != "." && dots != "..", "{} {}", path, once);
        }
    }

    #[test]
    fn a_normal_path_is_what_a_stack_of_segments_gives(segments in prop::collection::vec(segment(), 0..8)) {
        let path = format!("/{}", segments.join("/"));
        let mut stack: Vec<&str> = Vec::new();
        let parts: Vec<&str> = path[1..].split('/').collect();
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            match part.to_ascii_lowercase().replace("%2e", ".").as_str() {
                "." => if last { stack.push("") },
                ".." => { stack.pop(); if last { stack.push("") } }
                _ => stack.push(part),
            }
        }
        prop_assert_eq!(normalise(&path, Slashes::Keep).unwrap(), format!("/{}", stack.join("/")));
    }

    #[test]
    fn only_what_a_connection_names_goes(names in prop::collection::btree_set("x-[a-z]{1,3}", 0..6), named in 0..6_usize) {
        let mut request = request(Version::HTTP_11, "/", &[("host", "a")]);
        for name in &names {
            request.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
        }
        let connection = names.iter().take(named).map(String::as_str).collect::<Vec<_>>().join(" ,");
        if !connection.is_empty() {
            request.headers_mut().insert("connection", connection.parse().unwrap());
        }
        received(&mut request, &Rules::new(&Peer::UNKNOWN, Forwarded::Off, RequestId::Off)).unwrap();
        let left: Vec<&str> = names.iter().skip(named).map(String::as_str).collect();
        let mut found: Vec<&str> = request.headers().keys().map(|name| name.as_str()).filter(|name| *name != "host").collect();
        found.sort_unstable();
        prop_assert_eq!(found, left);
    }

    #[test]
    fn any_uri_survives_the_way_to_http_1(path in "(/[a-z0-9%~!$&'()*+,;=:@-]{0,8}){1,4}", query in prop::option::of("[a-z=&?/]{0,8}")) {
        let path = path.replace('%', "%41");
        let relative = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let mut request = request(Version::HTTP_2, &format!("http://host:80{relative}"), &[]);
        to_http1(&mut request).unwrap();
        prop_assert_eq!(request.uri(), &relative.parse::<Uri>().unwrap());
        prop_assert_eq!(&request.headers()["host"], "host:80");
    }
}
