//! What the matcher sees of a request.

/// A view of a request. All parts are in the form that [`normalize`](crate::normalize) gives them.
pub trait Request {
    /// The method, as it came: methods are case-sensitive.
    fn method(&self) -> &[u8];

    /// The host without port, from [`normalize::authority`](crate::normalize::authority).
    fn host(&self) -> &str;

    /// The path, from [`normalize::path`](crate::normalize::path); `*` is matched by no route.
    fn path(&self) -> &[u8];

    /// The query as it came, without `?`.
    fn query(&self) -> Option<&[u8]>;

    /// The values of the fields called `name`, which is lower case, in order and without white space
    /// around them.
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;
}

/// How a request came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection<'a> {
    /// In clear text.
    Clear,
    /// Inside TLS that was ended here.
    Tls {
        /// The name that the client asked for, from
        /// [`normalize::server_name`](crate::normalize::server_name).
        server_name: Option<&'a str>,
    },
}
