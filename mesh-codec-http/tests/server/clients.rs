//! Who the client is, by whose word, and what its requests are called.

use crate::harness::{connect_fn, options, peer, response};
use http::{HeaderMap, Request};
use mesh_codec_http::{
    Body, HttpError,
    forward::{Forwarded, RequestId, Rules, received},
    server::{Options, Protocol},
};

/// The head that is passed on, and the client.
fn passed_on(rules: &Rules, fields: &[(&'static str, &str)]) -> (HeaderMap, String) {
    let mut request = Request::get("/").header("host", "a").body(()).unwrap();
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let client = received(&mut request, rules).unwrap().client;
    (std::mem::take(request.headers_mut()), client.map_or_else(|| "peer".into(), |client| client.to_string()))
}

#[test]
fn trusted_proxies_name_the_client() {
    let chain = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2, 3.3.3.3")];
    for (hops, client) in [(0, "peer"), (1, "3.3.3.3"), (2, "2.2.2.2"), (3, "1.1.1.1"), (4, "peer")] {
        let rules = Rules::new(&peer(), Forwarded::Append, RequestId::Off).trusted_hops(hops);
        let (head, found) = passed_on(&rules, &chain);
        assert_eq!(found, client, "{hops}");
        assert_eq!(head["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.1.2.3");
    }
    let rules = Rules::new(&peer(), Forwarded::Off, RequestId::Off).trusted_hops(1);
    for (text, client) in [
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("1.1.1.1:80", "1.1.1.1"),
        ("unknown", "peer"),
        ("", "peer"),
        ("1.1.1.1,", "peer"),
    ] {
        assert_eq!(passed_on(&rules, &[("x-forwarded-for", text)]).1, client, "{text}");
    }
    assert_eq!(passed_on(&rules, &[]).1, "peer");
}

#[test]
fn claims_are_replaced() {
    let claims = [
        ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
        ("x-forwarded-for", "3.3.3.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "bank"),
        ("x-forwarded-anything", "x"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
    ];
    for (hops, client) in [(0, "10.1.2.3"), (2, "2.2.2.2"), (9, "10.1.2.3")] {
        let rules = Rules::new(&peer(), Forwarded::Replace, RequestId::Off).trusted_hops(hops);
        let (head, _) = passed_on(&rules, &claims);
        assert_eq!(head.len(), 3, "{head:?}");
        assert_eq!(
            (&head["x-forwarded-for"], &head["x-forwarded-proto"]),
            (&client.parse().unwrap(), &"http".parse().unwrap())
        );
    }
}

#[test]
fn a_request_id_is_always_made() {
    let rules = Rules::new(&peer(), Forwarded::Off, RequestId::Always);
    let (head, _) = passed_on(&rules, &[("x-request-id", "mine"), ("x-request-id", "yours")]);
    assert_eq!(head.get_all("x-request-id").iter().count(), 1);
    assert_eq!(head["x-request-id"].len(), 36);
}

#[tokio::test]
async fn the_record_has_the_client() {
    let telling = |request: mesh_codec_http::Request| async move {
        let address = request.body().context().peer().address.unwrap();
        Ok::<_, HttpError>(response(Body::full(format!("{address}\n.\n"))))
    };
    let options = Options { trusted_hops: 1, ..options(Protocol::Http) };
    let mut connected = connect_fn(options, telling);
    for (claim, client) in [("x-forwarded-for: 9.9.9.9, 1.1.1.1\r\n", "1.1.1.1:0"), ("", "10.1.2.3:4567")] {
        connected.send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{claim}\r\n")).await;
        let answer = connected.read_until("\n.\n").await;
        assert!(answer.ends_with(&format!("\r\n\r\n{client}\n.\n")), "{answer}");
    }
}
