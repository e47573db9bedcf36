//! Both ends of a connection between control planes: dialling, answering, joining. The connection comes
//! authenticated; what this adds is that both sides say who they are, and mean each other.

use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    transport::server::{Connected, Server},
};

use super::{
    Closed, Hello, Import, JoinRequest, JoinResponse, Peer,
    session::{self, Sender, broken},
};
use crate::{
    channel,
    proto::federation::{
        self as proto, Frame,
        federation_client::FederationClient,
        federation_server::{Federation, FederationServer},
        frame,
    },
    server::Denied,
};

/// How long a side may take to say hello.
const HELLO: Duration = Duration::from_secs(10);
/// A connection that does not answer for so long is dead.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// There is nothing much to say in headers.
const HEADER_BYTES: u32 = 16 << 10;
/// Streams of one connection: one, and those of a join.
const STREAMS: u32 = 4;

/// Says who may connect.
pub trait Admit: Send + Sync + 'static {
    /// What becomes of what peers tell.
    type Import: Import;

    /// The peer that a caller is. `extensions` hold what the connection knows of it
    /// ([`Connected::ConnectInfo`]): the certificate that it has shown must be of the peer's control plane.
    ///
    /// # Errors
    /// When it is no peer; the text goes to the caller.
    fn admit(
        &self,
        extensions: &http::Extensions,
        hello: &Hello,
    ) -> impl Future<Output = Result<Peer<Self::Import>, Denied>> + Send;

    /// Redeems an invite.
    ///
    /// # Errors
    /// When it cannot be; the text goes to the caller.
    fn join(
        &self,
        extensions: &http::Extensions,
        request: JoinRequest,
    ) -> impl Future<Output = Result<JoinResponse, Denied>> + Send;
}

/// Opens a stream with `peer` over `io`, and runs it to its end. To be called when
/// [`Peer::vacant`].
pub async fn dial<I: Import>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: &Peer<I>,
) -> Closed {
    let local = peer.inner().local.clone();
    let (out, requests) = mpsc::channel(1);
    let requests = ReceiverStream::new(requests).map_while(Result::ok);
    let opened = timeout(HELLO, open(io, &out, requests, &local)).await;
    let (hello, frames) = match opened.unwrap_or(Err(Closed::Silent)) {
        Ok(opened) => opened,
        Err(closed) => return closed,
    };
    converse(peer, &local.cluster, hello, frames, out).await
}

/// Opens the stream; the peer's hello, and what comes after it.
async fn open(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    out: &Sender,
    requests: impl Stream<Item = Frame> + Send + 'static,
    local: &Hello,
) -> Result<(Hello, Streaming<Frame>), Closed> {
    let _ = out.try_send(Ok(hello_frame(local)));
    let channel = channel::over(io).await.map_err(|e| Closed::Unreachable(e.to_string()))?;
    let answer = FederationClient::new(channel).stream(Request::new(requests)).await;
    let mut frames = answer.map_err(|status| broken(&status))?.into_inner();
    let hello = first_hello(&mut frames).await?;
    Ok((hello, frames))
}

/// Runs a stream on which both sides have said hello.
async fn converse<I: Import>(
    peer: &Peer<I>,
    dialer: &Arc<str>,
    hello: Hello,
    frames: Streaming<Frame>,
    out: Sender,
) -> Closed {
    let peer = peer.inner();
    if let Err(closed) = peer.check(&hello) {
        return closed;
    }
    match peer.claim(dialer) {
        Ok((claim, orders)) => session::run(peer, claim, orders, hello, frames, out).await,
        Err(closed) => closed,
    }
}

/// Answers peers over `incoming` until `shutdown`.
///
/// # Errors
/// When `incoming` fails for good.
pub async fn serve<IO>(
    incoming: impl Stream<Item = io::Result<IO>>,
    admit: Arc<impl Admit>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (close, closed) = watch::channel(false);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .add_service(FederationServer::new(Answering { admit, closed }))
        .serve_with_incoming_shutdown(incoming, async move {
            shutdown.await;
            close.send_replace(true);
        })
        .await
}

struct Answering<A> {
    admit: Arc<A>,
    closed: watch::Receiver<bool>,
}

