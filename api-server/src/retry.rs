//! When a request is made again which the API server has no time for.
//!
//! Seldom and soon: whoever asked tries again in a way of its own and says so, while a wait in here is said
//! to nobody, and a watch that waits here is blind.

use std::time::Duration;

use hyper::{
    HeaderMap, Request, Response, StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};
use kube::client::{Body, retry::RetryPolicy};
use tokio::time::{Sleep, sleep};
use tower::{BoxError, retry::Policy};

/// How often a request is made again.
const TIMES: u32 = 3;
/// Before the first time; twice as long before each one that follows.
const FIRST: Duration = Duration::from_millis(200);
/// The most that an API server can ask for.
const MOST: Duration = Duration::from_secs(30);

/// What becomes of one request.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    left: u32,
    next: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { left: TIMES, next: FIRST }
    }
}

impl Retry {
    /// How long to wait before the request is made again; none when it is not.
    fn wait(&mut self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let busy = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        if !busy || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let wait = self.next;
        self.next = wait * 2;
        Some(wait.max(asked(headers)))
    }
}

/// How long the API server asks to be left alone.
fn asked(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).map(HeaderValue::to_str);
    let seconds = seconds.and_then(|text| text.ok()?.parse().ok()).unwrap_or(0);
    Duration::from_secs(seconds).min(MOST)
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Retry {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Sleep> {
        let response = result.as_ref().ok()?;
        self.wait(response.status(), response.headers()).map(sleep)
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let mut copies = RetryPolicy::default();
        Policy::<_, Response<B>, BoxError>::clone_request(&mut copies, request)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::{HeaderMap, StatusCode, header::RETRY_AFTER};

    use super::{FIRST, MOST, Retry};

    #[test]
    fn waits_are_few_and_short() {
        for status in [429, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            let mut retry = Retry::default();
            let waits: Vec<_> =
                std::iter::from_fn(|| retry.wait(status, &HeaderMap::new())).take(100).collect();
            assert_eq!(waits, [FIRST, FIRST * 2, FIRST * 4]);
            assert!(waits.iter().sum::<Duration>() < Duration::from_secs(5));
        }
        for status in [200, 404, 409, 410, 500] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Retry::default().wait(status, &HeaderMap::new()), None);
        }
    }

    #[test]
    fn what_the_api_server_asks_for_is_done_within_bounds() {
        let wait = |asked: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, asked.parse().unwrap())]);
            Retry::default().wait(StatusCode::TOO_MANY_REQUESTS, &headers)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("86400"), Some(MOST));
        assert_eq!(wait("18446744073709551615"), Some(MOST));
        assert_eq!(wait("0"), Some(FIRST));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), Some(FIRST));
    }
}
