//! WebSocket: what becomes a tunnel, and what does not.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use crate::support::{Backend, Client, simple};

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

fn accepted(client: &mut Client) {
    let answer = client.answer();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.values("upgrade"), ["websocket"]);
}

#[test]
fn bytes_go_both_ways_until_both_ends_are_closed() {
    let backend = Backend::with(|request, out| {
        assert_eq!(request.values("upgrade"), ["websocket"]);
        out.write_all(SWITCH)?;
        out.write_all(b"early")?;
        let mut all = Vec::new();
        out.read_to_end(&mut all)?;
        out.write_all(&all)?;
        Err(std::io::ErrorKind::Other.into())
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send(ASK);
    accepted(&mut client);
    assert_eq!(client.read_some(5), b"early");
    client.send("ping ").send("pong");
    // c17: the end of one direction is passed on, the other goes on.
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"ping pong");
}

#[test]
fn a9_nothing_is_forwarded_before_the_backend_has_switched() {
    let backend = Backend::with(|_, out| {
        out.set_nonblocking(true)?;
        let mut byte = [0];
        let early = out.peek(&mut byte);
        out.set_nonblocking(false)?;
        assert!(early.is_err(), "nothing may come before 101");
        out.write_all(SWITCH)?;
        let mut three = [0; 3];
        out.read_exact(&mut three)?;
        out.write_all(&three)?;
        Err(std::io::ErrorKind::Other.into())
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send(format!("{ASK}abc"));
    accepted(&mut client);
    assert_eq!(client.rest(), b"abc");
}

#[test]
fn a10_any_other_answer_is_an_ordinary_one() {
    let backend =
        Backend::with(|_, out| out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno"));
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send(ASK);
    assert_eq!(client.answer().text(), "no");
    assert_eq!(client.get("/").text(), "no", "the connection goes on");
}

#[test]
fn a_switch_that_nobody_asked_for_is_refused() {
    let backend = Backend::with(|_, out| out.write_all(SWITCH));
    let running = simple(&[backend.address]);
    assert_eq!(running.connect().get("/").status(), 502);
}
