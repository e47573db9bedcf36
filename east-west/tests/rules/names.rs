//! Names of the ClusterSet where services have no address of their own.

use expect_test::expect;
use isthmus_east_west::{
    dns::{Answer, Data, RecordType},
    names::{Named, Names, is_of_name, names},
};
use isthmus_ir::ObjectRef;
use isthmus_world::fact::{NameSettings, ServicePort};
use proptest::{collection::vec, prelude::*, sample::select};

const RANGE: std::ops::RangeInclusive<u16> = 20_000..=29_999;

fn port(name: &str, port: u16, protocol: &str, app: Option<&str>) -> ServicePort {
    ServicePort { name: name.into(), port, protocol: protocol.into(), app_protocol: app.map(Into::into) }
}

/// Imports of the namespace `shop`, each with its time and ports.
type Imports = Vec<(ObjectRef, i64, Vec<ServicePort>)>;

fn import(name: &str, created: i64, ports: &[u16]) -> (ObjectRef, i64, Vec<ServicePort>) {
    let ports = ports.iter().map(|number| port(&format!("p{number}"), *number, "TCP", None)).collect();
    (ObjectRef::new("shop", name), created, ports)
}

fn named(cluster: &str, ports: std::ops::RangeInclusive<u16>, imports: &Imports) -> Names {
    named_but(cluster, ports, &[], imports)
}

fn named_but(
    cluster: &str,
    ports: std::ops::RangeInclusive<u16>,
    reserved: &[u16],
    imports: &Imports,
) -> Names {
    let reserved = reserved.iter().copied().collect();
    let settings = NameSettings { address: [127, 0, 0, 1].into(), ports, reserved };
    let imports =
        imports.iter().map(|(object, created, ports)| Named { object, created: *created, ports });
    names(&settings, cluster, imports)
}

/// `service/port=number` of each listener.
fn given(names: &Names) -> Vec<String> {
    let short = |section: &str| section.strip_prefix("names/shop/").unwrap().to_owned();
    names.listeners.iter().map(|l| format!("{}={}", short(&l.section), l.port)).collect()
}

