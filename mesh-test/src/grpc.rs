//! gRPC without generated code: a codec of plain bytes, a tonic service of one function, and calls of such a service.
//!
//! ```
//! use mesh_test::grpc;
//! use tonic::Status;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Status> {
//! let echo = grpc::service(|message| vec![Ok(message)]);
//! assert_eq!(grpc::unary(echo, b"hello".to_vec()).await?, b"hello");
//! # Ok(())
//! # }
//! ```

use bytes::{Buf, BufMut, Bytes};
use futures_core::Stream;
use http_body::Body;
use mesh_core::BoxError;
use std::{
    convert::Infallible,
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body as TonicBody,
    client::{Grpc as Client, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc as Server, NamedService, ServerStreamingService},
};
use tower_service::Service;

/// A codec of plain bytes: messages are what they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

/// What a [`service`] answers a message with.
pub type Answer = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

/// What is sent in answer: a list of messages, an [`Answer`], which is any stream of them in a box, or one of these
/// in a `Result` whose error is the status, in the head and without a message.
pub trait IntoAnswer {
    /// The messages, and then the status: of the first that is an error, else `OK`.
    ///
    /// # Errors
    /// A status in the head.
    fn into_answer(self) -> Result<Answer, Status>;
}

impl IntoAnswer for Answer {
    fn into_answer(self) -> Result<Answer, Status> {
        Ok(self)
    }
}

impl IntoAnswer for Vec<Result<Vec<u8>, Status>> {
    fn into_answer(self) -> Result<Answer, Status> {
        Ok(Box::pin(Listed(self.into_iter())))
    }
}

impl<A: IntoAnswer> IntoAnswer for Result<A, Status> {
    fn into_answer(self) -> Result<Answer, Status> {
        self.and_then(A::into_answer)
    }
}

struct Listed(std::vec::IntoIter<Result<Vec<u8>, Status>>);

impl Stream for Listed {
    type Item = Result<Vec<u8>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// A tonic service, named `mesh.test.Raw`, whose every method takes one message and answers what `answer` says: for
/// `tonic::transport::Server::add_service`, or to be called as it is.
pub fn service<F, A>(answer: F) -> RawService<F>
where
    F: Fn(Vec<u8>) -> A + Clone + Send + Sync + 'static,
    A: IntoAnswer,
{
    RawService(answer)
}

/// See [`service`].
#[derive(Clone)]
pub struct RawService<F>(F);

impl<F> fmt::Debug for RawService<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawService")
    }
}

impl<F> NamedService for RawService<F> {
    const NAME: &'static str = "mesh.test.Raw";
}

impl<F, A, B> Service<http::Request<B>> for RawService<F>
where
    F: Fn(Vec<u8>) -> A + Clone + Send + Sync + 'static,
    A: IntoAnswer,
    B: Body + Send + 'static,
    B::Error: Into<BoxError> + Send,
{
    type Response = http::Response<TonicBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = Streams(self.0.clone());
        Box::pin(async move { Ok(Server::new(RawCodec).server_streaming(answer, request).await) })
    }
}

struct Streams<F>(F);

impl<F: Fn(Vec<u8>) -> A, A: IntoAnswer> ServerStreamingService<Vec<u8>> for Streams<F> {
    type Response = Vec<u8>;
    type ResponseStream = Answer;
    type Future = Ready<Result<Response<Answer>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        ready((self.0)(request.into_inner()).into_answer().map(Response::new))
    }
}

const PATH: http::uri::PathAndQuery = http::uri::PathAndQuery::from_static("/mesh.test.Raw/Call");

/// Calls a [`service`] behind a channel, or the service itself, and gives the stream of its messages.
///
/// # Errors
/// The status, where it came with the head of the answer.
pub async fn streaming<T>(service: T, request: impl tonic::IntoRequest<Vec<u8>>) -> Result<Streaming<Vec<u8>>, Status>
where
    T: GrpcService<TonicBody>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<BoxError> + Send,
{
    let mut client = Client::new(service);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.server_streaming(request.into_request(), PATH, RawCodec).await.map(Response::into_inner)
}

/// Calls a [`service`] that answers with one message.
///
/// # Errors
/// The status, from head or trailers.
pub async fn unary<T>(service: T, request: impl tonic::IntoRequest<Vec<u8>>) -> Result<Vec<u8>, Status>
where
    T: GrpcService<TonicBody>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<BoxError> + Send,
{
    let mut client = Client::new(service);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(request.into_request(), PATH, RawCodec).await.map(Response::into_inner)
}
