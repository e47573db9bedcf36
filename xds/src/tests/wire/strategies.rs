//! Arbitrary resources, as far as the IR allows them. Each strategy is boxed: compilers take minutes over the
//! type of one that is made of all others.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use isthmus_ir::{
    Attachment, Backend, BackendProtocol, BackendTarget, Balancing, Certificate, Cors, Endpoint,
    EndpointState, Endpoints, Filter, Fraction, Handle, HandleTarget, HeaderEdits, HeaderMatch,
    HealthPolicy, HostPattern, KeyFormat, Listener, Name, ObjectRef, PathMatch, PathRewrite, Peer,
    PrivateKey, Protocol, QueryMatch, Reach, Redacted, Redirect, Resource, RetryPolicy, Rewrite, Route,
    RouteId, RouteKind, RouteMatch, Service, SpiffeId, Timeouts, TrustBundle, TrustDomain, ValueMatch,
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

/// Any resource.
pub(super) fn resource() -> BoxedStrategy<Resource> {
    prop_oneof![
        listener().prop_map(|r| Resource::Listener(Arc::new(r))),
        route().prop_map(|r| Resource::Route(Arc::new(r))),
        handle().prop_map(|r| Resource::Handle(Arc::new(r))),
        certificate().prop_map(|r| Resource::Certificate(Arc::new(r))),
        service().prop_map(|r| Resource::Service(Arc::new(r))),
        endpoints().prop_map(|r| Resource::Endpoints(Arc::new(r))),
        peer().prop_map(|r| Resource::Peer(Arc::new(r))),
        bundle().prop_map(|r| Resource::TrustBundle(Arc::new(r))),
    ]
    .boxed()
}

/// A certificate with this key.
pub(super) fn certificate_with_key(key: &'static [u8]) -> Resource {
    let key = PrivateKey { format: KeyFormat::Pkcs8, der: Redacted::new(Bytes::from_static(key)) };
    let chain = vec![Bytes::from_static(b"leaf")];
    Resource::Certificate(Arc::new(Certificate { name: "ns/s".into(), chain, key }))
}

fn text() -> BoxedStrategy<String> {
    prop_oneof!["[a-z0-9-]{0,8}", ".{0,8}"].boxed()
}

fn name() -> BoxedStrategy<Name> {
    "[a-z]{1,4}(/[a-z0-9.]{1,4}){0,3}".prop_map(Name::from).boxed()
}

fn shared() -> BoxedStrategy<Arc<str>> {
    text().prop_map(Arc::from).boxed()
}

fn object() -> BoxedStrategy<ObjectRef> {
    (text(), text()).prop_map(|(namespace, name)| ObjectRef { namespace, name }).boxed()
}

fn bytes() -> BoxedStrategy<Bytes> {
    vec(any::<u8>(), 1..20).prop_map(Bytes::from).boxed()
}

fn address() -> BoxedStrategy<SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from).boxed()
}

fn domain() -> BoxedStrategy<TrustDomain> {
    "[a-z0-9._-]{1,10}".prop_map(|text| text.parse().unwrap()).boxed()
}

fn identity() -> BoxedStrategy<SpiffeId> {
    (domain(), "(/[a-zA-Z0-9_-]{1,5}){1,3}")
        .prop_map(|(td, path)| SpiffeId::new(&td, &path).unwrap())
        .boxed()
}

fn host() -> BoxedStrategy<HostPattern> {
    let labels = "[a-z][a-z0-9]{0,3}(\\.[a-z][a-z0-9]{0,3}){0,2}";
    prop_oneof![
        Just(HostPattern::Any),
        labels.prop_map(HostPattern::Wildcard),
        labels.prop_map(HostPattern::Exact),
    ]
    .boxed()
}

fn listener() -> BoxedStrategy<Listener> {
    let protocol = prop_oneof![
        Just(Protocol::Http),
        vec(name(), 1..3).prop_map(|certificates| Protocol::Https { certificates }),
        Just(Protocol::EastWest),
    ];
    let addresses = vec(any::<IpAddr>(), 0..3);
    (name(), object(), text(), addresses, any::<u16>(), host(), protocol)
        .prop_map(|(name, gateway, section, addresses, port, hostname, protocol)| Listener {
            name,
            gateway,
            section,
            addresses,
            port,
            hostname,
            protocol,
        })
        .boxed()
}

