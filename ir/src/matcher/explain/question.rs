//! A request that somebody asks about, in the form in which a proxy would see it.

use std::net::IpAddr;

use super::super::{Connection, Group, Request, Tables};
use crate::normalize::{self, BadAuthority, BadTarget};

/// A request given by method, URL and header fields, in normal form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    method: String,
    server_name: Option<String>,
    secure: bool,
    address: Option<IpAddr>,
    port: u16,
    host: String,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Why there is no such request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadQuestion {
    /// The URL does not begin with `http://` or `https://`, or a proxy would refuse it.
    #[error("{url:?} is not a URL that can be asked for: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: BadTarget,
    },
    /// The `Host` field.
    #[error("the Host field is not allowed: {0}")]
    Host(#[from] BadAuthority),
}

impl Question {
    /// Reads `url`, an absolute one. A field called `host` takes the place of the URL's host, but the
    /// connection is made to the URL's host and port, and that host is the TLS server name.
    ///
    /// # Errors
    /// See [`BadQuestion`].
    pub fn new<'h>(
        method: &str,
        url: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Result<Self, BadQuestion> {
        let bad = |reason| BadQuestion::Url { url: url.to_owned(), reason };
        let target = normalize::target(method.as_bytes(), url.as_bytes()).map_err(bad)?;
        let authority = target.authority.ok_or_else(|| bad(BadTarget::Form))?;
        let secure = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let address = authority.host.trim_matches(['[', ']']).parse().ok();
        let mut question = Self {
            method: method.to_owned(),
            server_name: address.is_none().then(|| authority.host.clone().into_owned()),
            secure,
            address,
            port: authority.port.unwrap_or(if secure { 443 } else { 80 }),
            host: authority.host.into_owned(),
            path: target.path.into_owned(),
            query: target.query.map(<[u8]>::to_vec),
            headers: Vec::new(),
        };
        for (name, value) in headers {
            question.field(&name.to_ascii_lowercase(), value.trim())?;
        }
        Ok(question)
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), BadQuestion> {
        if name == "host" {
            self.host = normalize::authority(value.as_bytes())?.host.into_owned();
        }
        self.headers.push((name.to_owned(), value.into()));
        Ok(())
    }

    /// How it would come in.
    pub fn connection(&self) -> Connection<'_> {
        if self.secure {
            Connection::Tls { server_name: self.server_name.as_deref() }
        } else {
            Connection::Clear
        }
    }

    /// Where it would come in: the sockets of the URL's port, of its address when it names one.
    pub fn groups<'t, P>(&self, tables: &'t Tables<P>) -> impl Iterator<Item = Group<'t, P>> {
        let own = self.address.is_some_and(|address| {
            tables
                .groups()
                .any(|group| group.bind().port == self.port && group.bind().address == Some(address))
        });
        let wanted = move |group: &Group<'t, P>| {
            let bind = group.bind();
            let there = match (self.address, bind.address) {
                (None, _) => true,
                (Some(wanted), Some(bound)) => wanted == bound,
                (Some(_), None) => !own,
            };
            bind.port == self.port && there
        };
        tables.groups().filter(wanted)
    }
}

impl Request for Question {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &[u8] {
        &self.path
    }

    fn query(&self) -> Option<&[u8]> {
        self.query.as_deref()
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_slice())
    }
}
