//! Where a redirect leads.

use super::{super::Winner, lossy};
use crate::{
    Filter,
    matcher::{Connection, Request, rewrite},
};

/// The `Location` that the rule of `winner` answers with; none when it does not redirect.
pub fn location<P, R: Request>(
    winner: &Winner<'_, P>,
    connection: Connection<'_>,
    request: &R,
) -> Option<String> {
    let redirect = winner.rule.filters.iter().find_map(|filter| match filter {
        Filter::Redirect(redirect) => Some(redirect),
        _ => None,
    })?;
    let asked = rewrite::Asked {
        secure: connection != Connection::Clear,
        host: request.host(),
        port: winner.listener.port,
        path: request.path(),
        query: request.query(),
    };
    let mut location = Vec::new();
    rewrite::location(redirect, winner.prefix, asked, &mut location).ok()?;
    Some(lossy(&location))
}
