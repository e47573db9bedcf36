//! A proxy's end of the stream to its control plane.

use std::{future::Future, io};

use isthmus_ir::{Change, Key, Name};
use tokio::io::{AsyncRead, AsyncWrite};

/// Puts snapshots in force.
pub trait Apply: Send {
    /// Puts `staged` in force, all of it at once, and binds listeners; it is acked when this returns.
    /// Each key occurs once. What is in [`Outcome::refused`] must have been left at its last good version.
    fn apply(&mut self, staged: Vec<Change>, revision: u64) -> impl Future<Output = Outcome> + Send;

    /// The stream came up, or went down and will be tried again. Nothing has to be done about it.
    fn link(&mut self, link: Link) {
        let _ = link;
    }
}

/// What came of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Resources that could not be put in force, with reasons.
    pub refused: Vec<(Key, String)>,
    /// Every listener that is not bound now, with the operating system's reasons.
    pub unbound: Vec<(Name, String)>,
}

/// The state of the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// The control plane takes us for who we are.
    Up,
    /// It cannot be reached, or does not want us: why.
    Down(String),
}

/// Opens connections to the control plane.
pub trait Connect: Clone + Send + Sync + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens one.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Io>> + Send + 'static;
}
