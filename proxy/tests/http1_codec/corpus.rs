//! Raw requests with what is to come of them: `testdata/http1/requests.txt`.

use crate::connection::{read, read_fragments};
use isthmus_proxy::http1::{HeadError, Limits, Parse, RequestHead};

/// One case.
pub struct Case {
    /// Begins with the id in cases.md that it pins, if it pins one.
    pub name: String,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What is read.
    pub expected: String,
}

/// The cases of the file.
pub fn cases() -> Vec<Case> {
    let text = include_str!("../../testdata/http1/requests.txt");
    let blocks = text.split("\n\n").map(|block| block.lines().filter(|line| !line.starts_with('#')));
    let cases: Vec<Case> = blocks.filter_map(case).collect();
    assert!(cases.len() > 100, "the corpus is not read");
    cases
}

fn case<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Case> {
    let mut lines = lines.filter(|line| !line.is_empty());
    let mut case = Case { name: lines.next()?.to_owned(), bytes: Vec::new(), expected: String::new() };
    for line in lines {
        let (mark, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{}: {line:?}", case.name));
        match mark {
            ">" => case.bytes.extend(unescape(rest)),
            "<" => case.expected.extend([rest, "\n"]),
            _ => panic!("{}: {line:?}", case.name),
        }
    }
    Some(case)
}

/// Reads `\r \n \t \0 \\ \xNN` and `<<text*count>>`.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((front, repeat)) = rest.split_once("<<") {
        let (repeat, after) = repeat.split_once(">>").expect("a repetition is closed");
        let (unit, count) = repeat.rsplit_once('*').expect("a repetition has a count");
        out.extend(unescape_plain(front));
        out.extend(unescape_plain(unit).repeat(count.parse().expect("a count is a number")));
        rest = after;
    }
    out.extend(unescape_plain(rest));
    out
}

fn unescape_plain(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("unknown escape {other:?}"),
            },
            byte => byte,
        });
    }
    out
}

#[test]
fn a1_to_a16_each_request_of_the_corpus_is_read_as_it_says() {
    let mut wrong = String::new();
    for case in cases() {
        let read = read(&case.bytes).to_string();
        if read != case.expected {
            wrong.push_str(&format!(
                "{}\n  expected {:?}\n  read     {read:?}\n",
                case.name, case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn fragments_change_nothing() {
    for case in cases().iter().filter(|case| case.bytes.len() < 30_000) {
        let bytes: Vec<&[u8]> = case.bytes.chunks(1).collect();
        let whole = read(&case.bytes);
        assert_eq!(read_fragments(&bytes, Limits::default()), whole, "{}: byte by byte", case.name);
        let step = (case.bytes.len() / 400).max(1);
        for at in (0..case.bytes.len()).step_by(step) {
            let (front, back) = case.bytes.split_at(at);
            let split = read_fragments(&[front, back], Limits::default());
            assert_eq!(split, whole, "{}: split at {at}", case.name);
        }
    }
}

#[test]
fn what_was_searched_for_a_line_end_is_not_searched_again() {
    let mut head = RequestHead::new(Limits::default());
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nA: aaaaaaaaaaaaaaaa".to_vec();
    assert_eq!(head.parse(&bytes), Ok(Parse::Partial));
    // No caller does this: it shows that the bytes are not looked at.
    let mut other = bytes.clone();
    other[..bytes.len()].fill(b'\n');
    other.push(b'a');
    assert_eq!(head.parse(&other), Ok(Parse::Partial));
    other.push(b'\n');
    assert_eq!(head.parse(&other), Err(HeadError::LineEnd));
}
