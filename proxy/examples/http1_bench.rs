//! What reading and forwarding a head costs: `cargo run --release -p isthmus-proxy --example http1_bench`.
//! Prints nanoseconds for a request of one line and a host, of 5 and of 17 fields, and for a response; the
//! least of several rounds, since all noise only adds.

use std::hint::black_box;
use std::time::Instant;

use isthmus_proxy::http1::{
    BodyCoding, Edits, FieldName, Known, Limits, Parse, Persistence, RequestHead, ResponseHead,
};

const ROUNDS: u32 = 2000;
const TIMES: u32 = 500;

const SMALL: &str = "GET /index.html HTTP/1.1\r\nHost: www.example.test\r\n\r\n";

const FIVE: &str = "GET /api/v1/items?limit=20&offset=40 HTTP/1.1\r\nHost: www.example.test\r\n\
    User-Agent: curl/8.5.0\r\nAccept: */*\r\nAuthorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789\r\n\
    X-Request-Id: 6f1d2c3b-0000-4a5b-8c9d-112233445566\r\n\r\n";

const SEVENTEEN: &str = "GET /api/v1/items?limit=20&offset=40 HTTP/1.1\r\nHost: www.example.test\r\n\
    Connection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
    Referer: https://www.example.test/api/v1/items?limit=20&offset=20\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark; lang=en\r\n\
    If-None-Match: \"5f3a-61d2c7b9e1c40\"\r\n\r\n";

const RESPONSE: &str = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\
    Etag: \"5f3a-61d2c7b9e1c40\"\r\nCache-Control: no-store\r\n\r\n";

#[expect(clippy::print_stdout, reason = "the table is the answer")]
fn main() {
    println!("{:22} {:>6} {:>9} {:>13}", "head", "bytes", "parse ns", "parse+forward");
    for (name, text) in
        [("request, 1 field", SMALL), ("request, 5 fields", FIVE), ("request, 17 fields", SEVENTEEN)]
    {
        let parse = request(text, false);
        println!("{name:22} {:6} {parse:9.0} {:13.0}", text.len(), request(text, true));
    }
    println!(
        "{:22} {:6} {:9.0} {:13.0}",
        "response, 7 fields",
        RESPONSE.len(),
        response(false),
        response(true)
    );
}

fn least(mut once: impl FnMut()) -> f64 {
    let round = |once: &mut dyn FnMut()| {
        let begun = Instant::now();
        (0..TIMES).for_each(|_| once());
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    (0..ROUNDS).map(|_| round(&mut once)).fold(f64::INFINITY, f64::min)
}

fn request(text: &str, forward: bool) -> f64 {
    let mut head = RequestHead::new(Limits::default());
    let (mut edits, mut out) = (Edits::default(), Vec::with_capacity(4096));
    let forwarded_for: FieldName<'_> = Known::XForwardedFor.into();
    least(|| {
        head.clear();
        let bytes = black_box(text.as_bytes());
        assert_eq!(head.parse(bytes), Ok(Parse::Complete(bytes.len())));
        let request = head.view(bytes);
        black_box((request.path(), request.authority(), request.framing(), request.is_persistent()));
        if forward {
            out.clear();
            edits.begin_request(request, BodyCoding::Same, Persistence::Default);
            let _ = edits.add(forwarded_for, b"192.0.2.1");
            let _ = edits.write_request(request, None, &mut out);
            black_box(&out);
        }
    })
}

fn response(forward: bool) -> f64 {
    let mut head = ResponseHead::new(Limits::default());
    let (mut edits, mut out) = (Edits::default(), Vec::with_capacity(4096));
    least(|| {
        head.clear();
        let bytes = black_box(RESPONSE.as_bytes());
        assert_eq!(head.parse(bytes), Ok(Parse::Complete(bytes.len())));
        let response = head.view(bytes);
        black_box((response.status(), response.content_length(), response.is_persistent()));
        if forward {
            out.clear();
            edits.begin_response(response, BodyCoding::Same, Persistence::Default);
            edits.write_response(response, &mut out);
            black_box(&out);
        }
    })
}
