//! Random damage to the corpus: nothing panics, fragments change nothing, what is accepted the reference
//! accepts too, and what is written again means the same. Each run does the same; for a long one set
//! `ISTHMUS_FUZZ_ITERATIONS` (and `ISTHMUS_FUZZ_SEED`).

use isthmus_proxy::http1::{
    BodyCoding, Edits, Limits, Method, Parse, Persistence, RequestHead, ResponseHead,
};

use crate::connection::{End, read, read_fragments};
use crate::corpus;
use crate::forwarding::same_but_hop_by_hop;
use crate::property::codec_head;
use crate::reference;

/// The xorshift generator of Marsaglia, 64 bits: the same numbers on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

const PIECES: [&[u8]; 24] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\x80",
    b":",
    b",",
    b";",
    b"#",
    b"?",
    b"0",
    b"5",
    b"f",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Host: b\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1",
    b"http://x",
];

/// One to three edits of bytes: cut, put in, overwrite, repeat, splice with another text.
pub fn mutate(text: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = text.to_vec();
    for _ in 0..=random.below(3) {
        let from = random.below(out.len() + 1);
        let to = (from + random.below(8)).min(out.len());
        match random.below(6) {
            0 => drop(out.drain(from..to)),
            1 => drop(out.splice(from..from, PIECES[random.below(PIECES.len())].to_vec())),
            2 => drop(out.splice(from..to, PIECES[random.below(PIECES.len())].to_vec())),
            3 => drop(out.splice(from..from, out[from..to].to_vec())),
            4 => out.iter_mut().skip(from).take(1).for_each(|b| *b ^= 1 << random.below(8)),
            _ => {
                out.truncate(from);
                out.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
        }
    }
    out
}

pub fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// True when a message was accepted.
fn check(input: &[u8], random: &mut Random) -> bool {
    let whole = read(input);
    let (front, back) = input.split_at(random.below(input.len() + 1));
    let (middle, back) = back.split_at(random.below(back.len() + 1));
    assert_eq!(read_fragments(&[front, middle, back], Limits::default()), whole, "fragments");
    if !matches!(whole.end, End::Head(error) if error.status() == 431 || error.status() == 414) {
        assert_eq!(codec_head(input).0, reference::head(input), "the reference");
    }
    let mut head = RequestHead::new(Limits::default());
    if let Ok(Parse::Complete(_)) = head.parse(input) {
        let mut edits = Edits::default();
        edits.begin_request(head.view(input), BodyCoding::Same, Persistence::Default);
        let mut out = Vec::new();
        edits.write_request(head.view(input), None, &mut out).unwrap();
        same_but_hop_by_hop(head.view(input), &out);
    }
    check_response(input, random);
    !whole.messages.is_empty()
}

/// The same fields behind a status line: whole, and in three fragments.
fn check_response(request: &[u8], random: &mut Random) {
    let fields = request.windows(2).position(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
    let input = [b"HTTP/1.1 200 OK\r\n", &request[fields..]].concat();
    let mut whole = ResponseHead::new(Limits::default());
    let parsed = whole.parse(&input);
    let mut head = ResponseHead::new(Limits::default());
    let first = random.below(input.len() + 1);
    let second = first + random.below(input.len() - first + 1);
    let fragments = [first, second].map(|end| head.parse(&input[..end]));
    assert_eq!(head.parse(&input), parsed);
    assert!(fragments.iter().all(|part| matches!(part, Ok(Parse::Partial)) || *part == parsed));
    if let Ok(Parse::Complete(_)) = parsed {
        let view = head.view(&input);
        assert!(view.fields().iter().eq(whole.view(&input).fields().iter()));
        let mut edits = Edits::default();
        edits.begin_response(view, BodyCoding::Same, Persistence::Default);
        let mut out = Vec::new();
        edits.write_response(view, &mut out);
        let mut again = ResponseHead::new(Limits { head: 1 << 20, ..Limits::default() });
        assert_eq!(again.parse(&out), Ok(Parse::Complete(out.len())));
        let framing =
            |response: isthmus_proxy::http1::Response<'_>| response.framing(Method::Get, false);
        assert_eq!(framing(again.view(&out)), framing(view));
    }
}

#[test]
fn damage_to_the_corpus_is_read_as_the_reference_reads_it() {
    let cases = corpus::cases();
    let (good, bad): (Vec<_>, Vec<_>) =
        cases.iter().filter(|c| c.bytes.len() < 2000).partition(|c| c.expected.ends_with("keep\n"));
    let seed = from_environment("ISTHMUS_FUZZ_SEED", 1);
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let iterations = from_environment("ISTHMUS_FUZZ_ITERATIONS", 20_000);
    let mut accepted = 0;
    for iteration in 0..iterations {
        let good = &good[random.below(good.len())].bytes;
        let bad = &bad[random.below(bad.len())].bytes;
        let input = if iteration % 4 == 0 {
            mutate(bad, good, &mut random)
        } else {
            mutate(good, bad, &mut random)
        };
        let checked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&input, &mut random)));
        let Ok(message) = checked else {
            panic!("seed {seed}, iteration {iteration}: {}", input.escape_ascii());
        };
        accepted += u64::from(message);
    }
    let share = accepted * 100 / iterations;
    assert!((5..95).contains(&share), "{share} % are accepted: this tests one side only");
}
