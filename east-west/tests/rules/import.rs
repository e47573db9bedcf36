//! Winners, conflicts and failover among the exports of one service (KEP-1645; cases H1, H6).

use std::sync::Arc;

use expect_test::expect;
use isthmus_east_west::import::{
    Import, ImportInput, LocalExport, PeerExport, conflict_condition, import,
};
use isthmus_ir::{BackendProtocol, Reach, Service};
use isthmus_world::fact::{
    ExportedPort, ExportedService, ImportType, MeshSettings, PeerState, SessionAffinity,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::fixtures::{
    balanced, cart, endpoints, exported, exported_endpoint, exported_port, imported, imported_from,
    peer, settings,
};

fn ports(import: &Import) -> Vec<String> {
    import.ports.iter().map(|p| format!("{} {}/{}", p.name, p.port, p.protocol)).collect()
}

fn conflict(import: &Import) -> String {
    let condition = conflict_condition(3, &import.conflicts);
    format!("{} {}: {}", condition.status, condition.reason, condition.message)
}

#[test]
fn an_import_exists_as_long_as_one_cluster_exports() {
    assert!(!imported("east", &[]).exists());
    assert!(imported("east", &[exported("west", 5, &[("http", 80)])]).exists());
    let own = imported("east", &[exported("east", 5, &[("http", 80)])]);
    assert_eq!((own.exists(), own.clusters), (true, vec!["east".into()]));
}

#[test]
fn the_derived_object_is_that_of_the_specification() {
    let import =
        imported("east", &[exported("west", 5, &[("http", 80)]), exported("east", 9, &[("http", 80)])]);
    expect![[r#"
        {
          "apiVersion": "multicluster.x-k8s.io/v1beta1",
          "kind": "ServiceImport",
          "metadata": {
            "name": "cart",
            "namespace": "shop"
          },
          "spec": {
            "ips": [
              "10.9.0.1"
            ],
            "ports": [
              {
                "name": "http",
                "port": 80,
                "protocol": "TCP"
              }
            ],
            "sessionAffinity": "None",
            "type": "ClusterSetIP"
          },
          "status": {
            "clusters": [
              {
                "cluster": "east"
              },
              {
                "cluster": "west"
              }
            ],
            "conditions": [
              {
                "message": "the service can be used",
                "reason": "Ready",
                "status": "True",
                "type": "Ready"
              }
            ]
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&import.to_json(&["10.9.0.1".parse().unwrap()])).unwrap());
}

#[test]
fn h1_equal_exports_do_not_conflict() {
    let import =
        imported("east", &[exported("west", 5, &[("http", 80)]), exported("east", 9, &[("http", 80)])]);
    expect!["false NoConflicts: all clusters export the service alike"].assert_eq(&conflict(&import));
}

#[test]
fn h1_of_ports_with_one_name_the_oldest_holds() {
    let import = imported(
        "east",
        &[exported("east", 9, &[("http", 8080)]), exported("west", 5, &[("http", 80)])],
    );
    assert_eq!(ports(&import), ["http 80/TCP"]);
    expect![
        "true PortConflict: cluster east: port http 8080/TCP yields to port http 80/TCP of cluster west"
    ]
    .assert_eq(&conflict(&import));
}

#[test]
fn h1_of_ports_with_one_number_the_oldest_holds_and_both_clusters_serve_it() {
    let import =
        imported("east", &[exported("east", 5, &[("http", 80)]), exported("west", 9, &[("web", 80)])]);
    assert_eq!(ports(&import), ["http 80/TCP"]);
    assert_eq!(balanced(&import), ["10.0.0.1:8080 0 1", "west/h80 1 1"]);
    expect![
        "true PortConflict: cluster west: port web 80/TCP yields to port http 80/TCP of cluster east"
    ]
    .assert_eq(&conflict(&import));
}

#[test]
fn h1_ports_are_united_and_traffic_goes_where_a_port_is() {
    let import = imported(
        "east",
        &[exported("east", 5, &[("http", 80)]), exported("west", 9, &[("http", 80), ("admin", 9000)])],
    );
    assert_eq!(ports(&import), ["http 80/TCP", "admin 9000/TCP"]);
    let admin = Service::clusterset_name(&cart(), 9000);
    let admin = import.endpoints.iter().find(|e| e.service == admin).unwrap();
    let clusters: Vec<_> = admin.endpoints.iter().map(|e| e.cluster.to_string()).collect();
    assert_eq!(clusters, ["west"]);
    expect!["true PortConflict: cluster east: it lacks port admin 9000/TCP of cluster west, and gets no traffic of it"]
        .assert_eq(&conflict(&import));
}

#[test]
fn h1_headless_and_affinity_are_the_oldest_ones() {
    let mut west = exported("west", 5, &[("http", 80)]);
    (west.kind, west.affinity) = (ImportType::Headless, SessionAffinity::ClientIp);
    let import = imported("east", &[exported("east", 9, &[("http", 80)]), west]);
    assert_eq!((import.kind, import.affinity), (ImportType::Headless, SessionAffinity::ClientIp));
    expect!["true TypeConflict,SessionAffinityConflict: cluster east: its Service has a cluster IP, that of cluster west is headless; cluster east: sessionAffinity None yields to ClientIP of cluster west"].assert_eq(&conflict(&import));
}

#[test]
fn h1_every_exporter_says_the_same_and_leases_do_not_change_it() {
    let exports = [
        exported("east", 9, &[("http", 80)]),
        exported("west", 5, &[("http", 81)]),
        exported("north", 5, &[("web", 80)]),
    ];
    let expected = conflict(&imported("east", &exports));
    for cluster in ["west", "north", "south"] {
        assert_eq!(conflict(&imported(cluster, &exports)), expected);
    }
    for state in [PeerState::ControlLost, PeerState::DataLost, PeerState::Lost] {
        let mut peers = [peer("west"), peer("north")];
        peers[0].state = state;
        assert_eq!(conflict(&imported_from("east", &exports, &peers)), expected, "{state:?}");
    }
}

#[test]
fn ties_of_time_go_to_the_first_cluster_id() {
    let exports = [exported("west", 5, &[("web", 80)]), exported("north", 5, &[("http", 80)])];
    assert_eq!(ports(&imported("east", &exports)), ["http 80/TCP"]);
}

#[test]
fn an_endpoint_that_speaks_another_protocol_gets_no_traffic() {
    let mut west = exported("west", 9, &[("grpc", 80)]);
    west.ports[0].app_protocol = Some("kubernetes.io/h2c".into());
    let import = imported("east", &[exported("east", 5, &[("grpc", 80)]), west.clone()]);
    assert_eq!(balanced(&import), ["10.0.0.1:8080 0 1"]);
    assert_eq!(import.services[0].protocol, BackendProtocol::Http1);
    let alone = imported("east", &[west]);
    assert_eq!(alone.services[0].protocol, BackendProtocol::H2c);
    assert_eq!(balanced(&alone), ["west/h80 1 1"]);
}

#[test]
fn an_app_protocol_means_the_same_as_of_a_service_of_this_cluster() {
    for (app, protocol) in [
        ("grpc", BackendProtocol::H2c),
        ("http2", BackendProtocol::H2c),
        ("http", BackendProtocol::Http1),
    ] {
        let mut west = exported("west", 9, &[("web", 80)]);
        west.ports[0].app_protocol = Some(app.into());
        assert_eq!(imported("east", &[west]).services[0].protocol, protocol, "{app}");
    }
}

#[test]
fn own_endpoints_come_first_then_peers_by_priority_and_cost_and_fallbacks_last() {
    let mut exports: Vec<_> = ["east", "far", "near", "same", "spare"]
        .iter()
        .map(|c| exported(c, 5, &[("http", 80)]))
        .collect();
    for export in &mut exports {
        export.ports[0].fallback = Some(exported_endpoint(&export.cluster, "all"));
    }
    let mut peers = [peer("far"), peer("near"), peer("same"), peer("spare")];
    (peers[0].cost, peers[1].cost, peers[2].cost) = (20, 10, 10);
    (peers[3].priority, peers[3].cost) = (1, 1);
    let mut levels = balanced(&imported_from("east", &exports, &peers));
    levels.sort_by_key(|line| line.split(' ').nth(1).unwrap().parse::<u8>().unwrap());
    assert_eq!(
        levels,
        [
            "10.0.0.1:8080 0 1",
            "near/h80 1 1",
            "same/h80 1 1",
            "far/h80 2 1",
            "spare/h80 3 1",
            "near/all 4 1",
            "same/all 4 1",
            "far/all 5 1",
            "spare/all 6 1",
        ]
    );
}

#[test]
fn where_zones_are_preferred_the_own_one_comes_before_the_rest_of_the_cluster() {
    let own = exported("east", 5, &[("http", 80)]);
    let mut sets = endpoints(80, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]);
    let set = Arc::make_mut(sets.get_mut(&80).unwrap());
    (set.endpoints[0].zone, set.endpoints[1].zone) = (Some("b".into()), Some("a".into()));
    let west = exported("west", 5, &[("http", 80)]);
    let import = |prefer_zone, zone: Option<&str>| {
        let settings = MeshSettings { zone: zone.map(Into::into), ..settings("east") };
        balanced(&import(&ImportInput {
            settings: &settings,
            object: &cart(),
            local: Some(LocalExport { exported: &own, endpoints: &sets }),
            peers: &[PeerExport { peer: &peer("west"), exported: &west }],
            prefer_zone,
        }))
    };
    let near = ["10.0.0.1:8080 1 1", "10.0.0.2:8080 0 1", "10.0.0.3:8080 1 1", "west/h80 2 1"];
    assert_eq!(import(true, Some("a")), near);
    let level = ["10.0.0.1:8080 0 1", "10.0.0.2:8080 0 1", "10.0.0.3:8080 0 1", "west/h80 1 1"];
    assert_eq!(import(false, Some("a")), level);
    let unknown = ["10.0.0.1:8080 1 1", "10.0.0.2:8080 1 1", "10.0.0.3:8080 1 1", "west/h80 2 1"];
    assert_eq!(import(true, None), unknown);
}

#[test]
fn h5_a_peer_that_is_out_takes_its_endpoints_along_and_moves_nobody_else() {
    let exports = [exported("near", 5, &[("http", 80)]), exported("far", 5, &[("http", 80)])];
    for (state, expected) in [
        (PeerState::Connected, vec!["far/h80 2 1", "near/h80 1 1"]),
        (PeerState::ControlLost, vec!["far/h80 2 1", "near/h80 1 1"]),
        (PeerState::DataLost, vec!["far/h80 2 1"]),
        (PeerState::Lost, vec!["far/h80 2 1"]),
    ] {
        let mut peers = [peer("near"), peer("far")];
        (peers[0].state, peers[1].cost) = (state, 1);
        let import = imported_from("east", &exports, &peers);
        assert_eq!(balanced(&import), expected, "{state:?}");
        assert_eq!(import.clusters.len(), 2, "it is an exporter still");
    }
}

#[test]
fn peers_are_reached_by_handle_and_checked_by_identity() {
    let import = imported("east", &[exported("west", 5, &[("http", 80)])]);
    let endpoint = &import.endpoints[0].endpoints[0];
    let Reach::Peer { peer, handle, identities } = &endpoint.reach else { panic!("{endpoint:?}") };
    assert_eq!((peer.as_str(), handle.as_str()), ("west", "h80"));
    assert_eq!(identities, &[crate::fixtures::gateway_of("west")]);
}

#[test]
fn what_is_refused_neither_conflicts_nor_serves() {
    let mut peers = [peer("west")];
    peers[0].namespaces = Some(Arc::default());
    let exports = [exported("east", 9, &[("http", 80)]), exported("west", 5, &[("http", 81)])];
    let import = imported_from("east", &exports, &peers);
    assert_eq!(import.clusters, ["east".into()]);
    assert_eq!((import.conflicts.len(), import.refusals.len()), (0, 1));
}

/// Exports of up to five clusters with everything that can disagree.
fn any_exports() -> impl Strategy<Value = Vec<ExportedService>> {
    let port = (select(vec!["", "http", "web", "Bad"]), 79..82_u16, prop::bool::ANY);
    let export = (-1..3_i64, vec(port, 0..4), prop::bool::ANY, prop::bool::ANY);
    vec(export, 1..6).prop_map(|exports| {
        let one = |(index, (created, ports, headless, affine)): (usize, (i64, Vec<_>, bool, bool))| {
            let cluster = ["north", "east", "west", "south", "mid"][index];
            let mut one = exported(cluster, created, &[]);
            one.ports = ports
                .into_iter()
                .map(|(name, number, h2c): (&str, u16, bool)| {
                    let mut port = exported_port(cluster, name, number);
                    port.app_protocol = h2c.then(|| "kubernetes.io/h2c".into());
                    port
                })
                .collect();
            one.kind = if headless { ImportType::Headless } else { ImportType::ClusterSetIp };
            one.affinity = if affine { SessionAffinity::ClientIp } else { SessionAffinity::None };
            one
        };
        exports.into_iter().enumerate().map(one).collect()
    })
}

proptest! {
    /// Every cluster of a full mesh, exporter or not, comes to the same import in whatever order it heard.
    #[test]
    fn h6_all_clusters_converge(exports in any_exports(), seed in any::<prop::sample::Index>()) {
        let reference = imported("observer", &exports);
        let mut shuffled = exports.clone();
        shuffled.rotate_left(seed.index(exports.len()));
        shuffled.reverse();
        for cluster in ["observer", "north", "east", "west"] {
            let import = imported(cluster, &shuffled);
            prop_assert_eq!(&import.ports, &reference.ports);
            prop_assert_eq!(&import.clusters, &reference.clusters);
            prop_assert_eq!((import.kind, import.affinity), (reference.kind, reference.affinity));
            prop_assert_eq!(&import.conflicts, &reference.conflicts);
        }
    }

    /// What the specification asks of merged ports.
    #[test]
    fn merged_ports_have_distinct_names_and_numbers_and_nothing_is_lost(exports in any_exports()) {
        let import = imported("observer", &exports);
        for (i, a) in import.ports.iter().enumerate() {
            for b in &import.ports[i + 1..] {
                prop_assert!(a.name != b.name && (a.port, &a.protocol) != (b.port, &b.protocol));
            }
        }
        // Of ports of one export that clash, which no API server lets pass, the first one counts.
        let clash = |a: &ExportedPort, b: &ExportedPort| a.name == b.name || a.port == b.port;
        for export in &exports {
            for (index, port) in export.ports.iter().enumerate() {
                let counts = port.name != "Bad" && !export.ports[..index].iter().any(|p| clash(p, port));
                let there = import.ports.iter().any(|p| p.name == port.name || p.port == port.port);
                prop_assert!(there || !counts, "{} {}", port.name, port.port);
            }
        }
        let alike = exports.windows(2).all(|pair| {
            let shape = |e: &ExportedService| (e.kind, e.affinity, e.ports.iter().map(|p| {
                (p.name.clone(), p.port, p.app_protocol.clone())
            }).collect::<Vec<_>>());
            shape(&pair[0]) == shape(&pair[1])
        });
        prop_assert!(!alike || import.conflicts.is_empty());
    }
}
