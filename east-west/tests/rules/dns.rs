//! Answers for clusterset.local (case H12; the specification's sections in brackets).

use std::net::IpAddr;

use isthmus_east_west::dns::{Answer, Data, Entry, Host, Port, Record, RecordType, Table};
use isthmus_ir::ObjectRef;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(name: &str, port: u16) -> Port {
    Port { name: name.into(), protocol: "TCP".into(), port }
}

fn host(hostname: &str, cluster: &str, addresses: &[&str]) -> Host {
    let addresses = addresses.iter().map(|a| ip(a)).collect();
    Host { hostname: hostname.into(), cluster: cluster.into(), addresses }
}

/// `shop/cart` with clusterset IPs, `shop/db` headless in two clusters, `shop/down` without endpoints.
fn table() -> Table {
    let mut table = Table::default();
    let addresses = vec![ip("10.9.0.1"), ip("fd00::1")];
    let ports = vec![port("http", 80), port("", 81)];
    table.insert(&ObjectRef::new("shop", "cart"), Entry::ClusterSetIp { addresses, ports });
    let hosts = vec![
        host("db-0", "east", &["10.0.0.1", "fd01::1"]),
        host("db-0", "west", &["10.0.0.2"]),
        host("db-1", "West", &["10.0.0.3"]),
    ];
    table.insert(
        &ObjectRef::new("shop", "db"),
        Entry::Headless { hosts, ports: vec![port("sql", 5432)] },
    );
    table.insert(
        &ObjectRef::new("shop", "down"),
        Entry::Headless { hosts: vec![], ports: vec![port("sql", 1)] },
    );
    table
}

fn show(records: &[Record]) -> Vec<String> {
    let data = |data: &Data| match data {
        Data::Address(ip) => ip.to_string(),
        Data::Service { priority, weight, port, target } => {
            format!("{priority} {weight} {port} {target}")
        }
        Data::Text(text) => format!("{text:?}"),
        Data::Authority => "SOA".into(),
        Data::NameServer => "NS".into(),
    };
    records.iter().map(|r| format!("{} {} {}", r.name, r.ttl, data(&r.data))).collect()
}

fn found(name: &str, asked: RecordType) -> Vec<String> {
    match table().answer(name, asked) {
        Answer::Found { answers, .. } => show(&answers),
        other => panic!("{name} {asked:?}: {other:?}"),
    }
}

#[test]
fn a_clusterset_ip_answers_by_family() {
    let name = "cart.shop.svc.clusterset.local.";
    assert_eq!(found(name, RecordType::A), ["cart.shop.svc.clusterset.local 5 10.9.0.1"]);
    assert_eq!(found(name, RecordType::Aaaa), ["cart.shop.svc.clusterset.local 5 fd00::1"]);
    assert_eq!(found(name, RecordType::Any).len(), 4);
}

#[test]
fn h12_case_does_not_matter_and_neither_does_the_last_dot() {
    let upper = found("CaRt.SHOP.svc.ClusterSet.LOCAL", RecordType::A);
    assert_eq!(upper, found("cart.shop.svc.clusterset.local.", RecordType::A));
}

#[test]
fn srv_records_name_the_service_and_bring_its_addresses() {
    let name = "_http._tcp.cart.shop.svc.clusterset.local";
    let Answer::Found { answers, additional } = table().answer(name, RecordType::Srv) else { panic!() };
    assert_eq!(show(&answers), [format!("{name} 5 0 100 80 cart.shop.svc.clusterset.local")]);
    assert_eq!(additional.len(), 2);
}

#[test]
fn srv_of_a_service_lists_its_ports_also_those_without_a_name() {
    let name = "cart.shop.svc.clusterset.local";
    let Answer::Found { answers, additional } = table().answer(name, RecordType::Srv) else { panic!() };
    assert_eq!(show(&answers), [80, 81].map(|port| format!("{name} 5 0 100 {port} {name}")));
    assert!(!additional.is_empty());
}

