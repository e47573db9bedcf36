//! Which known failures of other meshes are pinned by a test here, and which are not yet.
//!
//! A test that pins a case begins with its id: `fn a1_...`, or a directory of golden files `a1-...`; one that
//! pins several begins with all of them. Each id is in the table below, with what is to hold in a few words;
//! a case that is open says why. This test fails when the table and the tests disagree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What is known of a case.
enum State {
    /// A test begins with its id.
    Pinned,
    /// None does, for this reason.
    Open(&'static str),
}

use State::{Open, Pinned};

/// There is nothing yet that could fail in this way.
const SIDECARS: State = Open("there are no sidecars, and so no capture and no tunnel, yet");
const POLICIES: State = Open("there are no policies yet");
const ROTATION: State = Open("roots are not rotated yet");

/// Every case, in order of id.
const CASES: &[(&str, &str, State)] = &[
    ("a1", "two ways to say where a body ends are refused", Pinned),
    ("a2", "two lengths are refused", Pinned),
    ("a3", "a length is digits and nothing else", Pinned),
    ("a4", "only chunked, and only once, is a transfer coding", Pinned),
    ("a5", "field names and values are strict", Pinned),
    ("a6", "no line goes on in the next", Pinned),
    ("a7", "lines end in CR LF everywhere", Pinned),
    ("a8", "chunk sizes and extensions are bounded", Pinned),
    ("a9", "nothing early goes through an upgrade", Pinned),
    ("a10", "only 101 makes a tunnel", Pinned),
    ("a11", "the authority of the target is the host", Pinned),
    ("a12", "a fragment is no part of a target", Pinned),
    ("a13", "interim answers are counted", Pinned),
    ("a14", "no configured value splits a message", Pinned),
    ("a15", "bytes behind an answer are nobody's", Pinned),
    ("a16", "request lines are strict", Pinned),
    ("a17", "PROXY protocol headers are strict", Open("the PROXY protocol is not read yet")),
    ("b1", "escaped slashes are refused", Pinned),
    ("b2", "paths are normalised on every listener", Pinned),
    ("b3", "dot segments with parameters are refused", Pinned),
    ("b4", "prefixes are of whole elements, also after a rewrite", Pinned),
    ("b5", "escapes are decoded once", Pinned),
    ("b6", "patterns are of bytes", Pinned),
    ("b7", "identities are compared, never matched by patterns", POLICIES),
    ("b8", "a host has one spelling", Pinned),
    ("b9", "wildcard and exact hostnames", Pinned),
    ("b10", "every value of a field counts for authorization", POLICIES),
    ("b11", "a client does not speak for others", Pinned),
    ("b12", "fields of our own are stripped at the edge", Pinned),
    ("b13", "Connection takes nothing away that matters", Pinned),
    ("b14", "a path begins with a slash", Pinned),
    ("b15", "authority and host are one", Pinned),
    ("b16", "the order of precedence", Pinned),
    ("b17", "an empty policy denies", POLICIES),
    ("b18", "identities inside and outside a tunnel", SIDECARS),
    ("b19", "nothing of a stranger's leaves its string in a log", Pinned),
    ("b20", "how authorization reads paths", POLICIES),
    ("c1", "rapid resets", Pinned),
    ("c2", "resets that we are made to send", Pinned),
    ("c3", "heads without end", Pinned),
    ("c4", "small heads that unpack to large ones", Pinned),
    ("c5", "floods of small frames", Pinned),
    ("c6", "clients that do not read", Pinned),
    ("c7", "clients that are slow on purpose", Pinned),
    ("c8", "too many fields, and forbidden trailers", Pinned),
    ("c9", "more streams than allowed", Pinned),
    ("c10", "bombs of compressed data", Open("nothing is decompressed yet")),
    ("c11", "mirrors that hang or never end", Pinned),
    ("c12", "HTTP/3", Open("HTTP/3 is not there yet")),
    ("c13", "retries do not multiply", Pinned),
    ("c14", "more connections than descriptors", Open("no test runs out of descriptors yet")),
    ("c15", "a ceiling of memory", Open("there is no memory budget of a whole proxy yet")),
    ("c16", "gRPC that lies about itself", Open("GRPCRoute is not there yet")),
    ("c17", "tunnels that are half closed, idle or drained", Open("no test of its own yet")),
    ("c18", "patterns are bounded", Pinned),
    ("c19", "deep nesting and alias bombs", Pinned),
    ("d1", "what is a SPIFFE ID, to the letter", Pinned),
    ("d2", "a CA is no workload", Pinned),
    ("d3", "nobody speaks for another trust domain", Pinned),
    ("d4", "bundles of bundle endpoints", Open("there is no bundle endpoint yet")),
    ("d5", "name constraints of intermediates", Open("our roots have no intermediates yet")),
    ("d6", "two roots at a time", ROTATION),
    ("d7", "an issuer that is away for long", ROTATION),
    ("d8", "clocks that differ", Pinned),
    ("d9", "certificates that are replaced in pieces", Open("certificates come from Secrets only")),
    ("d10", "sessions are resumed where they were made", Pinned),
    ("d11", "a host of another listener is misdirected", Pinned),
    ("d12", "a ClientHello in any pieces", Pinned),
    ("d13", "clear text where TLS must be", SIDECARS),
    ("d14", "TLS versions and suites", Open("no outside scanner is run yet")),
    ("d15", "tokens that lie", POLICIES),
    ("d16", "key sets from bad places", POLICIES),
    ("d17", "nothing of a signing request counts but its key", Pinned),
    ("d18", "keys are shown nowhere", Pinned),
    ("d19", "short lives instead of revocation lists", ROTATION),
    ("d20", "two crypto providers in one program", Open("one provider is linked, and named everywhere")),
    ("e1", "one bad resource is refused alone", Pinned),
    ("e2", "a control plane that is away", Pinned),
    ("e3", "nothing is told before all is known", Pinned),
    ("e4", "nothing fails while configuration changes", Pinned),
    ("e5", "a slow reader holds up nobody", Pinned),
    ("e6", "a small change costs little", Pinned),
    ("e7", "no configuration without proof", Pinned),
    ("e8", "who a proxy is does not come from the proxy", Pinned),
    ("e9", "messages that make no sense", Pinned),
    ("e10", "nonces and acknowledgements in any order", Pinned),
    ("e11", "everybody comes back at once", Pinned),
    ("e12", "admin ports", Pinned),
    ("e13", "ten thousand changes leave nothing behind", Open("no long test of a proxy's memory yet")),
    ("e14", "a panic ends one connection", Open("no test plants a panic in a connection yet")),
    ("e15", "a drain loses nothing", Pinned),
    ("f1", "an unknown value is a problem of its object", Pinned),
    ("f2", "watches that fail in every way", Pinned),
    ("f3", "fifty thousand objects at once", Pinned),
    ("f4", "an API server that is away", Pinned),
    ("f5", "two leaders", Pinned),
    ("f6", "a crash between any two writes", Pinned),
    ("f7", "reads of the past", Pinned),
    ("f8", "what is deleted leaves nothing", Pinned),
    ("f9", "nobody writes for ever", Pinned),
    ("f10", "finalizers", Pinned),
    ("f11", "half an upgrade of CRDs", Pinned),
    ("f12", "Gateway API of another version", Pinned),
    ("f13", "webhooks that are away", Pinned),
    ("f14", "edits by others of what we made", Pinned),
    ("f15", "a mistake and its undoing", Pinned),
    ("f16", "namespaces that are going", Pinned),
    ("f17", "objects at the limits of size", Pinned),
    ("f18", "a permission that is taken away", Pinned),
    ("f19", "conditions are steady, and others' stay", Pinned),
    ("f20", "two revisions side by side", Pinned),
    ("f21", "leaving nothing behind", Pinned),
    ("f22", "upgrades under load", Pinned),
    ("f23", "Secrets that nobody needs are not read", Pinned),
    ("f24", "an API server that asks for patience", Pinned),
    ("g1", "grants, and grants that are revoked", Pinned),
    ("g2", "an extension is looked for in the route's namespace", Pinned),
    ("g3", "one resolver, which asks where a reference comes from", Pinned),
    ("g4", "references of references", POLICIES),
    ("g5", "hosts of others on a shared Gateway", Open("the oldest wins; nothing delegates hosts yet")),
    ("g6", "listeners in conflict, of several namespaces", Open("ListenerSet is not there yet")),
    ("g7", "consumers do not route for all", SIDECARS),
    ("g8", "policies in conflict", POLICIES),
    ("g9", "a namespace that loses its label", Pinned),
    ("g10", "code of users", Open("no code of users runs anywhere yet")),
    ("g11", "endpoints that lead back", Pinned),
    ("g12", "no configuration is made of texts", Open("there is no template to inject into")),
    ("g13", "a backend that wants TLS gets no clear text", Pinned),
    ("h1", "exports that disagree", Pinned),
    ("h2", "namespaces that a peer may not speak for", Pinned),
    ("h3", "addresses that must not be dialled", Pinned),
    ("h4", "a peer that floods", Pinned),
    ("h5", "a peer that is away, or comes and goes", Pinned),
    ("h6", "both sides of a partition", Pinned),
    ("h7", "no open relay", Pinned),
    (
        "h8",
        "a trust domain that is removed",
        Open("a leave is simulated; no real handshakes are timed yet"),
    ),
    ("h9", "names that are taken", Pinned),
    ("h10", "a peer of a later version", Pinned),
    ("h11", "clusterset IPs run out", Open("there are no clusterset IPs without Kubernetes")),
    ("h12", "DNS, to the letter", Pinned),
    ("h13", "credentials of a peer's API server", Open("there are none, by design")),
    ("i1", "files in any state", Pinned),
    ("i2", "YAML as kubectl reads it", Pinned),
    ("i3", "the rules of the CRDs", Pinned),
    ("i4", "the conformance manifests are valid", Pinned),
    ("i5", "supply chain", Open("nothing is released yet")),
    ("i6", "an ordinary user's rights suffice", Pinned),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files and directories below `path` that are part of the repository.
fn walk(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        }
    }
}