fn route() -> BoxedStrategy<Route> {
    let attachment =
        (name(), vec(host(), 1..3)).prop_map(|(listener, hostnames)| Attachment { listener, hostnames });
    let kind = prop_oneof![Just(RouteKind::Http), Just(RouteKind::Import)];
    let id = (kind, object()).prop_map(|(kind, object)| RouteId { kind, object });
    let identity = (name(), id, any::<u32>(), option::of(text()), any::<i64>());
    let body = (
        vec(attachment, 0..3),
        vec(rule_match(), 1..3),
        vec(filter(), 0..3),
        vec(backend(), 0..3),
        (option::of(any::<Duration>()), option::of(any::<Duration>())),
        (any::<u8>(), vec(any::<u16>(), 0..3), option::of(any::<Duration>()), any::<bool>()),
    );
    (identity, body)
        .prop_map(|((name, route, rule, rule_name, created), body)| {
            let (attachments, matches, filters, backends, timeouts, retry) = body;
            let (attempts, statuses, backoff, explicit) = retry;
            let (request, backend_request) = timeouts;
            Route {
                name,
                route,
                rule,
                rule_name,
                created,
                attachments,
                matches,
                filters,
                backends,
                timeouts: Timeouts { request, backend_request },
                retry: RetryPolicy { attempts, statuses, backoff, explicit },
            }
        })
        .boxed()
}

fn rule_match() -> BoxedStrategy<RouteMatch> {
    let path = prop_oneof![
        "/[a-z/]{0,6}".prop_map(PathMatch::Exact),
        "(/[a-z]{1,3}){1,2}|/".prop_map(PathMatch::Prefix),
        text().prop_map(PathMatch::Regex),
    ];
    let value = || prop_oneof![text().prop_map(ValueMatch::Exact), text().prop_map(ValueMatch::Regex)];
    let headers = btree_map("[a-z-]{1,5}", value(), 0..3);
    let query = btree_map("[a-zA-Z]{1,5}", value(), 0..3);
    (path, option::of(text()), headers, query)
        .prop_map(|(path, method, headers, query)| RouteMatch {
            path,
            method,
            headers: headers.into_iter().map(|(name, value)| HeaderMatch { name, value }).collect(),
            query: query.into_iter().map(|(name, value)| QueryMatch { name, value }).collect(),
        })
        .boxed()
}

fn filter() -> BoxedStrategy<Filter> {
    let header = || vec(("[a-z-]{1,5}", text()), 0..3);
    let edits = || {
        (header(), header(), vec("[a-z-]{1,5}", 0..3)).prop_map(|(set, add, remove)| HeaderEdits {
            set,
            add,
            remove,
        })
    };
    let path = || {
        option::of(
            prop_oneof![text().prop_map(PathRewrite::Full), text().prop_map(PathRewrite::Prefix),],
        )
    };
    let scheme = option::of(select(&["http", "https"][..]).prop_map(str::to_owned));
    let status = select(&[301_u16, 302, 303, 307, 308][..]);
    let redirect = (scheme, option::of(text()), path(), option::of(any::<u16>()), status);
    let fraction =
        (0..=u32::MAX, 1..=u32::MAX).prop_map(|(a, b)| Fraction { numerator: a.min(b), denominator: b });
    prop_oneof![
        edits().prop_map(Filter::RequestHeaders),
        edits().prop_map(Filter::ResponseHeaders),
        redirect.prop_map(|(scheme, hostname, path, port, status)| {
            Filter::Redirect(Redirect { scheme, hostname, path, port, status })
        }),
        (option::of(text()), path())
            .prop_map(|(hostname, path)| Filter::Rewrite(Rewrite { hostname, path })),
        cors().prop_map(Filter::Cors),
        (target(), fraction).prop_map(|(target, fraction)| Filter::Mirror { target, fraction }),
    ]
    .boxed()
}

