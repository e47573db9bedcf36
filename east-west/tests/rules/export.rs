//! ServiceExport -> what peers are told, and its conditions (MCS v1beta1).

use std::sync::Arc;

use expect_test::expect;
use isthmus_east_west::{
    condition::Condition,
    export::{MAX_ENDPOINTS, control_handle, view},
};
use isthmus_ir::{EndpointState, Endpoints, HandleTarget, Service};
use isthmus_world::fact::ServiceType;

use crate::fixtures::{
    cart, domain, endpoints, exported_from_east, exported_with, gateway_of, local, service, settings,
};

fn lines(conditions: &[Condition]) -> String {
    let line = |c: &Condition| format!("{}={} {}: {}\n", c.kind, c.status, c.reason, c.message);
    conditions.iter().map(line).collect()
}

#[test]
fn an_export_shows_handles_and_identities_and_no_address() {
    let found = exported_from_east(Some(&service(&[("http", 80)])), &endpoints(80, &["10.0.0.1:8080"]));
    let exported = found.exported.unwrap();
    let port = &exported.ports[0];
    assert_eq!(port.endpoints.len(), 1);
    assert_eq!(port.endpoints[0].identities, [gateway_of("east")]);
    assert!(!format!("{exported:?}").contains("10.0.0.1"));
    expect![[r#"
        Valid=true Valid: the Service can be exported
        Ready=true Ready: peers can import the service
    "#]]
    .assert_eq(&lines(&found.conditions));
}

#[test]
fn h7_there_are_handles_for_what_is_exported_and_for_nothing_else() {
    let found = exported_from_east(
        Some(&service(&[("http", 80)])),
        &endpoints(80, &["10.0.0.1:8080", "10.0.0.2:8080"]),
    );
    let exported = found.exported.unwrap();
    let port = &exported.ports[0];
    let mut told: Vec<_> =
        port.endpoints.iter().chain(&port.fallback).map(|e| e.handle.to_string()).collect();
    told.sort();
    let known: Vec<_> = found.handles.iter().map(|h| h.name.to_string()).collect();
    assert_eq!(known, told);
    assert!(found.handles.iter().all(|h| h.callers == [domain("west")]));
    let targets: Vec<_> = found.handles.iter().map(|h| &h.target).collect();
    let service = Service::name(&cart(), 80);
    assert!(targets.contains(&&HandleTarget::Service { service: service.clone() }));
    for endpoint in ["10.0.0.1:8080", "10.0.0.2:8080"] {
        let target = HandleTarget::Endpoint { service: service.clone(), endpoint: endpoint.into() };
        assert!(targets.contains(&&target));
    }
    assert_eq!(exported_from_east(None, &endpoints(80, &["10.0.0.1:8080"])).handles, []);
}

#[test]
fn a_draining_endpoint_keeps_its_handle_but_is_no_longer_told_of() {
    let mut sets = endpoints(80, &["10.0.0.1:8080"]);
    let mut set = Endpoints::clone(&sets[&80]);
    set.endpoints.push(local("10.0.0.2:8080", EndpointState::Draining));
    sets.insert(80, Arc::new(set));
    let found = exported_from_east(Some(&service(&[("http", 80)])), &sets);
    assert_eq!(found.exported.unwrap().ports[0].endpoints.len(), 1);
    assert_eq!(found.handles.len(), 3, "two endpoints and the whole service");
}

#[test]
fn what_cannot_be_exported_says_why() {
    let none = exported_from_east(None, &endpoints(80, &[]));
    expect![[r#"
        Valid=false NoService: there is no Service shop/cart to export
        Ready=false Failed: there is no Service shop/cart to export
    "#]]
    .assert_eq(&lines(&none.conditions));
    let mut external = service(&[("http", 80)]);
    external.kind = ServiceType::ExternalName;
    let external = exported_from_east(Some(&external), &endpoints(80, &[]));
    expect![[r#"
        Valid=false InvalidServiceType: Service shop/cart is of type ExternalName, which has nothing to export
        Ready=false Failed: Service shop/cart is of type ExternalName, which has nothing to export
    "#]]
    .assert_eq(&lines(&external.conditions));
    assert_eq!((none.exported, external.exported), (None, None));
}

#[test]
fn ports_that_are_not_carried_are_left_out_with_a_word() {
    let mut service = service(&[("http", 80), ("dns", 53)]);
    service.ports[1].protocol = "UDP".into();
    let found = exported_from_east(Some(&service), &endpoints(80, &[]));
    assert_eq!(found.exported.unwrap().ports.len(), 1);
    expect![[r#"
        Valid=true Valid: the Service can be exported
        Ready=true Ready: peers can import the service, but for 1 of its ports: TCP only is carried so far
    "#]]
    .assert_eq(&lines(&found.conditions));
}

#[test]
fn a_service_without_ready_endpoints_is_exported_without_a_way_in() {
    let found = exported_from_east(Some(&service(&[("http", 80)])), &endpoints(80, &[]));
    let exported = found.exported.unwrap();
    assert_eq!((exported.ports[0].endpoints.len(), &exported.ports[0].fallback), (0, &None));
}

#[test]
fn without_a_gateway_a_cluster_takes_part_and_lets_nobody_in() {
    let mut settings = settings("east");
    settings.east_west.clear();
    let sets = endpoints(80, &["10.0.0.1:8080"]);
    let found = exported_with(&settings, Some(&service(&[("http", 80)])), &sets);
    let exported = found.exported.unwrap();
    assert_eq!((exported.ports[0].endpoints.len(), &exported.ports[0].fallback), (0, &None));
    assert_eq!(found.handles, []);
    expect![[r#"
        Valid=true Valid: the Service can be exported
        Ready=false Failed: this cluster has no east-west gateway for peers to come in by
    "#]]
    .assert_eq(&lines(&found.conditions));
}

#[test]
fn large_services_are_capped_and_each_caller_sees_a_part() {
    let many: Vec<_> = (0..1100).map(|i| format!("10.0.{}.{}:8080", i / 250, i % 250)).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let found = exported_from_east(Some(&service(&[("http", 80)])), &endpoints(80, &many));
    let exported = found.exported.unwrap();
    assert_eq!(exported.ports[0].endpoints.len(), MAX_ENDPOINTS);
    let (west, north) = (view(&exported, "west"), view(&exported, "north"));
    assert_eq!(west.ports[0].endpoints.len(), 64);
    assert_ne!(west, north);
    assert_eq!(west, view(&exported, "west"));
    assert!(west.ports[0].endpoints.is_sorted_by(|a, b| a.handle < b.handle));
    assert_eq!(west.ports[0].fallback, exported.ports[0].fallback);
    assert_eq!(found.handles.len(), MAX_ENDPOINTS + 1, "what nobody is told of has no handle");
}

#[test]
fn the_control_handle_is_for_everybody_and_leads_to_the_federation_port() {
    let handle = control_handle(&settings("east")).unwrap();
    assert_eq!(handle.name.as_str(), "control");
    assert_eq!(handle.callers, []);
    let address = "192.0.2.2:15012".parse().unwrap();
    assert_eq!(handle.target, HandleTarget::Passthrough { address });
}
