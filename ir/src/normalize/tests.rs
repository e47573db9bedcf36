//! Normalisation of paths, authorities and request targets, against tables and a naive reference.

use std::borrow::Cow;

use super::{BadAuthority, BadPath, BadTarget, Form, authority, origin, path, server_name, target};
use proptest::{collection::vec, prelude::*, sample::select};

/// The normal path as text, or why there is none.
fn normal(raw: &str) -> Result<String, BadPath> {
    path(raw.as_bytes()).map(|p| String::from_utf8(p.into_owned()).unwrap())
}

fn all_become(expected: &Result<&str, BadPath>, raw: &[&str]) {
    for raw in raw {
        assert_eq!(normal(raw), expected.map(str::to_owned), "{raw:?}");
    }
}

#[test]
fn b1_escaped_slashes_and_backslashes_are_refused() {
    let raw = ["/admin%2F..%2Fpublic", "/a%2fb", "/a%5cb", "/a%5Cb", "/%2f"];
    all_become(&Err(BadPath::EscapedSlash), &raw);
    all_become(&Err(BadPath::Backslash), &["/a\\b", "/\\..\\a", "/a/\\"]);
}

#[test]
fn b2_slashes_are_merged_and_dot_segments_resolved() {
    let raw =
        ["//admin", "/./admin", "/a/../admin", "/%2e/admin", "/a/%2E%2e/admin", "///./a//.//..//admin"];
    all_become(&Ok("/admin"), &raw);
    all_become(&Ok("/"), &["/", "//", "/.", "/./", "/a/..", "/a/../", "/%2e"]);
    all_become(&Ok("/a/"), &["/a/", "/a//", "/a/.", "/a/b/..", "/a/b/../"]);
    all_become(&Ok("/a"), &["/a", "/b/../a"]);
    all_become(&Err(BadPath::AboveRoot), &["/..", "/../", "/a/../..", "/%2e%2e/etc", "/./../a", "//.."]);
    all_become(&Ok("/.a/..b/.../.well-known"), &["/.a/..b/.../.well-known"]);
}

#[test]
fn b3_dot_segments_with_parameters_are_refused() {
    let raw =
        ["/..;/admin", "/.;/admin", "/a/..;x=y/admin", "/a/.;", "/%2e%2e;/a", "/..%3b/a", "/.%3Bx"];
    all_become(&Err(BadPath::DotParameters), &raw);
    all_become(&Ok("/admin;x=y"), &["/admin;x=y"]);
    all_become(&Ok("/;/a/...;/b"), &["/;/a/...;/b"]);
}

#[test]
fn b5_escapes_are_decoded_once_and_nul_is_refused() {
    all_become(&Ok("/%252Fa/%2525"), &["/%252Fa/%2525"]);
    all_become(&Ok("/~a-Z_0.b"), &["/%7Ea%2dZ%5F%30%2Eb"]);
    all_become(&Ok("/%3B%2C%20%C3%A9"), &["/%3b%2c%20%c3%a9"]);
    all_become(&Err(BadPath::Nul), &["/a%00", "/%00/b"]);
    all_become(&Err(BadPath::Escape), &["/%", "/%2", "/%zz", "/a%+1", "/%2/e", "/%u002f"]);
    let overlong = ["/%c0%af", "/%C1%9C", "/%e0%80%af", "/%f0%80%80%af", "/%c0%ae%c0%ae/"];
    all_become(&Err(BadPath::Overlong), &overlong);
}

#[test]
fn b5_what_is_no_utf8_stays_and_is_escaped() {
    assert_eq!(&*path(b"/caf\xe9/%FF\xfe").unwrap(), b"/caf%E9/%FF%FE");
    all_become(&Ok("/%C3%A9%7B%22%7D"), &["/é{\"}"]);
    assert_eq!(path(b"/\xc0\xaf"), Err(BadPath::Overlong));
    assert_eq!(path(b"/%c0\xaf"), Err(BadPath::Overlong));
}

#[test]
fn a12_delimiters_control_characters_and_relative_paths_are_refused() {
    all_become(&Err(BadPath::Delimiter), &["/a#b", "/#", "/a?b"]);
    all_become(&Err(BadPath::Control), &["/a\tb", "/a b", "/\r\n", "/\x7f", "/\0"]);
    all_become(&Err(BadPath::Relative), &["", "a", "*", "a/b", "../a", "%2fa"]);
    assert_eq!(target(b"GET", b"/a#b").unwrap_err(), BadPath::Delimiter.into());
    assert_eq!(target(b"GET", b"/a?b#c").unwrap_err(), BadTarget::Query);
    assert_eq!(target(b"GET", b"http://a.com#c").unwrap_err(), BadPath::Relative.into());
}

#[test]
fn what_is_normal_is_borrowed() {
    for raw in ["/", "/a", "/a/b;c=d/e@f:g", "/.well-known/x", "/%20", "/a/%C3%A9/"] {
        assert!(matches!(path(raw.as_bytes()), Ok(Cow::Borrowed(_))), "{raw:?}");
    }
    assert!(matches!(authority(b"a.com:80").unwrap().host, Cow::Borrowed("a.com")));
}

