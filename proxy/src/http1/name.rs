//! Field names that the proxy or its neighbours know, as small numbers, and what each may do.
//!
//! Decided here, from the name alone: its number, whether it is about one connection only, and whether a
//! trailer section may carry it. A name that is added to the list needs nothing else: the hash is found
//! by the compiler. Nothing here looks at values.

/// The field is about one connection and is never forwarded (RFC 9110, section 7.6.1).
const HOP: u8 = 1;
/// The field may not stand in a trailer section (RFC 9110, section 6.5.1): it frames, routes, modifies or
/// authenticates a message, or it is one by which proxies tell others who is calling.
const NO_TRAILER: u8 = 2;

macro_rules! names {
    ($($variant:ident $text:literal $class:expr),+ $(,)?) => {
        /// The name of a field, as far as it is known.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        #[repr(u8)]
        pub enum Known {
            /// Any name that is not in the list.
            #[default]
            Other,
            $(#[doc = concat!("`", $text, "`")] $variant,)+
        }

        const ALL: &[(Known, &str, u8)] = &[(Known::Other, "", 0), $((Known::$variant, $text, $class)),+];
    };
}

names! {
    Accept "accept" 0,
    AcceptCharset "accept-charset" 0,
    AcceptEncoding "accept-encoding" 0,
    AcceptLanguage "accept-language" 0,
    AcceptRanges "accept-ranges" 0,
    AccessControlAllowCredentials "access-control-allow-credentials" NO_TRAILER,
    AccessControlAllowHeaders "access-control-allow-headers" NO_TRAILER,
    AccessControlAllowMethods "access-control-allow-methods" NO_TRAILER,
    AccessControlAllowOrigin "access-control-allow-origin" NO_TRAILER,
    AccessControlExposeHeaders "access-control-expose-headers" NO_TRAILER,
    AccessControlMaxAge "access-control-max-age" NO_TRAILER,
    AccessControlRequestHeaders "access-control-request-headers" NO_TRAILER,
    AccessControlRequestMethod "access-control-request-method" NO_TRAILER,
    Age "age" NO_TRAILER,
    Allow "allow" 0,
    AltSvc "alt-svc" NO_TRAILER,
    Authorization "authorization" NO_TRAILER,
    B3 "b3" NO_TRAILER,
    Baggage "baggage" NO_TRAILER,
    CacheControl "cache-control" NO_TRAILER,
    Connection "connection" HOP | NO_TRAILER,
    ContentDisposition "content-disposition" 0,
    ContentEncoding "content-encoding" NO_TRAILER,
    ContentLanguage "content-language" 0,
    ContentLength "content-length" NO_TRAILER,
    ContentLocation "content-location" NO_TRAILER,
    ContentRange "content-range" NO_TRAILER,
    ContentSecurityPolicy "content-security-policy" NO_TRAILER,
    ContentType "content-type" NO_TRAILER,
    Cookie "cookie" NO_TRAILER,
    Date "date" NO_TRAILER,
    Etag "etag" 0,
    Expect "expect" NO_TRAILER,
    Expires "expires" NO_TRAILER,
    Forwarded "forwarded" NO_TRAILER,
    From "from" 0,
    GrpcAcceptEncoding "grpc-accept-encoding" 0,
    GrpcEncoding "grpc-encoding" NO_TRAILER,
    GrpcMessage "grpc-message" 0,
    GrpcStatus "grpc-status" 0,
    GrpcTimeout "grpc-timeout" NO_TRAILER,
    Host "host" NO_TRAILER,
    Http2Settings "http2-settings" HOP | NO_TRAILER,
    IfMatch "if-match" NO_TRAILER,
    IfModifiedSince "if-modified-since" NO_TRAILER,
    IfNoneMatch "if-none-match" NO_TRAILER,
    IfRange "if-range" NO_TRAILER,
    IfUnmodifiedSince "if-unmodified-since" NO_TRAILER,
    IsthmusUnreached "x-isthmus-unreached" NO_TRAILER,
    KeepAlive "keep-alive" HOP | NO_TRAILER,
    LastModified "last-modified" 0,
    Link "link" 0,
    Location "location" NO_TRAILER,
    MaxForwards "max-forwards" NO_TRAILER,
    Origin "origin" NO_TRAILER,
    Pragma "pragma" NO_TRAILER,
    Priority "priority" 0,
    // CGI programs read it as HTTP_PROXY; no message has a use for it.
    Proxy "proxy" HOP | NO_TRAILER,
    ProxyAuthenticate "proxy-authenticate" NO_TRAILER,
    ProxyAuthorization "proxy-authorization" NO_TRAILER,
    ProxyConnection "proxy-connection" HOP | NO_TRAILER,
    Range "range" NO_TRAILER,
    Referer "referer" 0,
    RetryAfter "retry-after" NO_TRAILER,
    SecFetchDest "sec-fetch-dest" 0,
    SecFetchMode "sec-fetch-mode" 0,
    SecFetchSite "sec-fetch-site" 0,
    SecFetchUser "sec-fetch-user" 0,
    SecWebSocketAccept "sec-websocket-accept" NO_TRAILER,
    SecWebSocketExtensions "sec-websocket-extensions" NO_TRAILER,
    SecWebSocketKey "sec-websocket-key" NO_TRAILER,
    SecWebSocketProtocol "sec-websocket-protocol" NO_TRAILER,
    SecWebSocketVersion "sec-websocket-version" NO_TRAILER,
    Server "server" 0,
    ServerTiming "server-timing" 0,
    SetCookie "set-cookie" NO_TRAILER,
    StrictTransportSecurity "strict-transport-security" NO_TRAILER,
    Te "te" HOP | NO_TRAILER,
    Traceparent "traceparent" NO_TRAILER,
    Tracestate "tracestate" NO_TRAILER,
    Trailer "trailer" NO_TRAILER,
    TransferEncoding "transfer-encoding" HOP | NO_TRAILER,
    Upgrade "upgrade" HOP | NO_TRAILER,
    UpgradeInsecureRequests "upgrade-insecure-requests" 0,
    UserAgent "user-agent" 0,
    Vary "vary" NO_TRAILER,
    Via "via" NO_TRAILER,
    Warning "warning" NO_TRAILER,
    WwwAuthenticate "www-authenticate" NO_TRAILER,
    XContentTypeOptions "x-content-type-options" NO_TRAILER,
    XForwardedClientCert "x-forwarded-client-cert" NO_TRAILER,
    XForwardedFor "x-forwarded-for" NO_TRAILER,
    XForwardedHost "x-forwarded-host" NO_TRAILER,
    XForwardedPort "x-forwarded-port" NO_TRAILER,
    XForwardedProto "x-forwarded-proto" NO_TRAILER,
    XFrameOptions "x-frame-options" NO_TRAILER,
    XRealIp "x-real-ip" NO_TRAILER,
    XRequestId "x-request-id" NO_TRAILER,
}

/// Beginnings of names that no `Connection` option may remove and no trailer may carry.
const GUARDED: [&[u8]; 6] =
    [b"x-forwarded-", b"x-isthmus-", b"x-envoy-", b"x-real-", b"x-auth", b"x-b3-"];

impl Known {
    /// The number of `name`, whatever its case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return Self::Other };
        let at = |part: usize| name.get(name.len() * part / 4).copied().unwrap_or_default();
        let slot = slot(SEED, name.len(), [first, at(1), at(2), at(3), last]);
        let known = SLOTS.get(slot).copied().unwrap_or_default();
        if name.eq_ignore_ascii_case(known.text().as_bytes()) { known } else { Self::Other }
    }

    /// The name in lower case; empty for [`Known::Other`].
    pub fn text(self) -> &'static str {
        self.row().1
    }

    /// Whether a field of this name is about one connection only (RFC 9110, section 7.6.1).
    pub fn is_hop_by_hop(self) -> bool {
        self.row().2 & HOP != 0
    }

    /// This name's place in sets of names.
    pub(super) const fn bit(self) -> u128 {
        1 << (self as u8)
    }

    fn row(self) -> (Self, &'static str, u8) {
        ALL.get(self as usize).copied().unwrap_or((Self::Other, "", 0))
    }
}

