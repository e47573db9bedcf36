//! What nginx, Node and Go's net/http made of the corpus (recorded by `testdata/http1/record.sh`): what we
//! accept they read in the same way, or the difference is listed with its reason. We are never laxer than
//! the strictest of the three unless that is listed.

use std::collections::BTreeMap;

use crate::connection::{Connection, End, read};
use crate::corpus::cases;

/// What one server read: messages as `method target host body`, then statuses of refusals.
struct Answer {
    messages: Vec<String>,
    refused: bool,
}

fn recorded() -> BTreeMap<(String, String), Answer> {
    let text = include_str!("../../testdata/http1/differential.txt");
    let mut out = BTreeMap::new();
    for block in text.split("\n\n") {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let Some(case) = lines.next() else { continue };
        for line in lines {
            let (server, answer) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            out.insert((case.to_owned(), server.to_owned()), self::answer(answer));
        }
    }
    out
}

fn answer(text: &str) -> Answer {
    let parts: Vec<&str> = text.split(" | ").collect();
    let (end, parts) = parts.split_last().unwrap();
    let is_message = |part: &&&str| part.contains(' ');
    let messages: Vec<String> = parts.iter().filter(is_message).map(|part| without_port(part)).collect();
    let refused = parts.len() > messages.len() || (messages.is_empty() && *end == "closed");
    Answer { messages, refused }
}

/// A message without the port of its host, which not everyone shows.
fn without_port(message: &str) -> String {
    let mut parts: Vec<&str> = message.split(' ').collect();
    let host = parts.len() - 2;
    let name = parts[host].trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(':');
    if let Some(name) = name.filter(|name| !name.is_empty() && !name.ends_with(':')) {
        parts[host] = name;
    }
    parts.join(" ")
}

/// What differs in a way that matters: None when the server read the same, or we refuse.
fn difference(ours: &Connection, theirs: &Answer) -> Option<String> {
    let refused = matches!(ours.end, End::Head(_) | End::Body(_));
    let messages: Vec<String> = ours.messages.iter().map(|m| without_port(&m.to_string())).collect();
    for (index, message) in messages.iter().enumerate() {
        match theirs.messages.get(index) {
            Some(their) if their == message => {}
            Some(their) => return Some(format!("we read {message:?}, they {their:?}")),
            None => return Some(format!("we accept {message:?}, they do not")),
        }
    }
    if refused {
        return None;
    }
    if theirs.messages.len() > messages.len() {
        return Some(format!("they go on to read {:?}", theirs.messages[messages.len()]));
    }
    theirs.refused.then(|| "we do not refuse it, they do".to_owned())
}

fn listed() -> BTreeMap<(String, String), String> {
    let text = include_str!("../../testdata/http1/differences.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (key, reason) = line.split_once(": ")?;
        let (case, server) = key.split_once(' ')?;
        (reason.len() > 20).then(|| ((case.to_owned(), server.to_owned()), reason.to_owned()))
    };
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("{line:?} has no reason"))).collect()
}

#[test]
fn a1_to_a16_what_we_accept_others_read_in_the_same_way() {
    let recorded = recorded();
    let mut listed = listed();
    let mut wrong = String::new();
    for case in cases() {
        let ours = read(&case.bytes);
        for server in ["go", "nginx", "node"] {
            let key = (case.name.clone(), server.to_owned());
            let theirs = recorded.get(&key).unwrap_or_else(|| panic!("{key:?}: run record.sh"));
            let reason = listed.remove(&key);
            match (difference(&ours, theirs), reason) {
                (Some(_), Some(_)) | (None, None) => {}
                (Some(what), None) => wrong.push_str(&format!("{} {server}: {what}\n", case.name)),
                (None, Some(_)) => wrong.push_str(&format!("{} {server}: listed in vain\n", case.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(listed.is_empty(), "no such cases: {listed:?}");
}
