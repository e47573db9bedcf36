//! One stream with a peer, exporter and importer at once. It waits for nothing but the next thing to
//! happen: what is to be sent waits in a queue that is short, as new differences are looked for only when
//! it is empty.

use std::{collections::VecDeque, pin::pin, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::{
    Closed, Committed, Event, FederationChange, FederationKey, FederationResource, Hello, Import,
    SCHEMA,
    peer::{Claim, Importer, Inner, Order},
    wire,
};
use crate::{
    delta::{
        Checksum, Report, ResourceId, Set,
        client::{Commit, Step, Violation},
        message,
        server::{Answer, Limits, Subscriber},
    },
    proto::federation::{self as proto, Frame, frame},
};

/// How often each side says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A peer that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(15);
/// A peer that makes us answer more than this without reading is up to no good.
const QUEUE: usize = 4096;

/// What goes out. An error ends the stream, and is sent by the side that was dialled only.
pub(super) type Sender = mpsc::Sender<Result<Frame, Status>>;

/// The stream that counts, after both sides have said hello.
pub(super) struct Session<'a, I, S> {
    remote: &'a Hello,
    importer: &'a mut Importer<I>,
    exporter: Subscriber,
    set: watch::Receiver<Option<Set>>,
    frames: S,
    out: Sender,
    queue: VecDeque<Frame>,
    stream: u64,
    heartbeat: Interval,
    heard: Instant,
    leaving: bool,
}

/// What happens next.
enum Next {
    /// Something may be sent.
    Room,
    Frame(Result<Box<Frame>, Closed>),
    Edited,
    Beat,
    Silent,
    Order(Order),
}

/// Runs the stream to its end. `frames` begin after the peer's hello, which is `hello`.
pub(super) async fn run<I: Import>(
    peer: &Inner<I>,
    claim: Claim<I>,
    orders: oneshot::Receiver<Order>,
    hello: Hello,
    frames: impl Stream<Item = Result<Frame, Status>>,
    out: Sender,
) -> Closed {
    let mut importer = peer.importer.lock().await;
    if claim.anew {
        importer.machine.reset();
    }
    let resumed = !importer.machine.is_empty();
    importer.import.event(claim.stream, Event::Opened { hello, resumed });
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = Session {
        remote: &peer.remote,
        importer: &mut importer,
        exporter: Subscriber::new(&SCHEMA, Limits::default()),
        set: peer.exports.subscribe(),
        frames: pin!(frames),
        out,
        queue: VecDeque::new(),
        stream: claim.stream,
        heartbeat,
        heard: Instant::now(),
        leaving: false,
    };
    let closed = session.run(orders).await;
    importer.import.event(claim.stream, Event::Closed(closed.clone()));
    closed
}

