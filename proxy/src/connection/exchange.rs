//! Moves one request and its answer between two sides, both directions at once.
//!
//! While the body goes up, the answer may come down; an upstream that answers or closes early is noticed,
//! and so is a client that goes away. Nothing here decides where a request goes or whether it is tried
//! again: this says how it ended.

use std::{
    io,
    task::{Context, Poll, ready},
};

use super::{
    body::ReadError,
    sides::{AnswerError, Downstream, UpstreamSide},
    watch::{Expired, Watch},
};
use crate::{
    http1::{BodyCoding, Edits, HeadError, Persistence},
    mirror::Tee,
};

/// Why there was no answer to pass on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection ended before anything of an answer came.
    #[error("the connection ended before the answer: {0}")]
    Nothing(io::Error),
    /// The connection ended within the head of the answer.
    #[error("the connection ended within the answer's head: {0}")]
    Partial(io::Error),
    /// What came is no answer.
    #[error("the answer is malformed: {0}")]
    Malformed(HeadError),
    /// There were too many interim answers.
    #[error("there were too many interim answers")]
    Flood,
    /// The client went away.
    #[error("the client went away")]
    ClientGone,
    /// The request's body is broken.
    #[error("the request's body is malformed")]
    BadBody,
    /// A deadline passed, or the gateway is down.
    #[error("{0}")]
    Expired(Expired),
}

/// How an answer that was begun ended badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The client went away, or takes nothing.
    #[error("the client went away")]
    Client,
    /// The upstream's answer ended too early or is broken.
    #[error("the answer ended too early")]
    Upstream,
    /// A deadline passed, or the gateway is down.
    #[error("{0}")]
    Expired(Expired),
}

/// One attempt under way.
pub(crate) struct Exchange<'x, D, U> {
    pub(crate) down: &'x mut D,
    pub(crate) up: &'x mut U,
    pub(crate) edits: &'x mut Edits,
    pub(crate) watch: &'x mut Watch,
    /// Where copies of the request's body go.
    pub(crate) tee: &'x mut Tee,
    /// Interim answers that may still come.
    pub(crate) interim: u32,
    upload: Upload,
    /// Something is queued for the client before the answer.
    queued: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upload {
    Going,
    Done,
    /// The upstream takes no more; it may have answered already.
    Refused,
}

impl<'x, D: Downstream, U: UpstreamSide> Exchange<'x, D, U> {
    pub(crate) fn new(
        down: &'x mut D,
        up: &'x mut U,
        edits: &'x mut Edits,
        watch: &'x mut Watch,
        tee: &'x mut Tee,
        interim: u32,
    ) -> Self {
        Self { down, up, edits, watch, tee, interim, upload: Upload::Going, queued: false }
    }

    /// Whether the whole request was passed on.
    pub(crate) fn is_uploaded(&self) -> bool {
        self.upload == Upload::Done
    }

    /// Sends the request until the head of the final answer is there.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if let Poll::Ready(Err(failure)) = self.poll_upload(cx) {
            return Poll::Ready(Err(failure));
        }
        loop {
            match self.up.poll_head(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(())) if !self.up.response().is_interim() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.pass_interim()?,
            }
        }
        if self.queued {
            match self.down.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.queued = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failure::ClientGone)),
                Poll::Pending => {}
            }
        }
        if self.upload != Upload::Going && self.down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::ClientGone));
        }
        let stalls = self.upload == Upload::Going;
        match self.watch.poll(stalls) {
            Some(expired) => Poll::Ready(Err(Failure::Expired(expired))),
            None => Poll::Pending,
        }
    }

    fn pass_interim(&mut self) -> Result<(), Failure> {
        // cases.md A13.
        self.interim = self.interim.checked_sub(1).ok_or(Failure::Flood)?;
        let response = self.up.response();
        self.edits.begin_response(response, BodyCoding::Same, Persistence::Default);
        self.down.send_interim(response, self.edits);
        self.up.next_head();
        self.queued = true;
        Ok(())
    }

    /// Passes the request's body on. Ready with an error only when the client is to blame.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while self.upload == Upload::Going {
            if !self.down.body().is_empty() {
                let body = self.down.body();
                match ready!(self.up.poll_send(cx, body)) {
                    Ok(count) if count > 0 => {
                        self.tee.feed(body.get(..count).unwrap_or_default());
                        self.down.advance(count);
                        self.watch.progress();
                    }
                    _ => self.upload = Upload::Refused,
                }
            } else if self.down.is_body_done() {
                self.up.send_end(self.down.trailers());
                self.tee.end();
                self.upload = match ready!(self.up.poll_flush(cx)) {
                    Ok(()) => Upload::Done,
                    Err(_) => Upload::Refused,
                };
            } else {
                match self.down.poll_body(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(ReadError::Io(_))) => return Poll::Ready(Err(Failure::ClientGone)),
                    Poll::Ready(Err(ReadError::Framing(_))) => {
                        return Poll::Ready(Err(Failure::BadBody));
                    }
                    Poll::Pending => {
                        if let Poll::Ready(Err(_)) = self.up.poll_flush(cx) {
                            self.upload = Upload::Refused;
                        }
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Passes the body of the answer on, until it has left.
    pub(crate) fn poll_relay(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let waits_for_client = match self.poll_download(cx) {
            Poll::Ready(result) => return Poll::Ready(result),
            Poll::Pending => !self.up.body().is_empty() || self.up.is_body_done(),
        };
        match self.poll_upload(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Client)),
            Poll::Ready(Ok(())) if self.down.poll_gone(cx).is_ready() => {
                return Poll::Ready(Err(Broken::Client));
            }
            _ => {}
        }
        match self.watch.poll(waits_for_client) {
            Some(expired) => Poll::Ready(Err(Broken::Expired(expired))),
            None => Poll::Pending,
        }
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if !self.up.body().is_empty() {
                match ready!(self.down.poll_send(cx, self.up.body())) {
                    Ok(count) if count > 0 => {
                        self.up.advance(count);
                        self.watch.progress();
                    }
                    _ => return Poll::Ready(Err(Broken::Client)),
                }
            } else if self.up.is_body_done() {
                if !self.queued {
                    self.queued = true;
                    self.down.send_end(self.up.trailers());
                }
                return self.down.poll_flush(cx).map_err(|_| Broken::Client);
            } else {
                match self.up.poll_body(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Upstream)),
                    Poll::Pending => {
                        ready!(self.down.poll_flush(cx)).map_err(|_| Broken::Client)?;
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl From<AnswerError> for Failure {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Nothing(error) => Self::Nothing(error),
            AnswerError::Partial(error) => Self::Partial(error),
            AnswerError::Malformed(error) => Self::Malformed(error),
        }
    }
}
