//! The counters as Prometheus reads them (text exposition format 0.0.4).

use std::fmt::Write;

use super::{
    ConnectionCells, Counter, LATENCY_BOUNDS_US, Metrics, RouteCells, ServiceCells, ThreadMetrics,
};
use crate::balance::ServiceState;

/// A counter with its name and what it says.
type Row<T> = (&'static str, &'static str, fn(&T) -> &Counter);

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A page under way.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// All counters of all threads, and the health of the endpoints of `services`.
pub(crate) fn render<'s>(
    metrics: &Metrics,
    services: impl Iterator<Item = &'s ServiceState> + Clone,
) -> String {
    let mut page = Page::default();
    routes(&mut page, metrics);
    services_of(&mut page, metrics);
    endpoints(&mut page, services);
    process(&mut page, metrics);
    page.0
}

/// The sum of a cell over the threads that used the slot.
fn route_sum(metrics: &Metrics, slot: u32, cell: impl Fn(&RouteCells) -> &Counter) -> u64 {
    metrics.threads.iter().filter_map(|t| t.routes.existing(slot)).map(|cells| cell(cells).read()).sum()
}

fn service_sum(metrics: &Metrics, slot: u32, cell: impl Fn(&ServiceCells) -> &Counter) -> u64 {
    metrics
        .threads
        .iter()
        .filter_map(|t| t.services.existing(slot))
        .map(|cells| cell(cells).read())
        .sum()
}

fn routes(page: &mut Page, metrics: &Metrics) {
    let names = metrics.routes.all();
    page.head("isthmus_requests_total", "counter", "Requests by rule and class of the answer's status.");
    for (name, slot) in &names {
        for (class, text) in CLASSES.iter().enumerate() {
            let sum: u64 = metrics
                .threads
                .iter()
                .filter_map(|t| t.routes.existing(*slot)?.requests.get(class))
                .map(Counter::read)
                .sum();
            if sum > 0 {
                page.value("isthmus_requests_total", &[("route", name), ("code", text)], sum);
            }
        }
    }
    for (class, text) in CLASSES.iter().enumerate() {
        let sum: u64 =
            metrics.threads.iter().filter_map(|t| t.refused.get(class)).map(Counter::read).sum();
        if sum > 0 {
            page.value("isthmus_requests_total", &[("route", ""), ("code", text)], sum);
        }
    }
    let counters: [Row<RouteCells>; 3] = [
        ("isthmus_request_bytes_total", "Bytes of request bodies.", |c| &c.request_bytes),
        ("isthmus_response_bytes_total", "Bytes of answers' bodies.", |c| &c.response_bytes),
        ("isthmus_retries_total", "Attempts after the first.", |c| &c.retries),
    ];
    for (name, help, cell) in counters {
        page.head(name, "counter", help);
        for (route, slot) in &names {
            page.value(name, &[("route", route)], route_sum(metrics, *slot, cell));
        }
    }
    latency(page, metrics, &names);
}

fn latency(page: &mut Page, metrics: &Metrics, names: &[(String, u32)]) {
    const NAME: &str = "isthmus_request_duration_seconds";
    page.head(NAME, "histogram", "Time from a request's head to the end of its answer.");
    for (route, slot) in names {
        let mut buckets = [0; LATENCY_BOUNDS_US.len() + 1];
        let cells = metrics.threads.iter().filter_map(|t| t.routes.existing(*slot));
        let sum: u64 = cells.map(|cells| cells.latency.read_into(&mut buckets)).sum();
        let mut count = 0;
        for (bucket, bound) in buckets.iter().zip(LATENCY_BOUNDS_US.iter().map(Some).chain([None])) {
            count += bucket;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |us| seconds(*us));
            page.value(&format!("{NAME}_bucket"), &[("route", route), ("le", &bound)], count);
        }
        page.value(&format!("{NAME}_sum"), &[("route", route)], seconds(sum));
        page.value(&format!("{NAME}_count"), &[("route", route)], count);
    }
}

/// Microseconds as seconds, exactly.
fn seconds(microseconds: u64) -> String {
    let text = format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000);
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').unwrap_or(text).to_owned()
}

