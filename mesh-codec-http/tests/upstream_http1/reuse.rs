use crate::{
    kind, pair,
    upstream_support::{OK, get, request, text},
};
use mesh_codec_http::{Body, UpstreamErrorKind, upstream::sweep};
use mesh_core::{Refusal as _, Side, time};
use tokio::join;

#[tokio::test]
async fn the_last_used_is_taken_first() {
    let (server, client) = pair().await;
    let (a, b, (mut first, mut second)) = join!(client.call(get()), client.call(get()), async {
        let (mut first, mut second) = (server.accept().await, server.accept().await);
        join!(first.head(), second.head());
        first.send(OK).await;
        second.send(OK).await;
        (first, second)
    });
    drop((a.unwrap(), b.unwrap()));
    assert_eq!(client.connections(), (2, 2));
    // whichever it is, it stays the same
    let (response, which) = join!(client.call(get()), async {
        tokio::select! {
            _ = first.answer(OK) => 1,
            _ = second.answer(OK) => 2,
        }
    });
    drop(response.unwrap());
    let last = if which == 1 { &mut first } else { &mut second };
    for _ in 0..5 {
        let (response, _) = join!(client.call(get()), last.answer(OK));
        drop(response.unwrap());
    }
}

#[tokio::test]
async fn connections_that_end_are_not_used_again() {
    let (server, client) = pair().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok",
    ] {
        let (response, ()) = join!(client.call(get()), async {
            let mut peer = server.accept().await;
            peer.answer(answer).await;
        });
        let response = response.unwrap();
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(text(response).await, "ok", "{answer}");
        assert_eq!(client.connections(), (0, 0), "{answer}");
    }
}

#[tokio::test]
async fn http_1_0_may_keep_it_alive() {
    let (server, client) = pair().await;
    let (response, _peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok").await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test]
async fn a_body_dropped_early_closes_it() {
    let (server, client) = pair().await;
    let (response, peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nabc").await;
        peer
    });
    drop(response.unwrap());
    assert_eq!(client.connections(), (0, 0));
    assert_eq!(peer.closed().await, b"");
}

/// The race that every pool has: the upstream closes an idle connection while a request is on its way to it.
#[tokio::test]
async fn a_request_that_met_a_closed_connection_is_sent_again() {
    let (server, client) = pair().await;
    let (response, peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    // at once: the reactor has not run, so nothing is known of it when the request is written
    drop(peer);
    let again = request("DELETE", Body::empty());
    let context = again.body().context().clone();
    let (response, ()) = join!(client.call(again), async {
        let head = server.accept().await.answer(OK).await;
        assert_eq!(head, "DELETE /path?q=1 HTTP/1.1\r\nhost: shop\r\n\r\n");
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(context.attempts(), 2);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again() {
    let (server, client) = pair().await;
    for refused in [request("POST", Body::empty()), request("PUT", Body::full("abc"))] {
        let (response, peer) = join!(client.call(get()), async {
            let mut peer = server.accept().await;
            peer.answer(OK).await;
            peer
        });
        assert_eq!(text(response.unwrap()).await, "ok");
        drop(peer);
        let error = client.call(refused).await.unwrap_err();
        assert_eq!((kind(&error), error.side()), (UpstreamErrorKind::Reset, Side::Upstream));
    }
}

#[tokio::test]
async fn a_part_of_a_response_is_the_end_of_it() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    let (response, ()) = join!(client.call(get()), async {
        peer.answer("HTTP/1.1 2").await;
        drop(peer);
    });
    assert_eq!(kind(&response.unwrap_err()), UpstreamErrorKind::Reset);
}

#[tokio::test]
async fn a_fresh_connection_that_fails_is_not_tried_again() {
    let (server, client) = pair().await;
    let (response, ()) = join!(client.call(get()), async {
        server.accept().await.head().await;
    });
    assert_eq!(kind(&response.unwrap_err()), UpstreamErrorKind::Reset);
    assert_eq!(client.connections(), (0, 0));
    let (response, ()) = join!(client.call(get()), async { drop(server.accept().await) });
    assert_eq!(kind(&response.unwrap_err()), UpstreamErrorKind::Reset);
}

#[tokio::test]
async fn one_that_was_seen_to_close_is_not_used() {
    let (server, client) = pair().await;
    let (response, peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    drop(peer);
    // until the reactor has run
    while client.connections() != (0, 0) {
        tokio::task::yield_now().await;
        sweep(time::now());
    }
    let (response, ()) = join!(client.call(request("POST", Body::full("x"))), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
    });
    assert_eq!(text(response.unwrap()).await, "ok");
}

#[tokio::test]
async fn unasked_bytes_end_an_idle_connection() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    peer.send("HTTP/1.1 408 Request Timeout\r\n\r\n").await;
    while client.connections() != (0, 0) {
        tokio::task::yield_now().await;
        sweep(time::now());
    }
}

/// A second response behind the first is never the answer to the next request.
#[tokio::test]
async fn a_response_too_many_poisons_nothing() {
    let (server, client) = pair().await;
    for extra in ["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", "\r\n", "x"] {
        let (response, first) = join!(client.call(get()), async {
            let mut peer = server.accept().await;
            peer.answer(&format!("{OK}{extra}")).await;
            peer
        });
        assert_eq!(text(response.unwrap()).await, "ok");
        let (response, ()) = join!(client.call(request("POST", Body::full("abc"))), async {
            server.accept().await.answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ngood").await;
        });
        assert_eq!(text(response.unwrap()).await, "good");
        assert_eq!(first.closed().await, b"", "not a byte of the next request");
    }
}

/// A call dropped after any number of polls leaves nothing behind.
#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let (server, client) = pair().await;
    for polls in 0..4 {
        let mut call = client.call(get());
        let accepting = server.accept();
        tokio::pin!(accepting);
        let mut peer = None;
        for _ in 0..polls {
            tokio::select! {
                biased;
                _ = &mut call => panic!("no response"),
                accepted = &mut accepting, if peer.is_none() => peer = Some(accepted),
                () = tokio::task::yield_now() => {}
            }
        }
        drop(call);
        assert_eq!(client.connections(), (0, 0), "after {polls} polls");
        if polls > 0 {
            let peer = match peer {
                Some(peer) => peer,
                None => accepting.await,
            };
            peer.closed().await;
        }
    }
}

/// A server that closes each connection after its third response, without a word: no request is lost.
#[tokio::test]
async fn a_server_that_closes_when_it_likes_costs_no_request() {
    let (server, client) = pair().await;
    let serving = tokio::spawn(async move {
        loop {
            let mut peer = server.accept().await;
            tokio::spawn(async move {
                for _ in 0..3 {
                    peer.answer(OK).await;
                }
            });
        }
    });
    for round in 0..40 {
        let calls: Vec<_> = (0..round % 7 + 1).map(|_| tokio::spawn(client.call(get()))).collect();
        for call in calls {
            assert_eq!(text(call.await.unwrap().unwrap()).await, "ok", "round {round}");
        }
    }
    serving.abort();
}