fn cors() -> BoxedStrategy<Cors> {
    let names = || vec(text(), 0..3);
    (names(), any::<bool>(), names(), names(), names(), any::<u32>())
        .prop_map(|(origins, credentials, methods, headers, expose, max_age)| Cors {
            origins,
            credentials,
            methods,
            headers,
            expose,
            max_age,
        })
        .boxed()
}

fn target() -> BoxedStrategy<BackendTarget> {
    prop_oneof![
        name().prop_map(BackendTarget::Service),
        text().prop_map(|reason| BackendTarget::Invalid { reason }),
    ]
    .boxed()
}

fn backend() -> BoxedStrategy<Backend> {
    (any::<u32>(), target(), vec(filter(), 0..2))
        .prop_map(|(weight, target, filters)| Backend { weight, target, filters })
        .boxed()
}

fn service() -> BoxedStrategy<Service> {
    let protocol = select(&[BackendProtocol::Http1, BackendProtocol::H2c][..]);
    let balancing = select(&[Balancing::LeastRequest, Balancing::RoundRobin][..]);
    let spans = any::<(Duration, Duration, Duration, Duration)>();
    let health = (any::<u16>(), spans).prop_map(|(consecutive_failures, (a, b, c, d))| HealthPolicy {
        consecutive_failures,
        base_ejection: a,
        max_ejection: b,
        probe_interval: c,
        probe_timeout: d,
    });
    (name(), object(), any::<(u16, u16)>(), protocol, balancing, health)
        .prop_map(|(name, object, (port, overprovision_percent), protocol, balancing, health)| Service {
            name,
            object,
            port,
            protocol,
            balancing,
            health,
            overprovision_percent,
        })
        .boxed()
}

fn endpoints() -> BoxedStrategy<Endpoints> {
    let reach = prop_oneof![
        vec(address(), 1..3).prop_map(|addresses| Reach::Direct { addresses }),
        (name(), name(), vec(identity(), 1..3)).prop_map(|(peer, handle, identities)| Reach::Peer {
            peer,
            handle,
            identities
        }),
    ];
    let state = select(&[EndpointState::Ready, EndpointState::Draining][..]);
    let rest = (shared(), option::of(shared()), any::<u8>(), 1..=u32::MAX, state, reach);
    (name(), btree_map(text(), rest, 0..4))
        .prop_map(|(service, endpoints)| {
            let endpoints = endpoints.into_iter().map(|(id, rest)| {
                let (cluster, zone, priority, weight, state, reach) = rest;
                Endpoint { id: id.into(), cluster, zone, priority, weight, state, reach }
            });
            Endpoints { service, endpoints: endpoints.collect() }
        })
        .boxed()
}

fn handle() -> BoxedStrategy<Handle> {
    let target = prop_oneof![
        (name(), shared()).prop_map(|(service, endpoint)| HandleTarget::Endpoint { service, endpoint }),
        name().prop_map(|service| HandleTarget::Service { service }),
        address().prop_map(|address| HandleTarget::Passthrough { address }),
    ];
    (name(), vec(domain(), 0..3), target)
        .prop_map(|(name, callers, target)| Handle { name, callers, target })
        .boxed()
}

fn peer() -> BoxedStrategy<Peer> {
    (name(), domain(), vec(address(), 0..3), any::<bool>())
        .prop_map(|(name, trust_domain, gateways, usable)| Peer { name, trust_domain, gateways, usable })
        .boxed()
}

fn bundle() -> BoxedStrategy<TrustBundle> {
    (domain(), vec(bytes(), 1..3))
        .prop_map(|(trust_domain, roots)| TrustBundle { trust_domain, roots })
        .boxed()
}

fn certificate() -> BoxedStrategy<Certificate> {
    let format = select(&[KeyFormat::Pkcs8, KeyFormat::Pkcs1, KeyFormat::Sec1][..]);
    (name(), vec(bytes(), 1..3), format, bytes())
        .prop_map(|(name, chain, format, der)| Certificate {
            name,
            chain,
            key: PrivateKey { format, der: Redacted::new(der) },
        })
        .boxed()
}
