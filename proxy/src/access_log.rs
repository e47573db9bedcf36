//! The access log: a line of JSON for each request.
//!
//! A thread appends to a buffer of its own, whose lock only the writer ever contends for; the writer takes
//! the buffers every 100 ms. A buffer that is full drops lines and counts them: requests never wait for a
//! disk. Whatever a stranger wrote is escaped as JSON, so that no line can be forged (cases.md B19).

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    connection::{Client, Downstream, Report},
    http1::{Known, Version},
    settings::AccessLog,
    thread::Thread,
};

/// Bytes that one thread holds for the writer.
const BUFFER: usize = 1 << 20;
const INTERVAL: Duration = Duration::from_millis(100);

/// Lines of one thread that are not written yet.
#[derive(Default)]
pub(crate) struct LogBuffer(Mutex<Vec<u8>>);

/// The buffers of all threads.
pub(crate) struct AccessLogger {
    buffers: Vec<Arc<LogBuffer>>,
}

impl AccessLogger {
    pub(crate) fn new(threads: usize) -> Self {
        Self { buffers: (0..threads).map(|_| Arc::default()).collect() }
    }

    /// The buffer of a thread.
    pub(crate) fn buffer(&self, thread: usize) -> Arc<LogBuffer> {
        self.buffers.get(thread).map(Arc::clone).unwrap_or_default()
    }

    /// Writes what threads hold, for as long as the proxy runs.
    pub(crate) async fn write_all(&self, target: &AccessLog) {
        let mut file = match open(target) {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(%error, "the access log cannot be opened");
                return;
            }
        };
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = self.flush(&mut file) {
                tracing::warn!(%error, "the access log cannot be written");
            }
        }
    }

    fn flush(&self, out: &mut impl Write) -> io::Result<()> {
        for buffer in &self.buffers {
            let mut taken = Vec::new();
            std::mem::swap(&mut taken, &mut *buffer.0.lock().unwrap_or_else(PoisonError::into_inner));
            out.write_all(&taken)?;
        }
        Ok(())
    }
}

fn open(target: &AccessLog) -> io::Result<Box<dyn Write + Send>> {
    Ok(match target {
        AccessLog::Stdout => Box::new(io::stdout()),
        AccessLog::File(path) => {
            let file: File = OpenOptions::new().create(true).append(true).open(path)?;
            Box::new(file)
        }
    })
}

/// Logs a request that is over.
pub(crate) fn request(
    thread: &Thread,
    client: &Client,
    down: &impl Downstream,
    report: &Report,
    request_bytes: u64,
    microseconds: u64,
) {
    let Some(log) = &thread.log else { return };
    let mut buffer = log.0.lock().unwrap_or_else(PoisonError::into_inner);
    if buffer.len() >= BUFFER {
        thread.metrics.log_lines_dropped.add(1);
        return;
    }
    let request = down.request();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = Line { out: &mut buffer, first: true };
    line.number("time_ms", now.as_millis());
    line.text("client", client.address().to_string().as_bytes());
    line.text("method", request.method_bytes());
    line.text("host", request.authority().unwrap_or_default());
    line.text("path", request.path());
    line.text("protocol", if request.version() == Version::Http10 { b"HTTP/1.0" } else { b"HTTP/1.1" });
    line.number("status", report.status);
    line.number("duration_us", microseconds);
    line.number("request_bytes", request_bytes);
    line.number("response_bytes", report.response_bytes);
    line.number("retries", report.retries);
    let user_agent = request.fields().first(Known::UserAgent);
    line.text("user_agent", user_agent.unwrap_or_default());
    line.text("route", report.route_name.as_ref().map_or("", |name| name.as_str()).as_bytes());
    line.text("service", report.service.as_ref().map_or("", |name| name.as_str()).as_bytes());
    line.text("endpoint", report.endpoint.as_deref().unwrap_or_default().as_bytes());
    buffer.extend_from_slice(b"}\n");
}

/// One line under way.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Line<'_> {
    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(if self.first { b"{\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn number(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        // Writing to memory does not fail.
        let _ = write!(self.out, "{value}");
    }

    fn text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        write_escaped(value, self.out);
        self.out.push(b'"');
    }
}

/// Everything but printable ASCII is escaped; bytes that are no text stand for U+0080 to U+00FF.
fn write_escaped(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e => out.push(byte),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::write_escaped;

    #[test]
    fn b19_nothing_that_a_stranger_wrote_leaves_its_string() {
        let mut out = Vec::new();
        write_escaped(b"a\"b\\c\r\n\x1b[31m\xff", &mut out);
        assert_eq!(out, br#"a\"b\\c\u000d\u000a\u001b[31m\u00ff"#);
    }
}
