//! What a scalar means: the rules of the parser that kubectl and the API server use.
//!
//! That parser reads YAML 1.1: `NO` and `on` are booleans, `010` is 8, and `1_000` is 1000. Reading the
//! same files otherwise would give the same manifest two meanings (case I2).

use serde_json::Number;

use crate::files::node::Scalar;

/// A scalar that JSON cannot hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("infinity and NaN cannot be given as numbers here")]
pub struct NotFinite;

/// What the plain (unquoted) scalar `text` means.
pub fn plain(text: &str) -> Result<Scalar, NotFinite> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Scalar::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Scalar::Bool(false));
        }
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Scalar::Null),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err(NotFinite),
        _ => {}
    }
    Ok(number(text)?.unwrap_or_else(|| Scalar::Text(text.to_owned())))
}

/// The number that `text` is, if it is one.
pub fn number(text: &str) -> Result<Option<Scalar>, NotFinite> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(None);
    }
    let digits = text.replace('_', "");
    if let Some(number) = integer(&digits) {
        return Ok(Some(Scalar::Number(number)));
    }
    if !is_decimal(&digits) {
        return Ok(None);
    }
    let Ok(value) = digits.parse::<f64>() else { return Ok(None) };
    whole(value).or_else(|| Number::from_f64(value)).map(Scalar::Number).map(Some).ok_or(NotFinite)
}

/// An integer in any base that has a prefix: `0x`, `0o`, `0b`, and a bare `0` for octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, digits.get(2..)?),
        Some("0o" | "0O") => (8, digits.get(2..)?),
        Some("0b" | "0B") => (2, digits.get(2..)?),
        Some(two) if two.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        0_i64.checked_sub_unsigned(magnitude).map(Number::from)
    } else {
        Some(magnitude.into())
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    mantissa && exponent
}

/// `1e3` and `8.0` arrive at the API server as integers, by way of JSON.
fn whole(value: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() != 0.0 || value.abs() > EXACT {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and within 2^53")]
    let whole = value as i64;
    Some(whole.into())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::plain;

    /// The right-hand sides are what sigs.k8s.io/yaml v1.6.0 made of each.
    #[test]
    fn i2_scalars_mean_what_kubectl_reads() {
        let texts = "010 08 0o7 0x1F 0b101 1_000 +5 -0x10 1e3 .5 1. 1.5 18446744073709551615 \
                     18446744073709551616 -9223372036854775808 NO yes y Off ~ 1:30 2020-01-01 \
                     1.2.3.4 0xZZ 1e 12e03 - + -- 0 00 0_ 1__0 v1 .a -0b11 0x_1 0b -010 1_0.5 _1 +.5 0o 1E3 0X1f";
        let read: Vec<String> =
            texts.split_whitespace().map(|t| format!("{t} {:?}", plain(t).unwrap())).collect();
        expect![[r#"
            010 Number(Number(8))
            08 Number(Number(8))
            0o7 Number(Number(7))
            0x1F Number(Number(31))
            0b101 Number(Number(5))
            1_000 Number(Number(1000))
            +5 Number(Number(5))
            -0x10 Number(Number(-16))
            1e3 Number(Number(1000))
            .5 Number(Number(0.5))
            1. Number(Number(1))
            1.5 Number(Number(1.5))
            18446744073709551615 Number(Number(18446744073709551615))
            18446744073709551616 Number(Number(1.8446744073709552e+19))
            -9223372036854775808 Number(Number(-9223372036854775808))
            NO Bool(false)
            yes Bool(true)
            y Bool(true)
            Off Bool(false)
            ~ Null
            1:30 Text("1:30")
            2020-01-01 Text("2020-01-01")
            1.2.3.4 Text("1.2.3.4")
            0xZZ Text("0xZZ")
            1e Text("1e")
            12e03 Number(Number(12000))
            - Text("-")
            + Text("+")
            -- Text("--")
            0 Number(Number(0))
            00 Number(Number(0))
            0_ Number(Number(0))
            1__0 Number(Number(10))
            v1 Text("v1")
            .a Text(".a")
            -0b11 Number(Number(-3))
            0x_1 Number(Number(1))
            0b Text("0b")
            -010 Number(Number(-8))
            1_0.5 Number(Number(10.5))
            _1 Text("_1")
            +.5 Number(Number(0.5))
            0o Text("0o")
            1E3 Number(Number(1000))
            0X1f Number(Number(31))"#]]
        .assert_eq(&read.join("\n"));
        for text in [".inf", "-.INF", ".nan"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }
}
