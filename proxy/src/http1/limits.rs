//! How much of a stranger's bytes is looked at before a head or a body is refused.

/// Limits of a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a whole head, the empty lines around it included; at most 1 MiB.
    pub head: usize,
    /// Bytes of the start line; at most half of the head.
    pub start_line: usize,
    /// Fields; at most 256.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 64 << 10, start_line: 16 << 10, fields: 128 }
    }
}

impl Limits {
    pub(super) fn clamped(self) -> Self {
        let head = self.head.clamp(64, 1 << 20);
        Self { head, start_line: self.start_line.min(head / 2), fields: self.fields.min(256) }
    }
}

/// Limits of a chunked body's framing. The sizes of chunks and of the whole body have none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyLimits {
    /// Bytes of the extensions of one chunk.
    pub extension: usize,
    /// Bytes of the trailer section.
    pub trailers: usize,
    /// Fields of the trailer section, those that are dropped included.
    pub trailer_fields: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { extension: 256, trailers: 8 << 10, trailer_fields: 64 }
    }
}