#[test]
fn a_port_of_an_import_has_a_listener_and_a_route_to_it() {
    let names = named("east", RANGE, &vec![import("cart", 1, &[80])]);
    let listener = &names.listeners[0];
    expect![[r#"
        Listener {
            name: "isthmus-system/east-west/names/shop/cart/80",
            gateway: ObjectRef {
                namespace: "isthmus-system",
                name: "east-west",
            },
            section: "names/shop/cart/80",
            addresses: [
                127.0.0.1,
            ],
            port: 0,
            hostname: Any,
            protocol: Http,
        }
    "#]]
    .assert_debug_eq(&isthmus_ir::Listener { port: 0, ..listener.as_ref().clone() });
    assert!(is_of_name(&listener.name));
    assert!(!is_of_name(&"isthmus-system/east-west/15443".into()));
    let route = &names.routes[0];
    let place = (route.name.as_str(), route.attachments[0].listener == listener.name);
    assert_eq!(place, ("ServiceImport/shop/cart/80", true));
    assert_eq!(format!("{:?}", route.backends[0].target), r#"Service("clusterset/shop/cart/80")"#);
    assert_eq!(names.asked().collect::<Vec<_>>(), [(ObjectRef::new("shop", "cart"), 80)]);
}

#[test]
fn the_name_tells_the_address_and_srv_the_port() {
    let names = named("east", RANGE, &vec![import("cart", 1, &[80, 81])]);
    let ask = |name: &str, asked| match names.table.answer(name, asked) {
        Answer::Found { answers, .. } => answers.into_iter().map(|record| record.data).collect(),
        _ => Vec::new(),
    };
    let name = "cart.shop.svc.clusterset.local";
    assert_eq!(ask(name, RecordType::A), [Data::Address([127, 0, 0, 1].into())]);
    assert_eq!(ask(name, RecordType::Aaaa), []);
    for (index, service) in ["_p80._tcp", "_p81._tcp"].iter().enumerate() {
        let found = ask(&format!("{service}.{name}"), RecordType::Srv);
        let port = names.listeners[index].port;
        assert_eq!(found, [Data::Service { priority: 0, weight: 100, port, target: name.into() }]);
    }
}

#[test]
fn only_what_carries_requests_is_named() {
    let ports = vec![
        port("web", 80, "TCP", None),
        port("grpc", 81, "TCP", Some("grpc")),
        port("sql", 82, "TCP", Some("postgresql")),
        port("log", 83, "UDP", None),
    ];
    let sql = vec![port("sql", 82, "TCP", Some("postgresql"))];
    let imports =
        vec![(ObjectRef::new("shop", "cart"), 1, ports), (ObjectRef::new("shop", "db"), 1, sql)];
    let names = named("east", RANGE, &imports);
    let asked: Vec<_> = names.asked().map(|(object, port)| format!("{object}/{port}")).collect();
    assert_eq!(asked, ["shop/cart/80", "shop/cart/81"]);
    let answer = names.table.answer("db.shop.svc.clusterset.local", RecordType::A);
    assert_eq!(answer, Answer::NxDomain);
    assert_eq!(names.left_out, []);
}

#[test]
fn ports_are_the_same_after_a_restart_and_others_in_another_cluster() {
    let imports = vec![import("cart", 1, &[80]), import("stock", 1, &[80])];
    let east = given(&named("east", RANGE, &imports));
    expect![[r#"
        [
            "cart/80=24335",
            "stock/80=28731",
        ]
    "#]]
    .assert_debug_eq(&east);
    assert_ne!(east, given(&named("west", RANGE, &imports)));
}

#[test]
fn ports_that_the_cluster_uses_are_not_given_out() {
    let imports = vec![import("cart", 1, &[80])];
    let wanted = named("east", RANGE, &imports).listeners[0].port;
    let given = named_but("east", RANGE, &[wanted, wanted + 1], &imports).listeners[0].port;
    assert_eq!(given, wanted + 2);
    let none = named_but("east", 20_000..=20_001, &[20_000, 20_001], &imports);
    assert_eq!(none.left_out.len(), 1);
}

#[test]
fn when_ports_run_out_the_youngest_go_without() {
    let imports = vec![import("a", 3, &[80]), import("b", 1, &[80]), import("c", 2, &[80])];
    let names = named("east", 20_000..=20_001, &imports);
    assert_eq!(names.listeners.len(), 2);
    assert_eq!(names.left_out, [(ObjectRef::new("shop", "a"), 80)]);
    let answer = names.table.answer("a.shop.svc.clusterset.local", RecordType::A);
    assert_eq!(answer, Answer::NxDomain);
}

fn some_imports() -> impl Strategy<Value = Imports> {
    let one = (select(vec!["a", "b", "c", "d", "e"]), 0..4_i64, select(vec![&[80][..], &[80, 81]]));
    vec(one.prop_map(|(name, created, ports)| import(name, created, ports)), 0..5).prop_map(|mut all| {
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|a, b| a.0 == b.0);
        all
    })
}

proptest! {
    /// In a range that is nearly full, so that nearly all collide.
    #[test]
    fn a_newer_import_moves_nobody(imports in some_imports(), ports in select(vec![1_u16, 2, 9])) {
        let range = || 20_000..=(20_000 + ports);
        let before = named("east", range(), &imports);
        let mut more = imports.clone();
        more.push(import("aa", 9, &[80, 81]));
        let after = named("east", range(), &more);
        let (before, after) = (given(&before), given(&after));
        prop_assert!(before.iter().all(|line| after.contains(line)), "{before:?} {after:?}");
        more.reverse();
        prop_assert_eq!(given(&named("east", range(), &more)), after);
    }

    #[test]
    fn every_port_is_of_the_range_and_given_once(imports in some_imports(), ports in 0..12_u16) {
        let names = named("east", 20_000..=(20_000 + ports), &imports);
        let mut numbers: Vec<u16> = names.listeners.iter().map(|l| l.port).collect();
        numbers.sort_unstable();
        let all = numbers.len();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), all);
        prop_assert!(numbers.iter().all(|n| (20_000..=20_000 + ports).contains(n)));
        let wanted: usize = imports.iter().map(|(_, _, ports)| ports.len()).sum();
        prop_assert_eq!(all, wanted.min(usize::from(ports) + 1));
        prop_assert_eq!(all + names.left_out.len(), wanted);
    }
}
