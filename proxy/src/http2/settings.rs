//! How much a peer may make us hold or do (cases.md C1 to C6, C8).
//!
//! Every limit is set, also where the default of `h2` would do, so that none changes with a version of the
//! crate. What `h2` bounds by itself (CONTINUATION frames, empty DATA frames) follows from these.

use std::time::Duration;

use h2::{client, server};

/// The bytes by which a client begins HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection that begins with `bytes` speaks HTTP/2; none when more bytes are needed.
pub fn preface(bytes: &[u8]) -> Option<bool> {
    let seen = bytes.len().min(PREFACE.len());
    if bytes.get(..seen) != PREFACE.get(..seen) {
        return Some(false);
    }
    (seen == PREFACE.len()).then_some(true)
}

/// Limits of one HTTP/2 connection, on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Streams that a client may have open at once.
    pub streams: u32,
    /// Bytes of a decoded header list, cookie crumbs and trailers included, each field counted with 32 more
    /// (RFC 9113, section 6.5.2). More is answered with 431; four times as much ends the connection.
    pub header_list: u32,
    /// Bytes of body that a peer may send ahead, for each stream.
    pub stream_window: u32,
    /// Bytes of body that a peer may send ahead on the whole connection.
    pub connection_window: u32,
    /// Bytes for each stream that wait because the peer does not read.
    pub send_buffer: usize,
    /// Streams that the client reset before we came to them (C1, rapid reset); one more ends the
    /// connection with `ENHANCE_YOUR_CALM`.
    pub pending_resets: usize,
    /// Streams of a connection's life that we had to reset because of the peer's mistakes (C2,
    /// `MadeYouReset`); one more ends the connection.
    pub error_resets: usize,
    /// Streams that we reset and remember, to bear late frames.
    pub remembered_resets: usize,
    /// How long they are remembered.
    pub remembered_for: Duration,
    /// What small DATA frames that wait to be read may cost beyond their content (C5).
    pub small_frames: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams: 128,
            header_list: 64 << 10,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            send_buffer: 64 << 10,
            pending_resets: 20,
            error_resets: 256,
            remembered_resets: 64,
            remembered_for: Duration::from_secs(1),
            small_frames: 128 << 10,
        }
    }
}

/// The smallest maximum that a peer must support, and enough.
const FRAME: u32 = 16 << 10;
/// RFC 7541's default: a larger table is memory that the peer fills.
const TABLE: u32 = 4 << 10;

impl Settings {
    /// A server of these limits.
    pub fn server(&self) -> server::Builder {
        let mut builder = server::Builder::new();
        builder
            .max_concurrent_streams(self.streams)
            .max_header_list_size(self.header_list)
            .header_table_size(TABLE)
            .max_frame_size(FRAME)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_send_buffer_size(self.send_buffer)
            .max_pending_accept_reset_streams(self.pending_resets)
            .max_local_error_reset_streams(Some(self.error_resets))
            .max_concurrent_reset_streams(self.remembered_resets)
            .reset_stream_duration(self.remembered_for)
            .data_frame_budget(self.small_frames);
        builder
    }

    /// A client of these limits, which takes no pushed streams.
    pub fn client(&self) -> client::Builder {
        let mut builder = client::Builder::new();
        builder
            .enable_push(false)
            .max_concurrent_streams(0)
            .max_header_list_size(self.header_list)
            .header_table_size(TABLE)
            .max_frame_size(FRAME)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_send_buffer_size(self.send_buffer)
            .max_pending_accept_reset_streams(self.pending_resets)
            .max_local_error_reset_streams(Some(self.error_resets))
            .max_concurrent_reset_streams(self.remembered_resets)
            .reset_stream_duration(self.remembered_for)
            .data_frame_budget(self.small_frames);
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::preface;

    #[test]
    fn a_preface_is_told_from_http_1_as_early_as_can_be() {
        assert_eq!(preface(b""), None);
        assert_eq!(preface(b"P"), None);
        assert_eq!(preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"), None);
        assert_eq!(preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), Some(true));
        assert_eq!(preface(b"PO"), Some(false));
        assert_eq!(preface(b"PRI * HTTP/1.1\r\n"), Some(false));
    }
}
