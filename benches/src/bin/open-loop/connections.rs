//! Connections to the proxy, and one exchange on one of them.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::Failure;

/// Requests at a time on HTTP/1.1; further ones wait for a connection, and their wait counts.
const HTTP1: usize = 64;
const HTTP2: usize = 8;

/// What goes over which connection.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    Http1,
    Http2,
    Fresh,
}

type Body = Empty<Bytes>;

pub(crate) struct Connections {
    address: String,
    request: Request<Body>,
    pool: Pool,
}

enum Pool {
    Http1 { free: Semaphore, idle: RefCell<Vec<http1::SendRequest<Body>>> },
    Http2 { all: Vec<http2::SendRequest<Body>>, next: Cell<usize> },
    Fresh,
}

impl Connections {
    /// Opens those that are kept.
    pub(crate) async fn open(manner: Manner, address: &str, path: &str) -> Result<Self, Failure> {
        // HTTP/1.1 has the host in a field and the path alone in its first line
        let request = match manner {
            Manner::Http2 => Request::get(format!("http://{address}{path}")),
            _ => Request::get(path).header(header::HOST, address),
        };
        let mut request = request.body(Body::new())?;
        let pool = match manner {
            Manner::Http1 => {
                let mut idle = Vec::new();
                for _ in 0..HTTP1 {
                    idle.push(http1(address).await?);
                }
                Pool::Http1 { free: Semaphore::new(HTTP1), idle: RefCell::new(idle) }
            }
            Manner::Http2 => {
                let mut all = Vec::new();
                for _ in 0..HTTP2 {
                    all.push(http2(address).await?);
                }
                Pool::Http2 { all, next: Cell::new(0) }
            }
            Manner::Fresh => {
                request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
                Pool::Fresh
            }
        };
        Ok(Self { address: address.to_owned(), request, pool })
    }

    /// One request and the whole of its answer, which has to be 200.
    pub(crate) async fn exchange(&self) -> Result<(), Failure> {
        let request = self.request.clone();
        match &self.pool {
            Pool::Http1 { free, idle } => {
                let _permit = free.acquire().await?;
                let kept = idle.borrow_mut().pop().filter(|kept| !kept.is_closed());
                let mut connection = match kept {
                    Some(kept) => kept,
                    None => http1(&self.address).await?,
                };
                connection.ready().await?;
                whole(connection.send_request(request).await?).await?;
                idle.borrow_mut().push(connection);
                Ok(())
            }
            Pool::Http2 { all, next } => {
                next.set((next.get() + 1) % all.len());
                let mut connection = all[next.get()].clone();
                connection.ready().await?;
                whole(connection.send_request(request).await?).await
            }
            Pool::Fresh => {
                let mut connection = http1(&self.address).await?;
                whole(connection.send_request(request).await?).await
            }
        }
    }
}

async fn whole(mut answer: Response<Incoming>) -> Result<(), Failure> {
    while let Some(frame) = answer.body_mut().frame().await {
        frame?;
    }
    if answer.status() == StatusCode::OK { Ok(()) } else { Err(answer.status().to_string().into()) }
}

async fn connect(address: &str) -> Result<TokioIo<TcpStream>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

async fn http1(address: &str) -> Result<http1::SendRequest<Body>, Failure> {
    let (sender, connection) = http1::handshake(connect(address).await?).await?;
    // its end is seen by the exchanges on it
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn http2(address: &str) -> Result<http2::SendRequest<Body>, Failure> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), connect(address).await?).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
