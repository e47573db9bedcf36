//! A backend that says what it was asked.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
};

/// One request as a backend saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// The values of a field, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The target of the request line.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// A backend on an address of this machine. What it saw is told once, in order.
pub struct Backend {
    pub address: SocketAddr,
    seen: Mutex<mpsc::Receiver<Seen>>,
    gate: Arc<Mutex<()>>,
}

impl Backend {
    /// One that answers 200 and `name`; `x-fail: STATUS COUNT` makes so many answers have this status, from the
    /// first of its path on. `/hold` is answered when it
    /// may be.
    pub fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind((super::instance::backends(), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::channel();
        let gate = Arc::new(Mutex::new(()));
        let (held, failed) = (Arc::clone(&gate), Arc::new(Failed::default()));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, held, failed) = (sender.clone(), Arc::clone(&held), Arc::clone(&failed));
                thread::spawn(move || serve(name, &stream, &sender, &held, &failed));
            }
        });
        Self { address, seen: Mutex::new(seen), gate }
    }

    /// The next request that it saw; waits for it.
    pub fn next(&self) -> Seen {
        self.seen.lock().unwrap().recv_timeout(super::instance::PATIENCE).unwrap()
    }

    /// How many requests it saw that nobody asked about yet.
    pub fn rest(&self) -> usize {
        self.seen.lock().unwrap().try_iter().count()
    }

    /// Requests to `/hold` get no answer until this ends.
    pub fn hold(&self) -> std::sync::MutexGuard<'_, ()> {
        self.gate.lock().unwrap()
    }
}

type Failed = Mutex<BTreeMap<String, u32>>;

/// The status that a request is to be answered with.
fn status(seen: &Seen, failed: &Failed) -> String {
    let wanted = seen.values("x-fail").first().and_then(|text| text.split_once(' '));
    let Some((status, count)) = wanted else { return "200".to_owned() };
    let mut failed = failed.lock().unwrap();
    let so_far = failed.entry(seen.target().to_owned()).or_default();
    *so_far += 1;
    if *so_far <= count.parse().unwrap() { status.to_owned() } else { "200".to_owned() }
}

fn serve(
    name: &str,
    stream: &TcpStream,
    sender: &mpsc::Sender<Seen>,
    gate: &Mutex<()>,
    failed: &Failed,
) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(seen) = read(&mut reader) {
        let status = status(&seen, failed);
        let (hold, websocket) = (seen.target().starts_with("/hold"), !seen.values("upgrade").is_empty());
        let _ = sender.send(seen);
        if hold {
            drop(gate.lock().unwrap());
        }
        if websocket {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
            writer.write_all(head.as_bytes()).unwrap();
            let _ = std::io::copy(&mut reader, &mut writer);
            return;
        }
        let head = format!(
            "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nx-old: 1\r\nx-set: old\r\n\r\n{name}",
            name.len()
        );
        if writer.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Seen> {
    let mut line = || {
        let mut text = String::new();
        let count = reader.read_line(&mut text).ok()?;
        (count > 0).then(|| text.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(": ")?;
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut seen = Seen { line: first, headers, body: Vec::new() };
    let length = seen.values("content-length").first().map_or(0, |v| v.parse().unwrap());
    seen.body.resize(length, 0);
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}
