//! Rules about single texts, for translation and for [`schema`](crate::schema) alike.

/// Why a text is not what it should be, fit for the end of a sentence about it.
pub(crate) type Check = Result<(), &'static str>;

/// RFC 9110, section 5.6.2.
pub(crate) fn token(text: &str) -> bool {
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(tchar)
}

/// A value of a header field that a filter writes (case A14).
pub(crate) fn header_value(text: &str) -> Check {
    if text.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
        return Err("holds a control character (CR, LF and NUL would split the message)");
    }
    Ok(())
}

/// The value of an exact or prefix path match, by the rules of the `HTTPPathMatch` type.
pub(crate) fn path_value(value: &str) -> Check {
    if !value.starts_with('/') {
        return Err("must begin with '/'");
    }
    for (part, why) in [
        ("//", "must not contain '//'"),
        ("/./", "must not contain '/./'"),
        ("/../", "must not contain '/../'"),
        ("%2f", "must not contain '%2f'"),
        ("%2F", "must not contain '%2F'"),
        ("#", "must not contain '#'"),
    ] {
        if value.contains(part) {
            return Err(why);
        }
    }
    if value.ends_with("/..") {
        return Err("must not end with '/..'");
    }
    if value.ends_with("/.") {
        return Err("must not end with '/.'");
    }
    path_characters(value)
}

/// Letters, digits, `-/._~!$&'()*+,;=:@`, and escapes of two hexadecimal digits.
pub(crate) fn path_characters(value: &str) -> Check {
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_hexdigit());
        match byte {
            b'%' if digit(bytes.next()) && digit(bytes.next()) => {}
            b'%' => return Err("has a '%' that two hexadecimal digits do not follow"),
            b if b.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&b) => {}
            _ => return Err("has a character that a path may not have (escape it as %XX)"),
        }
    }
    Ok(())
}