#[test]
fn headless_services_answer_with_every_host() {
    let name = "db.shop.svc.clusterset.local";
    assert_eq!(found(name, RecordType::A).len(), 3);
    assert_eq!(found(name, RecordType::Aaaa), [format!("{name} 5 fd01::1")]);
    assert_eq!(
        found("_sql._tcp.db.shop.svc.clusterset.local", RecordType::Srv),
        [
            "_sql._tcp.db.shop.svc.clusterset.local 5 0 100 5432 db-0.east.db.shop.svc.clusterset.local",
            "_sql._tcp.db.shop.svc.clusterset.local 5 0 100 5432 db-0.west.db.shop.svc.clusterset.local",
            "_sql._tcp.db.shop.svc.clusterset.local 5 0 100 5432 db-1.west.db.shop.svc.clusterset.local",
        ]
    );
}

#[test]
fn h12_a_host_of_a_headless_service_is_named_with_its_cluster() {
    let name = "db-1.west.db.shop.svc.clusterset.local";
    assert_eq!(found(name, RecordType::A), [format!("{name} 5 10.0.0.3")]);
    assert_eq!(table().answer(name, RecordType::Aaaa), Answer::NoData);
}

#[test]
fn h12_names_that_exist_without_such_a_record_are_empty_answers() {
    for (name, asked) in [
        ("cart.shop.svc.clusterset.local", RecordType::Txt),
        ("db.shop.svc.clusterset.local", RecordType::Srv),
        ("cart.shop.svc.clusterset.local", RecordType::Other),
        ("_tcp.cart.shop.svc.clusterset.local", RecordType::Srv),
        ("_http._tcp.cart.shop.svc.clusterset.local", RecordType::A),
        ("west.db.shop.svc.clusterset.local", RecordType::A),
        ("shop.svc.clusterset.local", RecordType::A),
        ("svc.clusterset.local", RecordType::A),
        ("clusterset.local", RecordType::A),
    ] {
        assert_eq!(table().answer(name, asked), Answer::NoData, "{name} {asked:?}");
    }
}

#[test]
fn h12_names_that_do_not_exist_are_nxdomain_for_every_type() {
    for name in [
        "none.shop.svc.clusterset.local",
        "cart.none.svc.clusterset.local",
        // No record tells the clusters of a clusterset IP apart (2.3.4).
        "west.cart.shop.svc.clusterset.local",
        "a.west.cart.shop.svc.clusterset.local",
        "db-9.west.db.shop.svc.clusterset.local",
        "db-0.north.db.shop.svc.clusterset.local",
        "x.db-0.west.db.shop.svc.clusterset.local",
        // A headless service without a ready endpoint does not exist (2.4.1).
        "down.shop.svc.clusterset.local",
        "_sql._tcp.down.shop.svc.clusterset.local",
        // Unnamed ports have no record (2.3.2).
        "_._tcp.cart.shop.svc.clusterset.local",
        "_http._udp.cart.shop.svc.clusterset.local",
        "http._tcp.cart.shop.svc.clusterset.local",
        "cart.shop.pod.clusterset.local",
        "cart..svc.clusterset.local",
        ".clusterset.local",
        "x.dns-version.clusterset.local",
    ] {
        for asked in [RecordType::A, RecordType::Srv, RecordType::Any] {
            assert_eq!(table().answer(name, asked), Answer::NxDomain, "{name} {asked:?}");
        }
    }
}

#[test]
fn h12_other_zones_are_refused() {
    for name in ["", ".", "example.com", "cart.shop.svc.cluster.local", "evilclusterset.local", "local"]
    {
        assert_eq!(table().answer(name, RecordType::A), Answer::Refused, "{name:?}");
    }
}

#[test]
fn the_zone_tells_its_authority_and_its_version() {
    assert_eq!(found("clusterset.local", RecordType::Soa), ["clusterset.local 5 SOA"]);
    assert_eq!(found("clusterset.local", RecordType::Ns), ["clusterset.local 5 NS"]);
    let version = found("dns-version.clusterset.local", RecordType::Txt);
    assert_eq!(version, ["dns-version.clusterset.local 28800 \"1.0.0\""]);
}

#[test]
fn a_namespace_goes_with_its_last_service() {
    let mut table = table();
    for name in ["cart", "db", "down"] {
        table.remove(&ObjectRef::new("Shop", name));
    }
    assert_eq!(table.answer("shop.svc.clusterset.local", RecordType::A), Answer::NxDomain);
    assert_eq!(table, Table::default());
}
