//! Strangers in memory, on a paused clock.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::mpsc,
    time::Instant,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::UnboundedReceiverStream};

use crate::accept::{Admission, Bounds, Connection, connections};

const BOUNDS: Bounds =
    Bounds { port: "test", connections: 3, guests: 2, patience: Duration::from_secs(10) };

type Dial = mpsc::UnboundedSender<io::Result<DuplexStream>>;
type Accepted = Connection<DuplexStream, Admission>;

/// A port where whoever says something is greeted.
fn port() -> (Dial, impl Stream<Item = io::Result<Accepted>> + Unpin) {
    let (sender, accepted) = mpsc::unbounded_channel();
    let accepted = UnboundedReceiverStream::new(accepted);
    let greet = |mut io: DuplexStream, admission: Admission| async move {
        io.read_u8().await?;
        Ok((io, admission))
    };
    let (connections, accepting) = connections(accepted, BOUNDS, greet);
    tokio::spawn(accepting);
    (sender, Box::pin(connections))
}

/// A connection that says nothing yet.
fn dial(port: &Dial) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64);
    port.send(Ok(far)).unwrap();
    near
}

/// A connection that was greeted.
async fn greeted(port: &Dial) -> DuplexStream {
    let mut near = dial(port);
    near.write_u8(1).await.unwrap();
    near
}

#[tokio::test(start_paused = true)]
async fn c7_who_says_nothing_is_hung_up_on_and_keeps_nobody_waiting() {
    let (port, mut connections) = port();
    let start = Instant::now();
    let mut silent = dial(&port);
    let _greeted = greeted(&port).await;
    connections.next().await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(silent.read_u8().await.is_err());
    assert_eq!(start.elapsed(), BOUNDS.patience);
}

#[tokio::test(start_paused = true)]
async fn c7_who_is_not_admitted_is_hung_up_on() {
    let (port, mut connections) = port();
    let mut ends = [greeted(&port).await, greeted(&port).await];
    let mut stranger = connections.next().await.unwrap().unwrap();
    let mut peer = connections.next().await.unwrap().unwrap();
    tonic::transport::server::Connected::connect_info(&peer).admit();
    let start = Instant::now();
    let error = stranger.read_u8().await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, BOUNDS.patience));
    tokio::time::sleep(BOUNDS.patience * 10).await;
    ends[1].write_u8(7).await.unwrap();
    assert_eq!(peer.read_u8().await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn who_was_admitted_stays_for_as_long_as_its_proof_holds() {
    let (port, mut connections) = port();
    let _near = greeted(&port).await;
    let mut peer = connections.next().await.unwrap().unwrap();
    let admission = tonic::transport::server::Connected::connect_info(&peer);
    let start = Instant::now();
    admission.ends(start + BOUNDS.patience * 360);
    admission.admit();
    assert_eq!(peer.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), BOUNDS.patience * 360);
}

#[tokio::test(start_paused = true)]
async fn strangers_are_bounded_in_number_and_do_not_crowd_out_who_was_admitted() {
    let (port, mut connections) = port();
    let _first = (greeted(&port).await, greeted(&port).await);
    let mut admitted = Vec::new();
    for _ in 0..2 {
        admitted.push(connections.next().await.unwrap().unwrap());
    }
    // Both places of guests are taken.
    assert!(dial(&port).read_u8().await.is_err());
    // Once they are admitted, one more may come, and that is all of them.
    for connection in &mut admitted {
        tonic::transport::server::Connected::connect_info(connection).admit();
        let read = tokio::time::timeout(Duration::from_millis(1), connection.read_u8()).await;
        assert!(read.is_err());
    }
    let _third = greeted(&port).await;
    let _third = connections.next().await.unwrap().unwrap();
    assert!(dial(&port).read_u8().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_accept_is_survived() {
    let (port, mut connections) = port();
    port.send(Err(io::Error::other("too many open files"))).unwrap();
    let _near = greeted(&port).await;
    connections.next().await.unwrap().unwrap();
}
