//! An answer on its way through the proxy, which a fault befalls while it is open.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyDataStream, BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use tokio::sync::watch;

use super::{Fault, State};

/// What an API server says in a watch whose place in history it has forgotten.
const EXPIRED: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version, as the test wants it","reason":"Expired","code":410}}"#,
    "\n"
);

/// An answer that is passed on.
pub(super) struct Passing {
    body: BodyDataStream<Body>,
    state: Arc<State>,
    changes: watch::Receiver<Fault>,
    is_watch: bool,
    /// Bytes so far, and whether the last one ended a line.
    passed: usize,
    whole: bool,
    /// Whether nothing comes after what was passed on.
    ended: bool,
}

/// What is next of an answer; none at its end. An error hangs up.
type Next = Option<Result<Frame<Bytes>, io::Error>>;

impl Passing {
    pub(super) fn new(body: Body, state: Arc<State>, is_watch: bool) -> Self {
        let mut changes = state.fault.subscribe();
        // One that begins later than the fault is not told that it has expired.
        let is_watch = is_watch && *changes.borrow_and_update() != Fault::Gone;
        let body = body.into_data_stream();
        Self { body, state, changes, is_watch, passed: 0, whole: true, ended: false }
    }

    pub(super) fn into_body(self) -> UnsyncBoxBody<Bytes, io::Error> {
        let frames = stream::unfold(self, |mut passing| async move {
            let next = passing.next().await?;
            Some((next, passing))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Next {
        loop {
            if self.ended {
                return None;
            }
            self.state.thaw().await;
            if *self.changes.borrow_and_update() == Fault::Gone && self.is_watch && self.whole {
                self.state.meet();
                self.ended = true;
                return Some(Ok(Frame::data(Bytes::from_static(EXPIRED.as_bytes()))));
            }
            tokio::select! {
                data = self.body.next() => return self.pass(data?.map_err(io::Error::other)).await,
                _ = self.changes.changed() => {}
            }
        }
    }

    async fn pass(&mut self, data: Result<Bytes, io::Error>) -> Next {
        let Ok(data) = data else { return Some(data.map(Frame::data)) };
        self.passed += data.len();
        self.whole = data.ends_with(b"\n");
        self.state.thaw().await;
        let fault = *self.changes.borrow();
        let hangs_up = match fault {
            Fault::Cut(most) => self.passed > most,
            Fault::Status(_) => true,
            _ => false,
        };
        if hangs_up {
            self.state.meet();
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Some(Ok(Frame::data(data)))
    }
}
