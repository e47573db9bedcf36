//! Gateways of one machine: its addresses and ports, and what `isthmus run` says of them. In a cluster each
//! Gateway has pods and addresses of its own.

use std::net::TcpListener;

use super::{
    backend::Backend,
    client::get,
    conditions::conditions,
    instance::{Instance, eventually, free, gateway, gateway_of, route, service},
};

#[test]
fn gateways_that_cannot_be_served() {
    let address = free();
    let simple = "  - {name: h, protocol: HTTP, port: 9}\n";
    let manifests = [
        gateway(address),
        gateway_of("nobodys", address.ip(), simple).replace("Name: isthmus", "Name: typo"),
        gateway_of("named", address.ip(), simple).replace("{value: ", "{type: Hostname, value: a"),
        gateway_of("away", "192.0.2.1".parse().unwrap(), simple),
    ];
    let instance = Instance::start(&manifests.concat());
    for said in ["1 of 3 gateways", "default/nobodys: there is no GatewayClass typo"] {
        assert!(instance.ready.contains(said), "{}", instance.ready);
    }
    let status = |name: &str| instance.get("gateway", "default", name)["status"].clone();
    assert_eq!(conditions(&status("named"))["Accepted"], "False UnsupportedAddress");
    let away = status("away");
    assert_eq!(conditions(&away)["Programmed"], "False AddressNotUsable");
    assert_eq!(away["addresses"], serde_json::json!([]));
}

#[test]
fn a_port_that_is_taken_is_tried_again() {
    let (address, second) = (free(), free());
    let taken = TcpListener::bind(address).unwrap();
    let listeners = format!(
        "  - {{name: taken, protocol: HTTP, port: {}}}\n  - {{name: free, protocol: HTTP, port: {}}}\n",
        address.port(),
        second.port()
    );
    let instance = Instance::start(&gateway_of("gateway", address.ip(), &listeners));
    let of_listener =
        || conditions(&instance.get("gateway", "default", "gateway")["status"]["listeners"][0]);
    assert_eq!(of_listener()["Accepted"], "False PortUnavailable");
    assert_eq!(get(second, "a.com", "/").status, 404);
    drop(taken);
    eventually("the listener", || (of_listener()["Programmed"] == "True Programmed").then_some(()));
    assert_eq!(get(address, "a.com", "/").status, 404);
}

#[test]
fn two_gateways_share_a_port_by_address() {
    let address = free();
    let mut next = address;
    next.set_ip("127.0.0.1".parse().unwrap());
    let listener = format!("  - {{name: h, protocol: HTTP, port: {}}}\n", address.port());
    let own = "  - backendRefs: [{name: a, port: 8080}]\n";
    let a = Backend::start("a");
    let manifests = [
        gateway(address),
        gateway_of("second", next.ip(), &listener),
        route("r", "example.com", own),
        service("default", "a", "", &[a.address]),
    ];
    let instance = Instance::start(&manifests.concat());
    assert!(instance.ready.starts_with("ready: 2 of 2"), "{}", instance.ready);
    assert_eq!(get(address, "example.com", "/").status, 200);
    assert_eq!(get(next, "example.com", "/").status, 404);
}