fn services_of(page: &mut Page, metrics: &Metrics) {
    let names = metrics.services.all();
    page.head("isthmus_upstream_attempts_total", "counter", "Answered attempts by service and class.");
    for (service, slot) in &names {
        for (class, text) in CLASSES.iter().enumerate() {
            let sum: u64 = metrics
                .threads
                .iter()
                .filter_map(|t| t.services.existing(*slot)?.attempts.get(class))
                .map(Counter::read)
                .sum();
            if sum > 0 {
                let labels = [("service", service.as_str()), ("code", text)];
                page.value("isthmus_upstream_attempts_total", &labels, sum);
            }
        }
    }
    let counters: [Row<ServiceCells>; 5] = [
        ("isthmus_upstream_failures_total", "Attempts without an answer.", |c| &c.failures),
        ("isthmus_upstream_retries_total", "Attempts that were made again.", |c| &c.retries),
        ("isthmus_upstream_retries_refused_total", "Retries that the budget refused.", |c| {
            &c.retries_refused
        }),
        ("isthmus_upstream_connects_total", "Connections that were opened.", |c| &c.connects),
        ("isthmus_upstream_connect_failures_total", "Connections that failed to open.", |c| {
            &c.connect_failures
        }),
    ];
    for (name, help, cell) in counters {
        page.head(name, "counter", help);
        for (service, slot) in &names {
            page.value(name, &[("service", service)], service_sum(metrics, *slot, cell));
        }
    }
}

fn endpoints<'s>(page: &mut Page, services: impl Iterator<Item = &'s ServiceState>) {
    page.head("isthmus_endpoint_up", "gauge", "Whether requests may go to the endpoint.");
    for service in services {
        for endpoint in &service.endpoints {
            let labels = [
                ("service", service.spec.name.as_str()),
                ("endpoint", &endpoint.spec.id),
                ("cluster", &endpoint.spec.cluster),
            ];
            page.value("isthmus_endpoint_up", &labels, u8::from(endpoint.is_up()));
        }
    }
}

fn process(page: &mut Page, metrics: &Metrics) {
    let connections: [Row<ConnectionCells>; 4] = [
        ("isthmus_connections_accepted_total", "Clients' connections.", |c| &c.accepted),
        ("isthmus_connections_refused_total", "Connections beyond the limit.", |c| &c.refused),
        ("isthmus_tls_handshakes_total", "Handshakes with clients and peers.", |c| &c.tls_handshakes),
        ("isthmus_tls_handshake_failures_total", "Handshakes that failed.", |c| &c.tls_failures),
    ];
    for (name, help, cell) in connections {
        page.head(name, "counter", help);
        let sum: u64 = metrics.threads.iter().map(|t| cell(&t.connections).read()).sum();
        page.value(name, &[], sum);
    }
    page.head("isthmus_connections_open", "gauge", "Clients' connections that are open.");
    let open: i64 = metrics.threads.iter().map(|t| t.connections.open.read()).sum();
    page.value("isthmus_connections_open", &[], open);
    let others: [Row<ThreadMetrics>; 4] = [
        ("isthmus_panics_total", "Tasks that panicked.", |t| &t.panics),
        ("isthmus_mirrored_total", "Copies of requests that were sent.", |t| &t.mirrored),
        ("isthmus_mirrors_dropped_total", "Copies that were given up.", |t| &t.mirrors_dropped),
        ("isthmus_log_lines_dropped_total", "Access log lines without room.", |t| &t.log_lines_dropped),
    ];
    for (name, help, cell) in others {
        page.head(name, "counter", help);
        let sum: u64 = metrics.threads.iter().map(|t| cell(t).read()).sum();
        page.value(name, &[], sum);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{render, seconds};
    use crate::metrics::{Metrics, ThreadMetrics};

    #[test]
    fn threads_are_added_up() {
        let threads: Vec<Arc<ThreadMetrics>> = (0..2).map(|_| Arc::default()).collect();
        let metrics = Metrics { threads, ..Metrics::default() };
        let slot = metrics.routes.slot("HTTPRoute/shop/\"all\"/0");
        for thread in &metrics.threads {
            let cells = thread.routes.at(slot).unwrap();
            cells.requests[1].add(2);
            cells.latency.record(600);
        }
        let page = render(&metrics, std::iter::empty());
        let has = |line: &str| assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        has(r#"isthmus_requests_total{route="HTTPRoute/shop/\"all\"/0",code="2xx"} 4"#);
        has(
            r#"isthmus_request_duration_seconds_bucket{route="HTTPRoute/shop/\"all\"/0",le="0.0005"} 0"#,
        );
        has(r#"isthmus_request_duration_seconds_bucket{route="HTTPRoute/shop/\"all\"/0",le="0.001"} 2"#);
        has(r#"isthmus_request_duration_seconds_sum{route="HTTPRoute/shop/\"all\"/0"} 0.0012"#);
        has("isthmus_connections_open 0");
    }

    #[test]
    fn seconds_are_exact() {
        assert_eq!(seconds(0), "0");
        assert_eq!(seconds(2_500), "0.0025");
        assert_eq!(seconds(10_000_000), "10");
    }
}
