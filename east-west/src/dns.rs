//! Answers for `clusterset.local` (KEP-1645, "Kubernetes DNS-Based Multicluster Service Discovery", 1.0.0).
//!
//! Decided from a table of imports with the addresses to answer with; names compare without regard to
//! case (case H12). A name that exists without a record of the asked type, and a name with names below it,
//! is an empty answer and no NXDOMAIN (RFC 2308, RFC 8020). Everything outside the zone is refused. Beyond
//! the specification, SRV of a service itself lists all its ports, also those without a name, as DNS servers
//! of clusters do too: where services have no address of their own, nothing else tells the port.

use std::{collections::BTreeMap, net::IpAddr};

use isthmus_ir::ObjectRef;

/// The zone, without its trailing dot.
pub const ZONE: &str = "clusterset.local";
/// Seconds that an answer may be kept: below the leases, so that a lost peer's addresses go in time.
pub const TTL: u32 = 5;
/// Seconds that a negative answer may be kept (SOA minimum, RFC 2308).
pub const NEGATIVE_TTL: u32 = 5;
/// Seconds that the schema version may be kept.
const VERSION_TTL: u32 = 28_800;

/// What is answered from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    /// By lower-case namespace, then lower-case name.
    services: BTreeMap<String, BTreeMap<String, Entry>>,
}

/// One import.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// With clusterset IPs.
    ClusterSetIp {
        /// One for each family.
        addresses: Vec<IpAddr>,
        /// All ports.
        ports: Vec<Port>,
    },
    /// Each ready endpoint answers for itself.
    Headless {
        /// Ready endpoints of all clusters.
        hosts: Vec<Host>,
        /// Named ports.
        ports: Vec<Port>,
    },
}

/// A port that SRV records tell of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Its name; a port without one has no name of its own in DNS.
    pub name: String,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Its number.
    pub port: u16,
}

/// A ready endpoint of a headless import.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its hostname: one label.
    pub hostname: String,
    /// Its cluster.
    pub cluster: String,
    /// Where it is reached from here.
    pub addresses: Vec<IpAddr>,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Ports and hosts.
    Srv,
    /// Text.
    Txt,
    /// The zone's authority.
    Soa,
    /// The zone's name servers.
    Ns,
    /// All of them.
    Any,
    /// Anything else: never there.
    Other,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its owner, lower case, without trailing dot.
    pub name: String,
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// Its data.
    pub data: Data,
}

/// The data of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV.
    Service {
        /// Lower first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// The port.
        port: u16,
        /// The host, lower case, without trailing dot.
        target: String,
    },
    /// TXT.
    Text(String),
    /// SOA, whose other fields are the server's.
    Authority,
    /// NS, whose target is the server's.
    NameServer,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Records, and further ones that spare the next question.
    Found {
        /// The answer section.
        answers: Vec<Record>,
        /// The additional section.
        additional: Vec<Record>,
    },
    /// The name exists, without such a record: NOERROR, no answers, the SOA in the authority section.
    NoData,
    /// There is no such name: NXDOMAIN, the SOA in the authority section.
    NxDomain,
    /// The name is in nobody's zone here: REFUSED.
    Refused,
}

impl Table {
    /// Puts an import in, or in place of an older one.
    pub fn insert(&mut self, object: &ObjectRef, entry: Entry) {
        let (namespace, name) =
            (object.namespace.to_ascii_lowercase(), object.name.to_ascii_lowercase());
        self.services.entry(namespace).or_default().insert(name, entry);
    }

    /// Takes an import out.
    pub fn remove(&mut self, object: &ObjectRef) {
        let namespace = object.namespace.to_ascii_lowercase();
        if let Some(services) = self.services.get_mut(&namespace) {
            services.remove(&object.name.to_ascii_lowercase());
            if services.is_empty() {
                self.services.remove(&namespace);
            }
        }
    }

    /// Answers a question for `name`, with or without its trailing dot, in any case, as zone files write
    /// it.
    pub fn answer(&self, name: &str, asked: RecordType) -> Answer {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let Some(node) = self.node(&name) else {
            return if within_zone(&name) { Answer::NxDomain } else { Answer::Refused };
        };
        let answers: Vec<_> = node.records(&name).into_iter().filter(|r| r.data.is(asked)).collect();
        if answers.is_empty() {
            return Answer::NoData;
        }
        let beside = answers.iter().filter(|_| asked == RecordType::Srv);
        let additional = beside.flat_map(|record| self.beside(record)).collect();
        Answer::Found { answers, additional }
    }

    /// Addresses of the target of an SRV record.
    fn beside(&self, record: &Record) -> Vec<Record> {
        let Data::Service { target, .. } = &record.data else { return Vec::new() };
        let found = self.node(target).map(|node| node.records(target)).unwrap_or_default();
        found.into_iter().filter(|r| matches!(r.data, Data::Address(_))).collect()
    }

