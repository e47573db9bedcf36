//! DNS labels (RFC 1123): the only shape of name that a peer may bring in.

/// Whether `text` is one lower-case DNS label: 1 to 63 letters, digits and inner hyphens.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    text.len() <= 63
        && bytes.first().is_some_and(|b| alphanumeric(*b))
        && bytes.last().is_some_and(|b| alphanumeric(*b))
        && bytes.iter().all(|b| alphanumeric(*b) || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::is_dns_label;

    #[test]
    fn labels_are_lower_case_and_bounded() {
        for good in ["a", "a-b", "0", &"x".repeat(63)] {
            assert!(is_dns_label(good), "{good:?}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a\0", "é", &"x".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad:?}");
        }
    }
}