impl<I: Import, S: Stream<Item = Result<Frame, Status>> + Unpin> Session<'_, I, S> {
    async fn run(&mut self, mut orders: oneshot::Receiver<Order>) -> Closed {
        let node = message::Node::default();
        for request in self.importer.machine.connect(&node) {
            self.push(frame::Frame::Request(request));
        }
        loop {
            if let Err(closed) = self.step(&mut orders).await {
                if closed == Closed::Leaving {
                    self.linger().await;
                }
                return closed;
            }
        }
    }

    /// Gives the peer time to read our last words, and to end the stream.
    async fn linger(&mut self) {
        let ended = async { while let Some(Ok(_)) = self.frames.next().await {} };
        let _ = timeout(HEARTBEAT, ended).await;
    }

    /// Waits for the next thing, and does it.
    async fn step(&mut self, orders: &mut oneshot::Receiver<Order>) -> Result<(), Closed> {
        self.look_for_differences();
        if self.queue.is_empty() && self.leaving {
            return Err(Closed::Leaving);
        }
        match self.next(orders).await {
            Next::Room => self.send(),
            Next::Frame(frame) => {
                self.heard = Instant::now();
                self.take(*frame?).await
            }
            Next::Edited => Ok(()),
            Next::Beat => {
                self.beat();
                Ok(())
            }
            Next::Silent => Err(Closed::Silent),
            Next::Order(order) => self.obey(order),
        }
    }

    async fn next(&mut self, orders: &mut oneshot::Receiver<Order>) -> Next {
        tokio::select! {
            _ = self.out.reserve(), if !self.queue.is_empty() => Next::Room,
            frame = self.frames.next() => Next::Frame(read(frame)),
            // Never an error as long as the peer is there.
            _ = self.set.changed() => Next::Edited,
            _ = self.heartbeat.tick() => Next::Beat,
            () = sleep_until(self.heard + SILENCE) => Next::Silent,
            order = orders, if !self.leaving => Next::Order(order.unwrap_or(Order::End)),
        }
    }

    fn send(&mut self) -> Result<(), Closed> {
        let Some(frame) = self.queue.pop_front() else { return Ok(()) };
        // There is room: nobody else sends.
        self.out.try_send(Ok(frame)).map_err(|_| Closed::Broken("its other end is gone".to_owned()))
    }

    fn look_for_differences(&mut self) {
        if !self.queue.is_empty() {
            return;
        }
        let set = self.set.borrow_and_update();
        let response = set.as_ref().and_then(|set| self.exporter.poll(set));
        drop(set);
        if let Some(response) = response {
            self.push(frame::Frame::Response(response));
        }
    }

    fn push(&mut self, frame: frame::Frame) {
        self.queue.push_back(Frame { frame: Some(frame) });
    }

    fn beat(&mut self) {
        let waiting = |frame: &Frame| matches!(frame.frame, Some(frame::Frame::Heartbeat(_)));
        if self.queue.iter().any(waiting) {
            return;
        }
        let set = self.set.borrow();
        let settled = set.as_ref().and_then(|set| {
            let checksum = Bytes::copy_from_slice(&self.exporter.settled(set)?.to_bytes());
            Some(proto::Heartbeat { revision: set.revision(), checksum, note: set.note().clone() })
        });
        drop(set);
        self.push(frame::Frame::Heartbeat(settled.unwrap_or_default()));
    }

    fn obey(&mut self, order: Order) -> Result<(), Closed> {
        match order {
            Order::Leave(reason) => {
                self.queue.clear();
                self.push(frame::Frame::Leave(proto::Leave { reason }));
                self.leaving = true;
                Ok(())
            }
            Order::Replaced => Err(Closed::Replaced),
            Order::End => Err(Closed::Ended),
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Closed> {
        if self.queue.len() > QUEUE {
            return Err(Closed::Violation("it does not read".to_owned()));
        }
        match frame.frame {
            Some(frame::Frame::Request(request)) => self.export(request),
            Some(frame::Frame::Response(response)) => self.import(response).await,
            Some(frame::Frame::Heartbeat(heartbeat)) => self.compare(heartbeat),
            Some(frame::Frame::Leave(leave)) => Err(Closed::Left(leave.reason)),
            Some(frame::Frame::Hello(_)) => Err(Closed::Violation("a second hello".to_owned())),
            // Of a later version.
            None => Ok(()),
        }
    }

    fn export(&mut self, request: message::Request) -> Result<(), Closed> {
        let answer = self.exporter.on_request(request);
        let answer = answer.map_err(|violation| Closed::Violation(violation.to_string()))?;
        if let Some(Answer { revision, report }) = answer {
            let event = Event::Acked { revision, refused: refused(report) };
            self.importer.import.event(self.stream, event);
        }
        Ok(())
    }

    async fn import(&mut self, response: message::Response) -> Result<(), Closed> {
        let Importer { machine, import } = &mut *self.importer;
        let whole = machine.is_empty();
        let step = machine
            .on_response(response, |kind, name, value| wire::decode(self.remote, kind, name, value));
        let commit = match step.map_err(violated)? {
            Step::Reply(request) => {
                self.push(frame::Frame::Request(*request));
                return Ok(());
            }
            Step::Commit(commit) => commit,
        };
        let Commit { revision, note: digest, changes } = commit;
        let changes = changes.into_iter().filter_map(change).collect();
        let refused =
            import.commit(Committed { stream: self.stream, revision, digest, whole, changes }).await;
        let refused = refused.into_iter().map(|(key, reason)| (wire::id(key), reason));
        if let Some(request) = machine.answer(refused, Vec::new()) {
            self.push(frame::Frame::Request(request));
        }
        Ok(())
    }

    /// Streams keep their order; so a heartbeat speaks of the last commit that was taken in.
    fn compare(&mut self, heartbeat: proto::Heartbeat) -> Result<(), Closed> {
        let proto::Heartbeat { revision, checksum, note } = heartbeat;
        let Importer { machine, import } = &mut *self.importer;
        if checksum.is_empty() {
            import.event(self.stream, Event::Heartbeat { digest: None });
            return Ok(());
        }
        let said = Checksum::from_bytes(&checksum).map(|checksum| (revision, checksum));
        if said.is_none() || machine.committed() != said {
            machine.reset();
            return Err(Closed::Diverged);
        }
        import.event(self.stream, Event::Heartbeat { digest: Some(note) });
        Ok(())
    }
}

fn change((id, resource): (ResourceId, Option<FederationResource>)) -> Option<FederationChange> {
    match resource {
        Some(resource) => Some(FederationChange::Upsert(resource)),
        None => wire::key(id).map(FederationChange::Remove),
    }
}

fn refused(report: Report) -> Vec<(FederationKey, String)> {
    let refused = report.refused.into_iter();
    refused.filter_map(|refused| Some((wire::key(refused.id)?, refused.reason))).collect()
}

fn violated(violation: Violation) -> Closed {
    match violation {
        Violation::Diverged => Closed::Diverged,
        other => Closed::Violation(other.to_string()),
    }
}

fn read(frame: Option<Result<Frame, Status>>) -> Result<Box<Frame>, Closed> {
    let frame = frame.ok_or_else(|| Closed::Broken("its other end has ended it".to_owned()))?;
    frame.map(Box::new).map_err(|status| broken(&status))
}

/// What a status on the stream means.
pub(super) fn broken(status: &Status) -> Closed {
    let message = status.message().to_owned();
    match status.code() {
        tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => Closed::Refused(message),
        tonic::Code::AlreadyExists => Closed::Duplicate,
        _ => Closed::Broken(message),
    }
}
