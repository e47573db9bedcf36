//! Queries of URLs: `name=value&...` with percent-encoding.

/// The pairs of a query, decoded.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decoded(name)?, decoded(value)?))
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                let byte = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                let byte = byte.and_then(|byte| u8::try_from(byte).ok());
                byte.ok_or_else(|| format!("{text:?} is not percent-encoded as it should be"))?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn what_the_client_encodes_is_decoded() {
        for text in ["a", "a b&c=d%/é", ""] {
            let query = format!("x={}&y", crate::client::encoded(text));
            assert_eq!(
                pairs(&query).unwrap(),
                [("x".to_owned(), text.to_owned()), ("y".to_owned(), String::new())]
            );
        }
        pairs("a=%f").unwrap_err();
        pairs("a=%ff").unwrap_err();
    }
}
