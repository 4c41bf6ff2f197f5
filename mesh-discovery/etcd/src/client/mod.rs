//! A client of etcd's v3 gRPC API, as much as discovery and registration need: over tonic's channel, with messages
//! written by hand, so that no `protoc` is needed to build it.

mod failure;
mod proto;

#[cfg(all(test, feature = "interop"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub(crate) use failure::Failure;

use crate::{
    settings::{Access, Login},
    view::{Change, Entry, Mark, Snapshot},
};
use futures_core::Stream;
use http::uri::PathAndQuery;
use prost::Message;
use proto::{
    AuthenticateRequest, AuthenticateResponse, DELETE, Done, KeyValue, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseRequest, PutRequest, RangeRequest, RangeResponse, ResponseHeader, WatchCreateRequest,
    WatchRequest, WatchResponse,
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::timeout;
use tonic::{
    Code, Request, Streaming,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// A call that has not been answered after this long has failed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);
/// How often a connection with a call on it is asked whether it lives. etcd ends one that asks more often than every
/// 5 s (`--grpc-keepalive-min-time`), and one that asks with no call on it.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// Keys in one answer; with values of usual size far below [`LARGEST`].
const PAGE: i64 = 1000;
/// The largest answer that is read, in bytes. etcd itself takes no request above 1.5 MiB, and cuts watch answers
/// (`fragment`) to that size.
const LARGEST: usize = 64 << 20;

/// A connection to one server of etcd; it connects again by itself where a call finds it broken.
pub(crate) struct Client {
    grpc: Grpc<Channel>,
    token: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Connects, and logs in if there is somebody to log in.
    pub(crate) async fn connect(server: &str, access: &Access) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(server.to_owned())?
            .connect_timeout(CONNECTED_WITHIN)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN);
        let channel = within(ANSWERED_WITHIN, async { Ok(endpoint.connect().await?) }).await?;
        let mut client = Self { grpc: Grpc::new(channel).max_decoding_message_size(LARGEST), token: None };
        if let Some(Login { user, password }) = &access.login {
            let request = AuthenticateRequest { name: user.clone(), password: password.clone() };
            let answer: AuthenticateResponse = client.call("/etcdserverpb.Auth/Authenticate", request).await?;
            client.token = Some(answer.token.parse().map_err(|_| Failure::Wrong("a token that is no text"))?);
        }
        Ok(client)
    }

    /// All keys with this prefix at one revision, the newest that a majority agrees on, in the order of the keys.
    pub(crate) async fn range(&self, prefix: &[u8]) -> Result<Snapshot, Failure> {
        let mut request =
            RangeRequest { key: prefix.to_vec(), range_end: after_prefix(prefix), limit: PAGE, revision: 0 };
        let mut entries = Vec::new();
        let mut first: Option<Mark> = None;
        loop {
            let answer: RangeResponse = self.call("/etcdserverpb.KV/Range", request.clone()).await?;
            let mark = *first.get_or_insert(mark(answer.header)?);
            entries.extend(answer.kvs.into_iter().map(entry));
            match entries.last() {
                Some(last) if answer.more => request.key = [last.key.as_slice(), &[0]].concat(),
                _ => return Ok(Snapshot { mark, entries }),
            }
            request.revision = mark.revision;
        }
    }

    /// Watches the keys with this prefix from a revision on.
    pub(crate) async fn watch(&self, prefix: &[u8], from: i64) -> Result<Watch, Failure> {
        let create_request = WatchCreateRequest {
            key: prefix.to_vec(),
            range_end: after_prefix(prefix),
            start_revision: from,
            progress_notify: true,
            fragment: true,
        };
        let message = WatchRequest { create_request: Some(create_request) };
        let mut request = self.request(Requests { message: Some(message), open: true });
        // a server that is cut off from its leader ends the watch, instead of staying silent
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let answers = within(ANSWERED_WITHIN, self.stream("/etcdserverpb.Watch/Watch", request)).await?;
        Ok(Watch { answers })
    }

    pub(crate) async fn put(&self, key: &[u8], value: &[u8], lease: i64) -> Result<(), Failure> {
        let request = PutRequest { key: key.to_vec(), value: value.to_vec(), lease };
        let Done {} = self.call("/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }

    /// Makes a lease of this number, and gives how long it lives; the server may make it longer than asked.
    pub(crate) async fn grant(&self, id: i64, ttl: Duration) -> Result<Duration, Failure> {
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let answer: LeaseGrantResponse =
            self.call("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest { ttl, id }).await?;
        match answer.error.as_str() {
            "" => Ok(seconds(answer.ttl)),
            _ => Err(Failure::Refused(answer.error)),
        }
    }

    /// Begins the life of a lease anew, and gives how long it is; `None` when there is no such lease. A stream of its
    /// own for each time costs little at this pace, and has no state.
    pub(crate) async fn keep_alive(&self, id: i64, limit: Duration) -> Result<Option<Duration>, Failure> {
        let message = LeaseRequest { id };
        let request = self.request(Requests { message: Some(message), open: false });
        let answer = within(limit.min(ANSWERED_WITHIN), async {
            let mut answers: Streaming<LeaseKeepAliveResponse> =
                self.stream("/etcdserverpb.Lease/LeaseKeepAlive", request).await?;
            answers.message().await?.ok_or(Failure::Ended)
        });
        let ttl = answer.await?.ttl;
        Ok((ttl > 0).then(|| seconds(ttl)))
    }

    /// Ends a lease, and with it the keys under it. One that is not there has ended.
    pub(crate) async fn revoke(&self, id: i64) -> Result<(), Failure> {
        match self.call("/etcdserverpb.Lease/LeaseRevoke", LeaseRequest { id }).await {
            Ok(Done {}) => Ok(()),
            Err(Failure::Status(status)) if status.code() == Code::NotFound => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn call<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        within(ANSWERED_WITHIN, async {
            let mut grpc = self.grpc.clone();
            grpc.ready().await?;
            let path = PathAndQuery::from_static(path);
            Ok(grpc.unary(self.request(message), path, ProstCodec::<Q, A>::default()).await?.into_inner())
        })
        .await
    }

    async fn stream<Q, A>(&self, path: &'static str, request: Request<Requests<Q>>) -> Result<Streaming<A>, Failure>
    where
        Q: Message + Unpin + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        grpc.ready().await?;
        let path = PathAndQuery::from_static(path);
        Ok(grpc.streaming(request, path, ProstCodec::<Q, A>::default()).await?.into_inner())
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

/// What a watch says.
#[derive(Debug)]
pub(crate) enum Watched {
    /// What was changed, in order, up to this mark: all of it, or none yet.
    Changes(Mark, Vec<Change>),
    /// The revision it should begin at is no longer kept.
    Compacted,
}

/// A watch that goes on; dropping it cancels it.
pub(crate) struct Watch {
    answers: Streaming<WatchResponse>,
}

impl Watch {
    /// The next that it says. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Watched, Failure> {
        let answer = self.answers.message().await?.ok_or(Failure::Ended)?;
        if answer.compact_revision > 0 {
            return Ok(Watched::Compacted);
        }
        if answer.canceled {
            return Err(Failure::Refused(answer.cancel_reason));
        }
        let changes = answer.events.into_iter().filter_map(|event| {
            let entry = entry(event.kv?);
            Some(if event.kind == DELETE { Change::Delete(entry.key) } else { Change::Put(entry) })
        });
        Ok(Watched::Changes(mark(answer.header)?, changes.collect()))
    }
}

/// The one request of a stream; then its end, or silence for as long as the stream lives.
struct Requests<Q> {
    message: Option<Q>,
    open: bool,
}

impl<Q: Unpin> Stream for Requests<Q> {
    type Item = Q;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Q>> {
        match self.message.take() {
            None if self.open => Poll::Pending, // nobody has to be woken: it is dropped with the call
            message => Poll::Ready(message),
        }
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(limit, call).await.unwrap_or(Err(Failure::Silent(limit)))
}

/// The first key after all that begin with `prefix`, as `range_end` wants it; zero is "to the last key".
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

fn mark(header: Option<ResponseHeader>) -> Result<Mark, Failure> {
    let ResponseHeader { cluster_id, revision, raft_term } =
        header.ok_or(Failure::Wrong("an answer with no header"))?;
    Ok(Mark { cluster: cluster_id, term: raft_term, revision })
}

fn entry(kv: KeyValue) -> Entry {
    Entry { key: kv.key, value: kv.value, revision: kv.mod_revision }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
