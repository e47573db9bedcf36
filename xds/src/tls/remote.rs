//! Reaching a control plane by TCP and TLS: whatever may change is looked at anew for each connection, that
//! is, where it is, which roots vouch for it, and our own SVID.

use std::{fmt, io, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use isthmus_identity::{Anchors, InvalidRoots, Only, Untrusted};
use isthmus_ir::SpiffeId;
use rustls::{CertificateError, pki_types::ServerName, sign::CertifiedKey};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::client_config;
use crate::client::Connect;

/// How long it may take to find addresses.
const RESOLVE: Duration = Duration::from_secs(3);
/// How long one address may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How many addresses are tried.
const ADDRESSES: usize = 3;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The first bytes of a connection are little more than settings.
const BUFFER: usize = 4 << 10;

/// Where a control plane listens: a name or an IP address, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    host: String,
    name: ServerName<'static>,
    port: u16,
}

/// This is no `HOST:PORT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be a host and a port, such as control-plane.example:15012 or [::1]:15012")]
pub struct InvalidAddress;

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(InvalidAddress)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(InvalidAddress);
        }
        let host = bare.unwrap_or(host).to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| InvalidAddress)?;
        Ok(Self { host, name, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Our own SVID, as those who connect show it. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct Credentials {
    shown: watch::Sender<Option<Arc<CertifiedKey>>>,
    refused: watch::Sender<bool>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self { shown: watch::Sender::new(None), refused: watch::Sender::new(false) }
    }
}

impl Credentials {
    /// Shows `svid` on connections that are opened from now on.
    pub fn show(&self, svid: Arc<CertifiedKey>) {
        self.refused.send_replace(false);
        self.shown.send_replace(Some(svid));
    }

    /// Waits until there is an SVID to show.
    pub async fn present(&self) {
        // Never an error: the sender is here.
        let _ = self.shown.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until the control plane refuses what is shown: it has ended, or its root is trusted no more.
    pub async fn refused(&self) {
        let _ = self.refused.subscribe().wait_for(|refused| *refused).await;
    }
}

/// Why there is no connection to the control plane.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There are no roots yet, or no access to them.
    #[error("the roots file {path} cannot be read")]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What should be roots is something else, or nothing.
    #[error("the roots file {path} cannot be used")]
    InvalidRoots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidRoots,
    },
    /// The name means nothing.
    #[error("{address} cannot be resolved")]
    Resolve {
        /// What was asked for.
        address: Address,
        /// Why not.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// The last address that was tried.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else answers.
    #[error("TLS identity mismatch at {address}: expected {expected}, got {got}")]
    Identity {
        /// Where.
        address: Address,
        /// Who should be there.
        expected: SpiffeId,
        /// Who is, or claims to be.
        got: SpiffeId,
    },
    /// The answering certificate is not vouched for, or has ended.
    #[error("the certificate shown at {address} is not believed by the roots in {path}")]
    Untrusted {
        /// Where.
        address: Address,
        /// The roots.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// It does not like what we show.
    #[error("{address} refuses this proxy's certificate")]
    Refused {
        /// Where.
        address: Address,
        /// Its words.
        source: rustls::Error,
    },
    /// Something else became of the handshake.
    #[error("the TLS handshake with {address} failed")]
    Handshake {
        /// Where.
        address: Address,
        /// What.
        source: io::Error,
    },
    /// There is nothing to prove ourselves with.
    #[error("no SVID was issued yet")]
    NoSvid,
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::other(error)
    }
}

/// A control plane somewhere on the network.
#[derive(Clone, Debug)]
pub struct Remote {
    address: Address,
    id: SpiffeId,
    roots: PathBuf,
    credentials: Option<Credentials>,
}

impl Remote {
    /// The control plane at `address`. Who answers there must be `id`, and be vouched for by a root of the
    /// PEM file `roots`. It is shown no certificate.
    pub fn new(address: Address, id: SpiffeId, roots: impl Into<PathBuf>) -> Self {
        Self { address, id, roots: roots.into(), credentials: None }
    }

    /// Shows it the SVID of `credentials`. There are no connections before there is one.
    #[must_use]
    pub fn showing(self, credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    async fn anchors(&self) -> Result<Anchors, ConnectError> {
        let path = || self.roots.clone();
        let pem = tokio::fs::read(&self.roots).await;
        let pem = pem.map_err(|source| ConnectError::Roots { path: path(), source })?;
        Anchors::from_pem(self.id.trust_domain(), &pem)
            .map_err(|source| ConnectError::InvalidRoots { path: path(), source })
    }

    async fn dial(&self) -> Result<TcpStream, ConnectError> {
        let resolving = tokio::net::lookup_host((self.address.host.as_str(), self.address.port));
        let unresolved = |source| ConnectError::Resolve { address: self.address.clone(), source };
        let resolved = timeout(RESOLVE, resolving).await.unwrap_or_else(|_| Err(timed_out()));
        let mut failed = unresolved(io::ErrorKind::NotFound.into());
        for address in resolved.map_err(unresolved)?.take(ADDRESSES) {
            match timeout(ANSWER, TcpStream::connect(address)).await.unwrap_or_else(|_| Err(timed_out()))
            {
                Ok(stream) => return Ok(stream),
                Err(source) => failed = ConnectError::Unreachable { address, source },
            }
        }
        Err(failed)
    }

    async fn shake_hands(
        &self,
        connector: TlsConnector,
        io: TcpStream,
    ) -> io::Result<BufReader<TlsStream<TcpStream>>> {
        io.set_nodelay(true)?;
        let stream = connector.connect(self.address.name.clone(), io).await?;
        let mut stream = BufReader::with_capacity(BUFFER, stream);
        // Our side of TLS 1.3 is done before the other has looked at our certificate. It speaks first when
        // it takes us (HTTP/2's settings), and otherwise says here why not.
        if stream.fill_buf().await?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(stream)
    }

    /// What is wrong, from how the handshake ended.
    fn failure(&self, source: io::Error) -> ConnectError {
        let address = self.address.clone();
        let tls = source.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).cloned();
        match (tls, &self.credentials) {
            (Some(source @ rustls::Error::InvalidCertificate(_)), _) => match impostor(&source) {
                Some(got) => ConnectError::Identity { address, expected: self.id.clone(), got },
                None => ConnectError::Untrusted { address, path: self.roots.clone(), source },
            },
            (Some(source @ rustls::Error::AlertReceived(_)), Some(credentials)) => {
                credentials.refused.send_replace(true);
                ConnectError::Refused { address, source }
            }
            _ => ConnectError::Handshake { address, source },
        }
    }
}

/// The identity that was shown in the place of the expected one.
fn impostor(why: &rustls::Error) -> Option<SpiffeId> {
    let rustls::Error::InvalidCertificate(CertificateError::Other(why)) = why else { return None };
    match why.0.downcast_ref::<Untrusted>() {
        Some(Untrusted::Unexpected(got)) => Some(got.clone()),
        _ => None,
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

impl Connect for Remote {
    type Io = BufReader<TlsStream<TcpStream>>;

    async fn connect(&self) -> io::Result<Self::Io> {
        let key = match &self.credentials {
            Some(credentials) => Some(credentials.shown.borrow().clone().ok_or(ConnectError::NoSvid)?),
            None => None,
        };
        let believe = Only { id: self.id.clone(), anchors: self.anchors().await? };
        let connector = TlsConnector::from(client_config(believe, key).map_err(io::Error::other)?);
        let io = self.dial().await?;
        let shaken = timeout(HANDSHAKE, self.shake_hands(connector, io)).await;
        Ok(shaken.unwrap_or_else(|_| Err(timed_out())).map_err(|error| self.failure(error))?)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for good in ["isthmus-control-plane.isthmus-system.svc:15012", "127.0.0.1:1", "[::1]:15012"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in ["", "host", "host:", "host:0", ":1", "::1:15012", "[::1:1", "a b:1", "host:65536"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