/// Whether a `Connection` option may remove the field (cases.md B13): only what is unknown to us is
/// believed to be the client's own; a known field is end to end or about the connection by its name.
pub(super) fn may_be_nominated(known: Known, name: &[u8]) -> bool {
    known == Known::Other && !is_guarded(name)
}

/// Whether a trailer section may carry the field.
pub(super) fn allowed_in_trailer(known: Known, name: &[u8]) -> bool {
    known.row().2 & NO_TRAILER == 0 && !is_guarded(name)
}

fn is_guarded(name: &[u8]) -> bool {
    GUARDED.iter().any(|front| name.get(..front.len()).is_some_and(|n| n.eq_ignore_ascii_case(front)))
}

/// The set of all names that are about one connection.
pub(super) const HOP_BY_HOP: u128 = hop_by_hop();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler only")]
const fn hop_by_hop() -> u128 {
    let mut set = 0;
    let mut i = 0;
    while i < ALL.len() {
        if ALL[i].2 & HOP != 0 {
            set |= ALL[i].0.bit();
        }
        i += 1;
    }
    set
}

const SLOT_COUNT: usize = 1024;

/// Letters differ from their other case in one bit, and all else that a name may hold keeps apart well
/// enough: what lands in a slot by mistake is found out by comparing.
#[inline]
const fn slot(seed: u64, len: usize, bytes: [u8; 5]) -> usize {
    let [first, one, two, three, last] = bytes;
    let word = u64::from_le_bytes([first, one, two, three, last, 0, 0, 0]) | 0x20_2020_2020;
    ((word ^ (len as u64) << 40).wrapping_mul(seed) >> 54) as usize
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler only")]
const fn slot_of(seed: u64, text: &str) -> usize {
    let t = text.as_bytes();
    let n = t.len();
    slot(seed, n, [t[0], t[n / 4], t[n / 2], t[n * 3 / 4], t[n - 1]])
}

const SEED: u64 = seed();

/// The first seed by which no two names share a slot.
#[expect(clippy::indexing_slicing, clippy::panic, reason = "evaluated by the compiler only")]
const fn seed() -> u64 {
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut tries = 0;
    while tries < 1000 {
        let mut taken = [false; SLOT_COUNT];
        let mut i = 1;
        while i < ALL.len() && !taken[slot_of(seed, ALL[i].1)] {
            taken[slot_of(seed, ALL[i].1)] = true;
            i += 1;
        }
        if i == ALL.len() {
            return seed;
        }
        seed = seed.wrapping_mul(0xd129_0ee4_4f6b_95d5).wrapping_add(2);
        tries += 1;
    }
    panic!("no seed keeps the names apart")
}

static SLOTS: [Known; SLOT_COUNT] = slots();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler only")]
const fn slots() -> [Known; SLOT_COUNT] {
    assert!(ALL.len() <= 128, "sets of names are 128 bits wide");
    let mut slots = [Known::Other; SLOT_COUNT];
    let mut i = 1;
    while i < ALL.len() {
        slots[slot_of(SEED, ALL[i].1)] = ALL[i].0;
        i += 1;
    }
    slots
}

/// A field name for edits: its number and its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldName<'a> {
    known: Known,
    text: &'a [u8],
}