#[test]
fn b8_authorities_have_one_spelling() {
    let read = |raw: &str| authority(raw.as_bytes()).map(|a| (a.host.into_owned(), a.port));
    for (raw, host, port) in [
        ("a.com", "a.com", None),
        ("A.COM", "a.com", None),
        ("a.com.", "a.com", None),
        ("a.com:443", "a.com", Some(443)),
        ("a.com.:1", "a.com", Some(1)),
        ("a.com:", "a.com", None),
        ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
        ("[::1]:80", "[::1]", Some(80)),
        ("[0:0:0:0:0:0:0:1]", "[::1]", None),
        ("[FE80::A]:", "[fe80::a]", None),
        ("x_y.a--b", "x_y.a--b", None),
    ] {
        assert_eq!(read(raw), Ok((host.to_owned(), port)), "{raw:?}");
    }
    for (raw, why) in [
        ("", BadAuthority::Empty),
        (":80", BadAuthority::Empty),
        ("a.com:99999", BadAuthority::Port),
        ("a.com:0", BadAuthority::Port),
        ("a.com:080", BadAuthority::Port),
        ("a.com:+80", BadAuthority::Port),
        ("a.com:80:80", BadAuthority::Port),
        ("a.com:http", BadAuthority::Port),
        ("a..com", BadAuthority::EmptyLabel),
        (".a.com", BadAuthority::EmptyLabel),
        ("a.com..", BadAuthority::EmptyLabel),
        (".", BadAuthority::EmptyLabel),
        ("[fe80::1%25eth0]", BadAuthority::Ipv6),
        ("[::1", BadAuthority::Ipv6),
        ("[127.0.0.1]", BadAuthority::Ipv6),
        ("[::1]x", BadAuthority::Character),
        ("::1", BadAuthority::Empty),
        ("u@a.com", BadAuthority::UserInfo),
        ("u:p@a.com:80", BadAuthority::UserInfo),
        ("a.com/b", BadAuthority::Character),
        ("a b", BadAuthority::Character),
        ("a%2ecom", BadAuthority::Character),
        ("é.com", BadAuthority::Character),
        ("*.a.com", BadAuthority::Character),
    ] {
        assert_eq!(read(raw), Err(why), "{raw:?}");
    }
    assert_eq!(authority(&[b'a'; 254]), Err(BadAuthority::Long));
    assert_eq!(server_name(b"A.com.").as_deref(), Ok("a.com"));
    assert_eq!(server_name(b"a.com:443"), Err(BadAuthority::Character));
}

#[test]
fn a11_the_authority_of_an_absolute_target_wins() {
    let parsed = target(b"GET", b"HTTP://A.com:81/x?y?z").unwrap();
    assert_eq!(
        (parsed.form, &*parsed.path, parsed.query),
        (Form::Absolute, &b"/x"[..], Some(&b"y?z"[..]))
    );
    let resolved = parsed.resolve(Some(b"b.com")).unwrap();
    assert_eq!((&*resolved.host, resolved.port), ("a.com", Some(81)));
    let empty = target(b"GET", b"https://a.com?q").unwrap();
    assert_eq!((&*empty.path, empty.query), (&b"/"[..], Some(&b"q"[..])));
    let bad_field = target(b"GET", b"http://a.com/").unwrap().resolve(Some(b"b@c"));
    assert_eq!(bad_field, Err(BadAuthority::UserInfo));
    assert_eq!(target(b"GET", b"http:///x").unwrap_err(), BadAuthority::Empty.into());
    assert_eq!(target(b"GET", b"http://u@a.com/x").unwrap_err(), BadAuthority::UserInfo.into());
    assert_eq!(target(b"GET", b"ftp://a.com/x").unwrap_err(), BadTarget::Form);
}

#[test]
fn each_method_has_its_forms() {
    assert_eq!(target(b"OPTIONS", b"*").unwrap().form, Form::Asterisk);
    assert_eq!(target(b"GET", b"*").unwrap_err(), BadTarget::Form);
    assert_eq!(target(b"CONNECT", b"a.com:443").unwrap().form, Form::Authority);
    assert_eq!(target(b"CONNECT", b"a.com").unwrap_err(), BadTarget::Form);
    assert_eq!(target(b"GET", b"a.com:443").unwrap_err(), BadTarget::Form);
    assert_eq!(target(b"GET", b"/a").unwrap().resolve(None), Err(BadAuthority::Empty));
    assert_eq!(origin(b"GET", b"/a/../b?c").map(|t| t.path.into_owned()), Ok(b"/b".to_vec()));
    for bad in [&b""[..], b"a", b"*", b"http://a.com/"] {
        assert_eq!(origin(b"GET", bad), Err(BadTarget::Form), "b14");
    }
}

