//! A slow and obvious reader of requests, written from RFC 9112 and cases.md and from nothing of the codec:
//! it copies, splits and compares strings. It knows no limits but the number of empty lines.

/// What it makes of the bytes of one head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// More is needed.
    Partial,
    /// It is refused.
    Refused,
    /// It is a head.
    Head(Head),
}

/// A head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub method: String,
    pub target: String,
    pub http10: bool,
    pub fields: Vec<(String, Vec<u8>)>,
    pub length: Option<u64>,
    pub chunked: bool,
    pub persistent: bool,
    pub len: usize,
}

/// What it makes of a chunked body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    Partial,
    Refused,
    Complete { content: Vec<u8>, len: usize },
}

fn tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| tchar(b))
}

/// Takes the line at the front; it ends in LF, and what stands before must be text and CR.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&b| b == b'\n')?;
    let line = &rest[..=end];
    *rest = &rest[end + 1..];
    Some(line)
}

fn without_crlf(line: &[u8]) -> Option<&[u8]> {
    let text = line.strip_suffix(b"\r\n")?;
    (!text.contains(&b'\r')).then_some(text)
}

/// Reads the head at the front of `input`.
pub fn head(input: &[u8]) -> Outcome {
    let mut rest = input;
    for _ in 0..2 {
        if rest.starts_with(b"\r\n") {
            rest = &rest[2..];
        }
    }
    match rest.first() {
        None => return Outcome::Partial,
        Some(b'\r') => return if rest.contains(&b'\n') { Outcome::Refused } else { Outcome::Partial },
        Some(&b) if !tchar(b) => return Outcome::Refused,
        Some(_) => {}
    }
    let Some(line) = take_line(&mut rest) else { return Outcome::Partial };
    let Some(mut head) = without_crlf(line).and_then(start_line) else { return Outcome::Refused };
    loop {
        let Some(line) = take_line(&mut rest) else { return Outcome::Partial };
        if line == b"\r\n" {
            head.len = input.len() - rest.len();
            return if whole(&mut head) { Outcome::Head(head) } else { Outcome::Refused };
        }
        let Some(field) = without_crlf(line).and_then(head_field) else { return Outcome::Refused };
        head.fields.push(field);
        if !fields_so_far(&head) {
            return Outcome::Refused;
        }
    }
}

fn start_line(line: &[u8]) -> Option<Head> {
    let parts: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let [method, target, version] = parts[..] else { return None };
    let http10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return None,
    };
    let upper = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'-' || *b == b'_';
    if !token(method) || !method.iter().all(upper) || method.len() > 32 {
        return None;
    }
    let method = String::from_utf8(method.to_vec()).ok()?;
    let target = self::target(&method, std::str::from_utf8(target).ok()?)?;
    let fields = Vec::new();
    Some(Head {
        method,
        target,
        http10,
        fields,
        length: None,
        chunked: false,
        persistent: false,
        len: 0,
    })
}

/// The target without scheme and authority.
fn target(method: &str, raw: &str) -> Option<String> {
    if !raw.bytes().all(|b| b.is_ascii_graphic()) || raw.contains('#') {
        return None;
    }
    if method == "CONNECT" {
        let (host, port) = raw.rsplit_once(':')?;
        return (host_like(host.as_bytes())
            && !port.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit()))
        .then(String::new);
    }
    if raw == "*" {
        return (method == "OPTIONS").then(|| raw.to_owned());
    }
    let text = if raw.starts_with('/') { raw.to_owned() } else { absolute(method, raw)? };
    let path = text.split('?').next()?;
    (!path.contains(['<', '>', '`'])).then_some(text)
}

fn absolute(method: &str, raw: &str) -> Option<String> {
    let (scheme, rest) = raw.split_once("://")?;
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !host_like(authority.as_bytes()) {
        return None;
    }
    Some(match rest {
        "" if method == "OPTIONS" => "*".to_owned(),
        rest if rest.starts_with('/') => rest.to_owned(),
        rest => format!("/{rest}"),
    })
}

fn host_like(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|&b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&b))
}

/// A line of a head, where a field about framing or host has no tab in it.
fn head_field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let (name, value) = field(line)?;
    let frames = ["content-length", "transfer-encoding", "host"].contains(&name.as_str());
    (!frames || !line.contains(&b'\t')).then_some((name, value))
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|&b| b == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let printable = |&b: &u8| b == b'\t' || (b >= 0x20 && b != 0x7f);
    if !token(name) || !value.iter().all(printable) {
        return None;
    }
    let blank = |&b: &u8| b == b' ' || b == b'\t';
    let from = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let to = value.iter().rposition(|b| !blank(b)).map_or(from, |i| i + 1);
    Some((String::from_utf8(name.to_ascii_lowercase()).ok()?, value[from..to].to_vec()))
}