impl<'a> FieldName<'a> {
    /// The name `text`, of which the number is looked up; none when it is no token.
    pub fn new(text: &'a [u8]) -> Option<Self> {
        super::scan::is_token(text).then(|| Self { known: Known::of(text), text })
    }

    /// Its number.
    pub fn known(self) -> Known {
        self.known
    }

    /// Its bytes as they are written.
    pub fn text(self) -> &'a [u8] {
        self.text
    }

    /// Whether a field with number `known` and name `text` has this name.
    pub(super) fn matches(self, known: Known, text: &[u8]) -> bool {
        self.known == known && (known != Known::Other || self.text.eq_ignore_ascii_case(text))
    }
}

impl From<Known> for FieldName<'static> {
    fn from(known: Known) -> Self {
        Self { known, text: known.text().as_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, FieldName, Known, allowed_in_trailer, may_be_nominated};

    #[test]
    fn every_name_is_found_in_any_case_and_nothing_else_is() {
        for &(known, text, _) in ALL.iter().skip(1) {
            assert_eq!(Known::of(text.as_bytes()), known);
            assert_eq!(Known::of(text.to_ascii_uppercase().as_bytes()), known);
            assert_eq!(Known::of(format!("{text}x").as_bytes()), Known::Other);
            assert_eq!(known.text(), text);
        }
        for other in ["", "x", "hos", "hosts", "h\x4fs\x54s", "content_length", "\u{0}ost"] {
            assert_eq!(Known::of(other.as_bytes()), Known::Other, "{other:?}");
        }
    }

    #[test]
    fn b13_no_connection_option_reaches_what_proxies_say_of_a_caller() {
        for name in ["Host", "authorization", "X-Forwarded-For", "x-forwarded-anything", "X-Isthmus-Id"]
        {
            assert!(!may_be_nominated(Known::of(name.as_bytes()), name.as_bytes()), "{name}");
        }
        assert!(may_be_nominated(Known::of(b"X-Own"), b"X-Own"));
    }

    #[test]
    fn trailers_carry_results_and_no_framing() {
        for name in ["grpc-status", "Server-Timing", "x-checksum", "etag"] {
            assert!(allowed_in_trailer(Known::of(name.as_bytes()), name.as_bytes()), "{name}");
        }
        for name in ["Content-Length", "transfer-encoding", "host", "Set-Cookie", "X-Forwarded-Host"] {
            assert!(!allowed_in_trailer(Known::of(name.as_bytes()), name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_name_for_edits_is_a_token() {
        assert!(FieldName::new(b"x-a").is_some());
        assert!(FieldName::new(b"").is_none());
        assert!(FieldName::new(b"x a").is_none());
        assert!(FieldName::new(b"x-a:").is_none());
    }
}
