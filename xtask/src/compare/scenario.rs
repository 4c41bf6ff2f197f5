//! What is asked of every proxy.

/// The proxies' ports, the same for each of them: see the folder of their settings.
pub(super) const HTTP1: u16 = 17100;
const HTTP2: u16 = 17101;
pub(super) const TCP: u16 = 17102;
pub(super) const PROXIES: [u16; 3] = [HTTP1, HTTP2, TCP];
pub(super) const ORIGINS: [u16; 6] = [17111, 17112, 17113, 17121, 17122, 17123];

/// The connections of a closed loop, and the manner of an open one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// `wrk`, 64 connections kept alive.
    Http1,
    /// `h2load`, 8 connections of 32 streams.
    Http2,
    /// `wrk`, 64 connections at a time, each for one request.
    Fresh,
}

pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) port: u16,
    pub(super) path: &'static str,
    pub(super) manner: Manner,
    /// Requests per second of the open loop: well below what the slowest can do.
    pub(super) rate: u32,
}

pub(super) const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "http1-small",
        title: "HTTP/1.1, 128 B",
        port: HTTP1,
        path: "/small",
        manner: Manner::Http1,
        rate: 2000,
    },
    Scenario {
        name: "http1-large",
        title: "HTTP/1.1, 16 KiB",
        port: HTTP1,
        path: "/large",
        manner: Manner::Http1,
        rate: 2000,
    },
    Scenario {
        name: "local",
        title: "Answer from the proxy, 128 B",
        port: HTTP1,
        path: "/local",
        manner: Manner::Http1,
        rate: 2000,
    },
    Scenario {
        name: "http2",
        title: "HTTP/2 to HTTP/2, 128 B",
        port: HTTP2,
        path: "/small",
        manner: Manner::Http2,
        rate: 2000,
    },
    Scenario {
        name: "fresh",
        title: "A connection per request, 128 B",
        port: HTTP1,
        path: "/small",
        manner: Manner::Fresh,
        rate: 500,
    },
    Scenario { name: "tcp", title: "TCP relay, 128 B", port: TCP, path: "/small", manner: Manner::Http1, rate: 2000 },
];

impl Scenario {
    pub(super) fn is_tcp(&self) -> bool {
        self.port == TCP
    }
}