/// The ids that a name begins with.
fn ids(name: &str, separator: char) -> Vec<String> {
    let is_id = |part: &&str| {
        let (letter, number) = part.split_at_checked(1).unwrap_or_default();
        let letter = letter.bytes().all(|b| (b'a'..=b'i').contains(&b));
        letter && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    name.split(separator).take_while(is_id).map(str::to_owned).collect()
}

/// Names of functions that a Rust source declares.
fn functions(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        rest.split(['(', '<']).next()
    })
}

/// Tests by the ids that they begin with.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    walk(&root(), &mut files);
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut note = |name: &str, separator| {
        for id in ids(name, separator) {
            tests.entry(id).or_default().insert(name.to_owned());
        }
    };
    for file in files {
        if file.extension().is_some_and(|extension| extension == "rs") {
            functions(&fs::read_to_string(&file).unwrap()).for_each(|name| note(name, '_'));
        } else if file.parent().is_some_and(|parent| parent.ends_with("testdata")) {
            note(&file.file_name().unwrap().to_string_lossy(), '-');
        }
    }
    tests
}

#[test]
fn every_case_is_pinned_or_open() {
    let mut tests = tests();
    let mut wrong = Vec::new();
    for (id, words, state) in CASES {
        match (state, tests.remove(*id)) {
            (Pinned, None) => wrong.push(format!("{id} ({words}): no test begins with it")),
            (Open(why), Some(found)) => {
                wrong.push(format!("{id} ({words}): open, as {why}, and {found:?} pin it"));
            }
            (Pinned, Some(_)) | (Open(_), None) => {}
        }
    }
    let strangers = tests.iter().map(|(id, found)| format!("{id}: in no row, and {found:?} pin it"));
    wrong.extend(strangers);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_case_is_missing_or_there_twice() {
    let last = [
        ("a", 17),
        ("b", 20),
        ("c", 19),
        ("d", 20),
        ("e", 15),
        ("f", 24),
        ("g", 13),
        ("h", 13),
        ("i", 6),
    ];
    let all = last.iter().flat_map(|(letter, last)| (1..=*last).map(move |n| format!("{letter}{n}")));
    let rows: Vec<_> = CASES.iter().map(|(id, ..)| (*id).to_owned()).collect();
    assert_eq!(rows, all.collect::<Vec<_>>());
}

#[test]
fn names_begin_with_ids_or_they_do_not() {
    assert_eq!(ids("a1_b20_c3_what_is_pinned", '_'), ["a1", "b20", "c3"]);
    assert_eq!(ids("h5-peer", '-'), ["h5"]);
    for name in ["a_b", "j1_x", "a1x_y", "aa1_x", "the_a1_case", ""] {
        assert_eq!(ids(name, '_'), [""; 0], "{name}");
    }
    let source = "fn a1_x() {\nasync fn b2_y<T>(\n    fn c3_z() {}\n// fn d4_no()\npub fn e5()\n";
    assert_eq!(functions(source).collect::<Vec<_>>(), ["a1_x", "b2_y", "c3_z"]);
}
