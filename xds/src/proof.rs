//! What is put into a call to prove who calls, beside what the connection proves.

use std::{io, path::PathBuf};

use isthmus_ir::Redacted;
use tonic::{Request, metadata::AsciiMetadataValue};

/// How a caller proves who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By its connection alone: the certificate that it shows.
    Connection,
    /// By a token.
    Token(Redacted<String>),
    /// By a token that somebody else renews in this file; it is read anew for each call.
    TokenFile(PathBuf),
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The file is not there, or cannot be read.
    #[error("the token file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is nothing in the file.
    #[error("the token file {0} is empty")]
    Empty(PathBuf),
    /// It has characters that no token has.
    #[error("the token cannot be used: it has characters that no token has")]
    Malformed,
}

impl Proof {
    /// Puts the proof into `request`.
    pub(crate) async fn put<T>(&self, request: &mut Request<T>) -> Result<(), ProofError> {
        let read;
        let token = match self {
            Self::Connection => return Ok(()),
            Self::Token(token) => token,
            Self::TokenFile(path) => {
                read = token_in(path).await?;
                &read
            }
        };
        let value = format!("Bearer {}", token.expose());
        let mut value = AsciiMetadataValue::try_from(value).map_err(|_| ProofError::Malformed)?;
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
        Ok(())
    }
}

async fn token_in(path: &PathBuf) -> Result<Redacted<String>, ProofError> {
    let unreadable = |source| ProofError::Unreadable { path: path.clone(), source };
    let content = tokio::fs::read_to_string(path).await.map_err(unreadable)?;
    match content.trim() {
        "" => Err(ProofError::Empty(path.clone())),
        token => Ok(Redacted::new(token.to_owned())),
    }
}
