//! An answer for people: the chain of decisions from the top down, then who lost and why.

use std::fmt;

use isthmus_ir::{
    BackendTarget, EndpointState, Filter, HeaderEdits, PathRewrite, Redirect, Rewrite,
    matcher::explain::{Fate, ListenerFate, MatchStep, Outcome},
};

use super::{Answer, Backend, Endpoint};

/// The column in which values begin.
const INDENT: usize = 11;

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request(f)?;
        self.listener(f)?;
        self.winner(f)?;
        self.filters(f)?;
        self.backends(f)?;
        self.others(f)
    }
}

/// One line of the chain.
fn line(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{name:INDENT$}{value}")
}

impl Answer {
    fn request(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.explanation.request;
        let query = request.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let name = request.server_name.as_ref();
        let name = name.map(|name| format!(", TLS server name {name}")).unwrap_or_default();
        line(f, "request", format_args!("{} {}{query}", request.method, request.path))?;
        line(f, "host", format_args!("{}{name}", request.host))?;
        let address = self.socket.address.map_or_else(
            || "*".to_owned(),
            |address| match address {
                std::net::IpAddr::V4(address) => address.to_string(),
                std::net::IpAddr::V6(address) => format!("[{address}]"),
            },
        );
        let proxy = self.proxy.as_ref().map(|proxy| format!(" of proxy {proxy}")).unwrap_or_default();
        line(f, "socket", format_args!("{address}:{}{proxy}", self.socket.port))
    }

    fn listener(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = self.explanation.listeners.iter().find(|step| step.fate == ListenerFate::Chosen);
        let Some(chosen) = chosen else { return Ok(()) };
        line(f, "gateway", &chosen.gateway)?;
        line(f, "listener", format_args!("{} (hostname {})", chosen.section, chosen.hostname))
    }

    fn winner(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.explanation.outcome {
            Outcome::NotFound if self.has_listener() => {
                line(f, "answer", "404: no match of the listener's routes fits")
            }
            Outcome::NotFound => line(f, "answer", "404: no listener has the host"),
            Outcome::Misdirected => {
                line(f, "answer", "421: the host belongs to another listener than the TLS server name")
            }
            Outcome::Route { rule, match_index, .. } => {
                let (route, number) = rule.rsplit_once('/').unwrap_or((rule, ""));
                let won = self.explanation.matches.iter().find(|step| step.fate == Fate::Won);
                let name = won.and_then(|step| step.rule_name.as_ref());
                let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
                line(f, "route", route.replacen('/', " ", 1))?;
                line(f, "rule", format_args!("{number}{name}"))?;
                let asked = won.map(asked).unwrap_or_default();
                line(f, "match", format_args!("{match_index}: {asked}"))
            }
        }
    }

    fn has_listener(&self) -> bool {
        self.explanation.listeners.iter().any(|step| step.fate == ListenerFate::Chosen)
    }

    fn filters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, of) in self.filters.iter().enumerate() {
            line(f, if index == 0 { "filters" } else { "" }, filter(of))?;
        }
        if let Some(location) = &self.location {
            line(f, "location", location)?;
        }
        let Some(timeouts) = self.timeouts else { return Ok(()) };
        let limits = [("request", timeouts.request), ("attempt", timeouts.backend_request)];
        let limits = limits.into_iter().filter_map(|(of, limit)| Some(format!("{of} {:?}", limit?)));
        let limits: Vec<String> = limits.collect();
        if limits.is_empty() { Ok(()) } else { line(f, "timeouts", limits.join(", ")) }
    }

    fn backends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redirects = self.filters.iter().any(|filter| matches!(filter, Filter::Redirect(_)));
        if redirects || !matches!(self.explanation.outcome, Outcome::Route { .. }) {
            return Ok(());
        }
        let total: u64 = self.backends.iter().map(|backend| u64::from(backend.weight)).sum();
        if total == 0 {
            return line(f, "answer", "500: the rule has no backend with a weight");
        }
        for (index, backend) in self.backends.iter().enumerate() {
            let name = if index == 0 { "backends" } else { "" };
            backend.lines(f, name, total)?;
        }
        Ok(())
    }

    fn others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = || self.explanation.listeners.iter().filter(|s| s.fate != ListenerFate::Chosen);
        if others().next().is_some() {
            writeln!(f, "\nother listeners")?;
        }
        for step in others() {
            let listener =
                format_args!("{}/{} (hostname {})", step.gateway, step.section, step.hostname);
            writeln!(f, "  {listener}: {}", step.fate)?;
        }
        let lost = || self.explanation.matches.iter().filter(|step| step.fate != Fate::Won);
        if lost().next().is_some() {
            writeln!(f, "\nother matches")?;
        }
        for step in lost() {
            writeln!(f, "  {}, match {} ({}): {}", step.rule, step.match_index, asked(step), step.fate)?;
        }
        match self.explanation.omitted {
            0 => Ok(()),
            omitted => writeln!(f, "  and {omitted} more, of other hosts or paths"),
        }
    }
}