    /// What is at a lower-case name; none when it does not exist.
    fn node(&self, name: &str) -> Option<Node<'_>> {
        if name == ZONE {
            return Some(Node::Apex);
        }
        let below = name.strip_suffix(ZONE)?.strip_suffix('.')?;
        let mut labels = below.rsplit('.');
        match labels.next()? {
            "dns-version" => labels.next().is_none().then_some(Node::Version),
            "svc" => self.services_node(labels),
            _ => None,
        }
    }

    fn services_node<'a>(&self, mut labels: impl Iterator<Item = &'a str>) -> Option<Node<'_>> {
        let Some(namespace) = labels.next() else { return Some(Node::Empty) };
        let services = self.services.get(namespace)?;
        let Some(name) = labels.next() else {
            return services.values().any(Entry::exists).then_some(Node::Empty);
        };
        let entry = services.get(name).filter(|entry| entry.exists())?;
        let service = format!("{name}.{namespace}.svc.{ZONE}");
        let rest: Vec<_> = labels.collect();
        match rest.as_slice() {
            [] => Some(Node::Service(entry)),
            [protocol] if entry.named_ports().any(|p| p.is_of(protocol)) => Some(Node::Empty),
            [protocol, port] if entry.named_ports().any(|p| p.is_of(protocol) && p.is_called(port)) => {
                Some(Node::Port { entry, service, protocol: (*protocol).into(), port: (*port).into() })
            }
            [cluster] if entry.hosts().iter().any(|h| h.cluster.eq_ignore_ascii_case(cluster)) => {
                Some(Node::Empty)
            }
            [cluster, hostname] => {
                let hosts: Vec<_> = entry.hosts().iter().filter(|h| h.is(hostname, cluster)).collect();
                (!hosts.is_empty()).then_some(Node::Hosts(hosts))
            }
            _ => None,
        }
    }
}

/// What is at a name.
enum Node<'a> {
    Apex,
    Version,
    /// Nothing, but names below it.
    Empty,
    Service(&'a Entry),
    Port {
        entry: &'a Entry,
        service: String,
        protocol: String,
        port: String,
    },
    Hosts(Vec<&'a Host>),
}

impl Node<'_> {
    fn records(&self, name: &str) -> Vec<Record> {
        let record = |ttl, data| Record { name: name.into(), ttl, data };
        let addresses = |list: &[IpAddr]| -> Vec<_> {
            list.iter().map(|ip| record(TTL, Data::Address(*ip))).collect()
        };
        match self {
            Self::Apex => vec![record(TTL, Data::Authority), record(TTL, Data::NameServer)],
            Self::Version => vec![record(VERSION_TTL, Data::Text("1.0.0".into()))],
            Self::Empty => Vec::new(),
            Self::Service(Entry::ClusterSetIp { addresses: list, ports }) => {
                let service = |port: &Port| {
                    let target = name.to_owned();
                    record(TTL, Data::Service { priority: 0, weight: 100, port: port.port, target })
                };
                let mut all = addresses(list);
                all.extend(ports.iter().map(service));
                all
            }
            Self::Service(Entry::Headless { hosts, .. }) => {
                hosts.iter().flat_map(|host| addresses(&host.addresses)).collect()
            }
            Self::Hosts(hosts) => hosts.iter().flat_map(|host| addresses(&host.addresses)).collect(),
            Self::Port { entry, service, protocol, port } => entry
                .named_ports()
                .filter(|p| p.is_of(protocol) && p.is_called(port))
                .flat_map(|p| entry.targets(service).into_iter().map(move |target| (p.port, target)))
                .map(|(port, target)| {
                    record(TTL, Data::Service { priority: 0, weight: 100, port, target })
                })
                .collect(),
        }
    }
}

impl Entry {
    /// A headless service without a ready endpoint does not exist (specification, 2.4.1).
    fn exists(&self) -> bool {
        match self {
            Self::ClusterSetIp { .. } => true,
            Self::Headless { hosts, .. } => !hosts.is_empty(),
        }
    }

    fn hosts(&self) -> &[Host] {
        match self {
            Self::ClusterSetIp { .. } => &[],
            Self::Headless { hosts, .. } => hosts,
        }
    }

    fn named_ports(&self) -> impl Iterator<Item = &Port> {
        let (Self::ClusterSetIp { ports, .. } | Self::Headless { ports, .. }) = self;
        ports.iter().filter(|port| !port.name.is_empty())
    }

    /// Hosts that SRV records of `service` name.
    fn targets(&self, service: &str) -> Vec<String> {
        match self {
            Self::ClusterSetIp { .. } => vec![service.into()],
            Self::Headless { hosts, .. } => hosts
                .iter()
                .map(|h| format!("{}.{}.{service}", h.hostname, h.cluster).to_ascii_lowercase())
                .collect(),
        }
    }
}

impl Port {
    fn is_of(&self, label: &str) -> bool {
        label.strip_prefix('_').is_some_and(|protocol| self.protocol.eq_ignore_ascii_case(protocol))
    }

    fn is_called(&self, label: &str) -> bool {
        label.strip_prefix('_').is_some_and(|name| self.name.eq_ignore_ascii_case(name))
    }
}

impl Host {
    fn is(&self, hostname: &str, cluster: &str) -> bool {
        self.hostname.eq_ignore_ascii_case(hostname) && self.cluster.eq_ignore_ascii_case(cluster)
    }
}

impl Data {
    fn is(&self, asked: RecordType) -> bool {
        match asked {
            RecordType::A => matches!(self, Self::Address(IpAddr::V4(_))),
            RecordType::Aaaa => matches!(self, Self::Address(IpAddr::V6(_))),
            RecordType::Srv => matches!(self, Self::Service { .. }),
            RecordType::Txt => matches!(self, Self::Text(_)),
            RecordType::Soa => matches!(self, Self::Authority),
            RecordType::Ns => matches!(self, Self::NameServer),
            RecordType::Any => true,
            RecordType::Other => false,
        }
    }
}

fn within_zone(name: &str) -> bool {
    name.strip_suffix(ZONE).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}