/// A slow way to the same answer: characters with a mark for those that must stay escaped, split by
/// literal slashes, then folded over a stack.
fn reference(raw: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<(u8, bool)> = unescaped(raw)?;
    let meant: Vec<u8> = text.iter().map(|c| c.0).collect();
    let overlong = |w: &[u8]| {
        let lossless = char::from_u32((u32::from(w[0] & 0x1f) << 6) | u32::from(w[1] & 0x3f));
        let continuation = w[1] & 0xc0 == 0x80;
        match w[0] {
            0xc0..=0xdf => continuation && lossless.is_some_and(|c| c.len_utf8() < 2),
            0xe0 => continuation && w[1] < 0xa0,
            0xf0 => continuation && w[1] < 0x90,
            _ => false,
        }
    };
    if text.first() != Some(&(b'/', false)) || meant.windows(2).any(overlong) {
        return None;
    }
    let mut stack: Vec<String> = Vec::new();
    let mut directory = false;
    for element in text[1..].split(|c| *c == (b'/', false)) {
        let spelled: String = element.iter().map(|&c| spell(c)).collect();
        directory = ["", ".", ".."].contains(&&*spelled);
        match &*spelled {
            "" | "." => {}
            ".." => drop(stack.pop()?),
            s if [".;", "..;", ".%3B", "..%3B"].iter().any(|bad| s.starts_with(bad)) => return None,
            _ => stack.push(spelled),
        }
    }
    let tail = if directory && !stack.is_empty() { "/" } else { "" };
    Some(format!("/{}{tail}", stack.join("/")).into_bytes())
}

/// Each character with whether it was escaped; none when one may not be there.
fn unescaped(raw: &[u8]) -> Option<Vec<(u8, bool)>> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < raw.len() {
        if raw[i] == b'%' {
            let digits = raw.get(i + 1..i + 3).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
            let byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            if [0, b'/', b'\\'].contains(&byte) {
                return None;
            }
            out.push((byte, true));
            i += 3;
        } else {
            if raw[i] < 0x21 || b"\\#?\x7f".contains(&raw[i]) {
                return None;
            }
            out.push((raw[i], false));
            i += 1;
        }
    }
    Some(out)
}

fn spell((byte, escaped): (u8, bool)) -> String {
    let c = char::from(byte);
    let bare = byte.is_ascii_alphanumeric() || "-._~".contains(c);
    let reserved = !escaped && "!$&'()*+,;=:@".contains(c);
    if bare || reserved { c.to_string() } else { format!("%{byte:02X}") }
}

/// Texts in which everything that matters to paths is frequent.
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"/",
        b"/",
        b"/",
        b".",
        b"..",
        b"%2e",
        b"%2E",
        b"a",
        b"b",
        b";",
        b"%3b",
        b"%2f",
        b"%5C",
        b"%25",
        b"%",
        b"%00",
        b"%c0",
        b"\xaf",
        b"%e0",
        b"%80",
        b"\\",
        b"#",
        b"?",
        b" ",
        b"{",
        b"\xc3\xa9",
        b"%41",
        b"%7e",
        b"~",
        b",",
        b"%2c",
        b"\x01",
    ];
    vec(select(pieces), 0..12).prop_map(|p| [&b"/"[..], &p.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn b2_b5_the_normal_path_is_the_references(raw in tricky()) {
        prop_assert_eq!(path(&raw).ok().map(Cow::into_owned), reference(&raw));
    }

    #[test]
    fn any_bytes_have_the_references_answer(raw in vec(any::<u8>(), 0..24)) {
        prop_assert_eq!(path(&raw).ok().map(Cow::into_owned), reference(&raw));
        let rooted = [b"/", &raw[..]].concat();
        prop_assert_eq!(path(&rooted).ok().map(Cow::into_owned), reference(&rooted));
    }

    #[test]
    fn a_normal_path_is_its_own_normal_form_and_borrowed(raw in tricky()) {
        if let Ok(once) = path(&raw) {
            prop_assert!(matches!(path(&once), Ok(Cow::Borrowed(twice)) if twice == &*once));
            prop_assert_eq!(*once == raw, matches!(once, Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_normal_authority_is_its_own_normal_form(raw in "[a-bA-Z.:\\[\\]0-9_@-]{0,12}") {
        if let Ok(once) = authority(raw.as_bytes()) {
            let port = once.port.map(|p| format!(":{p}")).unwrap_or_default();
            let text = format!("{}{port}", once.host);
            prop_assert_eq!(authority(text.as_bytes()), Ok(once));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(raw in vec(any::<u8>(), 0..40), method in "(GET|OPTIONS|CONNECT)") {
        let _ = authority(&raw);
        let _ = origin(method.as_bytes(), &raw);
        let _ = target(method.as_bytes(), &[b"http://", &raw[..]].concat());
        if let Ok(target) = target(method.as_bytes(), &raw) {
            prop_assert!(target.path.is_ascii());
        }
    }
}