fn values<'a>(head: &'a Head, name: &str) -> Vec<&'a [u8]> {
    head.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_slice()).collect()
}

/// Rules that a line breaks by itself or together with those before it.
fn fields_so_far(head: &Head) -> bool {
    let lengths = values(head, "content-length");
    let encodings = values(head, "transfer-encoding");
    let numeric = |v: &&[u8]| {
        let text = std::str::from_utf8(v).unwrap_or("x");
        text.parse::<i64>().is_ok_and(|n| n.to_string() == text && n >= 0)
    };
    lengths.len() < 2
        && lengths.iter().all(numeric)
        && encodings.len() < 2
        && encodings.iter().all(|v| v.eq_ignore_ascii_case(b"chunked"))
        && values(head, "host").len() < 2
        && values(head, "expect").iter().all(|v| v.eq_ignore_ascii_case(b"100-continue"))
}

/// Rules of the head as a whole.
fn whole(head: &mut Head) -> bool {
    let hosts: Vec<Vec<u8>> = values(head, "host").into_iter().map(<[u8]>::to_vec).collect();
    let length =
        values(head, "content-length").first().map(|v| String::from_utf8_lossy(v).parse().unwrap());
    let chunked = !values(head, "transfer-encoding").is_empty();
    let options: Vec<String> = values(head, "connection")
        .iter()
        .flat_map(|v| v.split(|&b| b == b','))
        .map(|o| String::from_utf8_lossy(o).trim_matches([' ', '\t']).to_ascii_lowercase())
        .collect();
    let has = |option: &str| options.iter().any(|o| o == option);
    head.length = length;
    head.chunked = chunked;
    head.persistent = !has("close") && (!head.http10 || has("keep-alive"));
    let connect = head.method == "CONNECT" && (chunked || length.is_some_and(|n: u64| n > 0));
    (hosts.len() == 1 || head.http10)
        && hosts.iter().all(|h| host_like(h))
        && !(chunked && length.is_some())
        && !(chunked && head.http10)
        && !connect
}

/// Reads a chunked body at the front of `input`, without limits.
pub fn chunked(input: &[u8]) -> Body {
    let mut rest = input;
    let mut content = Vec::new();
    loop {
        let size = match chunk_size(&mut rest) {
            Size::Partial => return Body::Partial,
            Size::Wrong => return Body::Refused,
            Size::Is(size) => size,
        };
        if size == 0 {
            break;
        }
        let Ok(size) = usize::try_from(size) else { return Body::Partial };
        let have = rest.len().min(size);
        content.extend_from_slice(&rest[..have]);
        rest = &rest[have..];
        for expected in b"\r\n" {
            match rest.split_first() {
                None => return Body::Partial,
                Some((b, after)) if b == expected => rest = after,
                Some(_) => return Body::Refused,
            }
        }
    }
    // An empty trailer section is judged byte by byte, a line of it when it is complete.
    match rest {
        [] | [b'\r'] => return Body::Partial,
        [b'\r', b'\n', ..] => return Body::Complete { content, len: input.len() - rest.len() + 2 },
        [b'\r', ..] => return Body::Refused,
        _ => {}
    }
    loop {
        let Some(line) = take_line(&mut rest) else { return Body::Partial };
        if line == b"\r\n" {
            return Body::Complete { content, len: input.len() - rest.len() };
        }
        if without_crlf(line).and_then(field).is_none() {
            return Body::Refused;
        }
    }
}

/// What stands on the line of a chunk size.
enum Size {
    Partial,
    Wrong,
    Is(u64),
}

fn chunk_size(rest: &mut &[u8]) -> Size {
    let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let number = u64::from_str_radix(std::str::from_utf8(&rest[..digits]).unwrap(), 16);
    if digits > 16 || number.as_ref().is_ok_and(|&n| n > i64::MAX as u64) {
        return Size::Wrong;
    }
    *rest = &rest[digits..];
    let mut after = *rest;
    match after.first() {
        None => return Size::Partial,
        Some(_) if digits == 0 => return Size::Wrong,
        Some(b';') => {
            let run = after.iter().take_while(|&&b| b == b'\t' || (b' '..=b'~').contains(&b)).count();
            after = &after[run..];
        }
        Some(_) => {}
    }
    match after {
        [] | [b'\r'] => Size::Partial,
        [b'\r', b'\n', ..] => {
            *rest = &after[2..];
            Size::Is(number.unwrap())
        }
        _ => Size::Wrong,
    }
}
