//! A peer that says whatever a test wants.

use std::io;

use bytes::Bytes;
use prost::Message;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::harness::{Side, hello};
use crate::{
    channel,
    client::Connect,
    delta::{Checksum, Version, message},
    federation::SCHEMA,
    proto::federation::{self as proto, Frame, federation_client::FederationClient, frame},
};

pub(super) struct Puppet {
    out: mpsc::Sender<Frame>,
    /// Never read, but open.
    _frames: Streaming<Frame>,
}

#[derive(Clone)]
struct Ready(mpsc::UnboundedSender<io::Result<DuplexStream>>);

impl Connect for Ready {
    type Io = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(64 << 10);
        self.0.send(Ok(far)).unwrap();
        Ok(near)
    }
}

impl Puppet {
    /// Dials `side` in the name of `cluster`.
    pub(super) async fn open(side: &Side, cluster: &str) -> Self {
        let channel = channel::open(&Ready(side.incoming.clone())).await.unwrap();
        let (out, requests) = mpsc::channel(16);
        let hello = hello(cluster);
        let hello = proto::Hello {
            cluster: hello.cluster.as_ref().to_owned(),
            trust_domain: hello.trust_domain.to_string(),
            version: String::new(),
        };
        out.send(Frame { frame: Some(frame::Frame::Hello(hello)) }).await.unwrap();
        let frames = FederationClient::new(channel).stream(ReceiverStream::new(requests)).await;
        Self { out, _frames: frames.unwrap().into_inner() }
    }

    /// A frame of a kind that this version does not know.
    pub(super) async fn say_something_new(&self) {
        self.out.send(Frame { frame: None }).await.unwrap();
    }

    pub(super) async fn say_heartbeat(&self, revision: u64, checksum: &[u8]) {
        let checksum = Bytes::copy_from_slice(checksum);
        let heartbeat = proto::Heartbeat { revision, checksum, note: Bytes::new() };
        self.say(frame::Frame::Heartbeat(heartbeat)).await;
    }

    /// A resource of the type `url`.
    pub(super) async fn say_resource(&self, url: &str, name: &str, value: Vec<u8>) {
        let version = Version::of(&value).to_string();
        let any = message::Any { type_url: url.to_owned(), value: value.into() };
        let resource = message::Resource { name: name.to_owned(), version, resource: Some(any) };
        let response = message::Response {
            type_url: url.to_owned(),
            nonce: "n".to_owned(),
            resources: vec![resource],
            ..Default::default()
        };
        self.say(frame::Frame::Response(response)).await;
    }

    pub(super) async fn say_commit(&self, revision: u64, checksum: Checksum) {
        let checksum = Bytes::copy_from_slice(&checksum.to_bytes());
        let commit = proto::Commit { revision, checksum, note: Bytes::new() };
        self.say_resource(SCHEMA.commit, "snapshot", commit.encode_to_vec()).await;
    }

    async fn say(&self, frame: frame::Frame) {
        self.out.send(Frame { frame: Some(frame) }).await.unwrap();
    }
}
