//! Requests and answers, as bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::instance::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The values of a field, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let field = |line: &'_ str| line.split_once(": ").map(|(n, _)| n.eq_ignore_ascii_case(name));
        let lines = self.head.lines().filter(|line| field(line) == Some(true));
        lines.map(|line| line.split_once(": ").unwrap().1).collect()
    }

    /// The value of a field.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).first().copied()
    }
}

pub fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a request of one line and some fields, on a connection of its own.
pub fn ask(to: SocketAddr, line: &str, host: &str, fields: &[&str]) -> std::io::Result<Answer> {
    let fields: String = fields.iter().flat_map(|field| [*field, "\r\n"]).collect();
    let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}connection: close\r\n\r\n");
    send(&mut connect(to)?, head.as_bytes())
}

/// `GET path` of `host`.
pub fn get(to: SocketAddr, host: &str, path: &str) -> Answer {
    ask(to, &format!("GET {path}"), host, &[]).unwrap()
}

/// Writes `bytes` and reads until the end.
pub fn send(stream: &mut (impl Read + Write), bytes: &[u8]) -> std::io::Result<Answer> {
    stream.write_all(bytes)?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    answer(&all)
}

fn answer(all: &[u8]) -> std::io::Result<Answer> {
    let text = String::from_utf8_lossy(all);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