#[async_trait]
impl<A: Admit> Federation for Answering<A> {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (_, extensions, frames) = request.into_parts();
        let (out, answers) = mpsc::channel(1);
        let (admit, mut closed) = (self.admit.clone(), self.closed.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = answer(&*admit, &extensions, frames, out) => {}
                _ = closed.wait_for(|closed| *closed) => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn join(
        &self,
        request: Request<proto::JoinRequest>,
    ) -> Result<Response<proto::JoinResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let request = JoinRequest::decode(request).map_err(Status::invalid_argument)?;
        let joined = self.admit.join(&extensions, request).await;
        let joined = joined.map_err(|denied| Status::permission_denied(denied.0))?;
        Ok(Response::new(joined.encode()))
    }
}

/// One stream, from the dialled side.
async fn answer<A: Admit>(
    admit: &A,
    extensions: &http::Extensions,
    mut frames: Streaming<Frame>,
    out: Sender,
) {
    let closed = match greet(admit, extensions, &mut frames, &out).await {
        Ok((peer, hello)) => {
            let dialer = hello.cluster.clone();
            converse(&peer, &dialer, hello, frames, out.clone()).await
        }
        Err(closed) => closed,
    };
    tracing::info!(reason = %closed, "federation stream has ended");
    if let Some(status) = told(&closed) {
        let _ = timeout(HELLO, out.send(Err(status))).await;
    }
}

/// Reads the caller's hello, and answers it.
async fn greet<A: Admit>(
    admit: &A,
    extensions: &http::Extensions,
    frames: &mut Streaming<Frame>,
    out: &Sender,
) -> Result<(Peer<A::Import>, Hello), Closed> {
    let hello = timeout(HELLO, first_hello(frames)).await.unwrap_or(Err(Closed::Silent))?;
    let peer = admit.admit(extensions, &hello).await.map_err(|denied| Closed::Refused(denied.0))?;
    peer.inner().check(&hello)?;
    let _ = out.send(Ok(hello_frame(&peer.inner().local))).await;
    Ok((peer, hello))
}

/// What the dialling side is told of the end of its stream.
fn told(closed: &Closed) -> Option<Status> {
    match closed {
        Closed::Refused(why) => Some(Status::permission_denied(why)),
        Closed::Impostor { .. } => Some(Status::permission_denied(closed.to_string())),
        Closed::Duplicate => Some(Status::already_exists(closed.to_string())),
        Closed::Violation(why) => Some(Status::resource_exhausted(why)),
        _ => None,
    }
}

async fn first_hello(frames: &mut Streaming<Frame>) -> Result<Hello, Closed> {
    let frame = frames.message().await.map_err(|status| broken(&status))?;
    let Some(frame::Frame::Hello(hello)) = frame.and_then(|frame| frame.frame) else {
        return Err(Closed::Violation("it does not say hello".to_owned()));
    };
    let proto::Hello { cluster, trust_domain, version } = hello;
    let trust_domain = trust_domain.parse();
    let trust_domain =
        trust_domain.map_err(|e: isthmus_ir::InvalidIdentity| Closed::Violation(e.to_string()))?;
    Ok(Hello { cluster: cluster.into(), trust_domain, version })
}

fn hello_frame(hello: &Hello) -> Frame {
    let Hello { cluster, trust_domain, version } = hello;
    let hello = proto::Hello {
        cluster: cluster.as_ref().to_owned(),
        trust_domain: trust_domain.to_string(),
        version: version.clone(),
    };
    Frame { frame: Some(frame::Frame::Hello(hello)) }
}

/// Why a join came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinFailure {
    /// The connection broke: try again.
    #[error("the other cluster cannot be reached: {0}")]
    Unreachable(String),
    /// The other cluster does not let us in.
    #[error("the other cluster refuses: {0}")]
    Refused(String),
    /// Its answer makes no sense.
    #[error("the other cluster's answer makes no sense: {0}")]
    Invalid(String),
}

/// Redeems an invite over `io`.
///
/// # Errors
/// When nothing came of it.
pub async fn join(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: JoinRequest,
) -> Result<JoinResponse, JoinFailure> {
    let unreachable = |why: String| JoinFailure::Unreachable(why);
    let channel = channel::over(io).await.map_err(|e| unreachable(e.to_string()))?;
    let mut client = FederationClient::new(channel);
    let answer = timeout(HELLO, client.join(Request::new(request.encode()))).await;
    let answer = answer.map_err(|_| unreachable("it does not answer".to_owned()))?;
    let answer = answer.map_err(|status| match broken(&status) {
        Closed::Refused(why) => JoinFailure::Refused(why),
        _ => unreachable(status.message().to_owned()),
    })?;
    JoinResponse::decode(answer.into_inner()).map_err(JoinFailure::Invalid)
}
