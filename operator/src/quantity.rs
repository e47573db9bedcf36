//! Amounts as Kubernetes writes them, for comparison only.

/// The amount in thousandths; none when `text` is no amount.
pub(crate) fn parse(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = format!("{fraction:0<3}");
    if whole.is_empty() || fraction.len() > 3 {
        return None;
    }
    let thousandths = whole.parse::<i128>().ok()?.checked_mul(1000)? + fraction.parse::<i128>().ok()?;
    if unit == "m" {
        return (thousandths % 1000 == 0).then_some(thousandths / 1000);
    }
    thousandths.checked_mul(multiple(unit)?)
}

fn multiple(unit: &str) -> Option<i128> {
    let power = |base: i128, letters: &str| {
        let at = letters.find(unit.chars().next()?)?;
        base.checked_pow(u32::try_from(at).ok()? + 1)
    };
    match unit.len() {
        0 => Some(1),
        1 => power(1000, "kMGTPE"),
        2 if unit.ends_with('i') => power(1024, "KMGTPE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn amounts_are_equal_however_they_are_written() {
        for (one, other) in
            [("1000m", "1"), ("1024Mi", "1Gi"), ("0.5", "500m"), ("1k", "1000"), ("1.5Gi", "1536Mi")]
        {
            assert_eq!(parse(one), parse(other), "{one}");
            assert!(parse(one).is_some(), "{one}");
        }
        assert_ne!(parse("1Mi"), parse("1M"));
        for no in ["", "m", "Mi", "abc", "1x", "1.2.3", ".5", "1ki"] {
            assert_eq!(parse(no), None, "{no}");
        }
    }
}
