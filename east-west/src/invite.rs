//! How two clusters become peers: a one-use token, and a handshake that proves its knowledge.
//!
//! The inviter makes an [`Invitation`] and prints its [`Token`]. The joiner dials one of the token's
//! addresses, checks the server's key against the token's pin, and proves that it knows the token's nonce
//! without sending it: with a MAC over this very TLS channel and what it says of itself. The inviter
//! answers with the same about itself. Both then hold each other's [`Member`], and nothing was believed
//! that the token does not vouch for.

mod handshake;
mod ledger;
mod token;

pub use handshake::{
    Accepted, Channel, JoinError, JoinRequest, JoinResponse, Joining, Member, accept, joinable,
};
pub use ledger::{Invitation, InvitationId, JoinRefusal, SavedInvitation, Standing};
pub use token::{LIFE, Nonce, Token, TokenError};
