use super::{Error, Reply, Request, decode_reply, decode_request, encode_reply, encode_request};
use mesh_core::{Context, Governed, Outcome, Refusal, Side, Verdict, time};
use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context as Cx, Poll},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
};
use tower_service::Service;

/// Serves the requests of a connection, one after the other, until the other end closes it. An answer ends when it has
/// been written; a one-way request is answered with nothing.
///
/// # Errors
/// The connection broke, or a line was no request.
pub async fn serve<IO, S>(io: IO, mut service: S) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite,
    S: Service<Request, Response = Reply, Error = Error>,
{
    let (reader, mut writer) = tokio::io::split(io);
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let context = Context::begin(time::now(), None);
        let request =
            decode_request(&line, context).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let one_way = request.one_way;
        let result = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(request).await,
            Err(error) => Err(error),
        };
        let mut reply = result.unwrap_or_else(|error| match error.rejection() {
            Some(rejection) => Reply::refused(rejection),
            None => Reply::new(super::FAILED).with_result(&error.to_string()),
        });
        if !one_way && let Err(error) = writer.write_all(encode_reply(&reply).as_bytes()).await {
            reply.guards().end(Verdict::without_answer(Outcome::Cancelled, Side::Downstream));
            return Err(error);
        }
        reply.guards().end_well();
    }
    Ok(())
}

/// A client of a service in the same task, over a connection in memory.
///
/// # Panics
/// Outside a tokio runtime.
pub fn connect<S>(service: S) -> Client
where
    S: Service<Request, Response = Reply, Error = Error> + Send + 'static,
    S::Future: Send,
{
    let (near, far) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        // a broken connection is seen by the client
        let _ = serve(far, service).await;
    });
    Client::new(near)
}

/// Calls over one connection, one after the other. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    calls: mpsc::UnboundedSender<(Request, oneshot::Sender<Result<Reply, Error>>)>,
}

impl Client {
    /// A client of whoever is at the other end.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (calls, mut waiting) = mpsc::unbounded_channel::<(Request, oneshot::Sender<_>)>();
        let (reader, writer) = tokio::io::split(io);
        tokio::spawn(async move {
            let mut connection = Connection { reader: BufReader::new(reader), writer };
            while let Some((request, answer)) = waiting.recv().await {
                // whoever asked may have gone
                let _ = answer.send(connection.call(request).await);
            }
        });
        Self { calls }
    }
}

impl Service<Request> for Client {
    type Response = Reply;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (answer, result) = oneshot::channel();
        let sent = self.calls.send((request, answer));
        Box::pin(async move {
            match (sent, result.await) {
                (Ok(()), Ok(result)) => result,
                _ => Err(gone()),
            }
        })
    }
}

fn gone() -> Error {
    Error::Io(io::ErrorKind::BrokenPipe.into())
}

struct Connection<IO> {
    reader: BufReader<ReadHalf<IO>>,
    writer: WriteHalf<IO>,
}

impl<IO: AsyncRead + AsyncWrite> Connection<IO> {
    async fn call(&mut self, request: Request) -> Result<Reply, Error> {
        self.writer.write_all(encode_request(&request).as_bytes()).await.map_err(Error::Io)?;
        request.context.end_request();
        if request.one_way {
            return Ok(Reply::to_one_way());
        }
        let mut line = String::new();
        match self.reader.read_line(&mut line).await {
            Ok(0) => Err(gone()),
            Ok(_) => decode_reply(&line).map_err(Error::Malformed),
            Err(error) => Err(Error::Io(error)),
        }
    }
}