fn asked(of: &MatchStep) -> String {
    format!("host {}, {}", of.hostname, of.conditions)
}

impl Backend {
    fn lines(&self, f: &mut fmt::Formatter<'_>, name: &str, total: u64) -> fmt::Result {
        let share = u64::from(self.weight) * 100 / total;
        let share = format!("weight {} of {total}, {share} %", self.weight);
        let Some(service) = &self.service else {
            let reason = self.reason.as_deref().unwrap_or("its reference cannot be resolved");
            return line(f, name, format_args!("500 ({share}): {reason}"));
        };
        line(f, name, format_args!("{service} ({share})"))?;
        for of in &self.filters {
            line(f, "", format_args!("  {}", filter(of)))?;
        }
        let endpoints = self.endpoints.as_deref().unwrap_or_default();
        if endpoints.is_empty() {
            return line(f, "", "  503: no endpoint is ready");
        }
        let mut endpoints: Vec<&Endpoint> = endpoints.iter().collect();
        endpoints.sort_by_key(|endpoint| (endpoint.priority, &endpoint.cluster, &endpoint.id));
        let mut cluster = None;
        for endpoint in endpoints {
            if cluster != Some(&endpoint.cluster) {
                line(f, "", format_args!("  cluster {}", endpoint.cluster))?;
                cluster = Some(&endpoint.cluster);
            }
            line(f, "", format_args!("    {endpoint}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            EndpointState::Ready => "ready",
            EndpointState::Draining => "draining",
        };
        write!(f, "{}: {state}, priority {}, weight {}", self.id, self.priority, self.weight)?;
        if let Some(zone) = &self.zone {
            write!(f, ", zone {zone}")?;
        }
        if !self.gateways.is_empty() {
            write!(f, ", through {}", self.gateways.join(" or "))?;
        }
        match self.up {
            Some(true) => f.write_str(", up"),
            Some(false) => f.write_str(", down"),
            None => Ok(()),
        }
    }
}

fn filter(of: &Filter) -> String {
    match of {
        Filter::RequestHeaders(edits) => format!("request headers: {}", edited(edits)),
        Filter::ResponseHeaders(edits) => format!("response headers: {}", edited(edits)),
        Filter::Redirect(redirect) => redirected(redirect),
        Filter::Rewrite(rewrite) => rewritten(rewrite),
        Filter::Cors(cors) => format!("CORS for {}", cors.origins.join(", ")),
        Filter::Mirror { target, fraction } => {
            let target = match target {
                BackendTarget::Service(name) => name.to_string(),
                BackendTarget::Invalid { reason } => format!("nowhere ({reason})"),
            };
            format!("mirror {} of {} to {target}", fraction.numerator, fraction.denominator)
        }
    }
}

fn edited(edits: &HeaderEdits) -> String {
    let of = |what: &str, fields: &[(String, String)]| {
        fields.iter().map(|(name, value)| format!("{what} {name}: {value}")).collect::<Vec<_>>()
    };
    let mut all = of("set", &edits.set);
    all.extend(of("add", &edits.add));
    all.extend(edits.remove.iter().map(|name| format!("remove {name}")));
    all.join("; ")
}

fn redirected(redirect: &Redirect) -> String {
    let mut parts = vec![format!("redirect with {}", redirect.status)];
    parts.extend(redirect.scheme.iter().map(|scheme| format!("scheme {scheme}")));
    parts.extend(redirect.hostname.iter().map(|host| format!("host {host}")));
    parts.extend(redirect.port.iter().map(|port| format!("port {port}")));
    parts.extend(redirect.path.iter().map(path));
    parts.join(", ")
}

fn rewritten(rewrite: &Rewrite) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(rewrite.hostname.iter().map(|host| format!("host {host}")));
    parts.extend(rewrite.path.iter().map(path));
    format!("rewrite: {}", parts.join(", "))
}

fn path(of: &PathRewrite) -> String {
    match of {
        PathRewrite::Full(path) => format!("path {path}"),
        PathRewrite::Prefix(path) => format!("{path:?} in the place of the prefix"),
    }
}
