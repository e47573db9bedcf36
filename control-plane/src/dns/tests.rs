//! Real questions over real sockets, by an independent resolver.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use hickory_proto::{op::ResponseCode, rr::RecordType};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
};
use isthmus_east_west::dns::{Entry, Port, Table};
use isthmus_ir::ObjectRef;

use super::DnsServer;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn server() -> DnsServer {
    let mut table = Table::default();
    let port = Port { name: "http".into(), protocol: "TCP".into(), port: 8080 };
    let addresses = vec![Ipv4Addr::new(127, 0, 0, 9).into()];
    table.insert(&ObjectRef::new("shop", "cart"), Entry::ClusterSetIp { addresses, ports: vec![port] });
    DnsServer::bind(LOOPBACK, Arc::new(ArcSwapOption::from_pointee(table))).await.unwrap()
}

fn resolver(server: SocketAddr, mut connection: ConnectionConfig) -> TokioResolver {
    connection.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut options = ResolverOpts::default();
    options.attempts = 1;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().unwrap()
}

#[tokio::test]
async fn h12_addresses_and_ports_are_answered_over_udp_and_tcp() {
    let server = server().await;
    for connection in [ConnectionConfig::udp(), ConnectionConfig::tcp()] {
        let resolver = resolver(server.address(), connection);
        let found = resolver.lookup_ip("CART.shop.svc.clusterset.LOCAL.").await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9))]);
        let found = resolver
            .lookup("_http._tcp.cart.shop.svc.clusterset.local.", RecordType::SRV)
            .await
            .unwrap();
        let text = format!("{:?}", found.answers());
        assert!(text.contains("port: 8080"), "{text}");
    }
    server.shut_down().await;
}

#[tokio::test]
async fn h12_absent_names_absent_records_and_foreign_names_differ() {
    let server = server().await;
    let resolver = resolver(server.address(), ConnectionConfig::udp());
    for (name, kind, code) in [
        ("cart.shop.svc.clusterset.local.", RecordType::AAAA, ResponseCode::NoError),
        ("absent.shop.svc.clusterset.local.", RecordType::A, ResponseCode::NXDomain),
        ("example.com.", RecordType::A, ResponseCode::Refused),
    ] {
        let error = resolver.lookup(name, kind).await.unwrap_err();
        assert!(format!("{error:?}").contains(&format!("{code:?}")), "{name}: {error:?}");
    }
    server.shut_down().await;
}

#[tokio::test]
async fn before_anything_is_known_it_fails_and_denies_nothing() {
    let table = Arc::<ArcSwapOption<Table>>::default();
    let server = DnsServer::bind(LOOPBACK, Arc::clone(&table)).await.unwrap();
    let resolver = resolver(server.address(), ConnectionConfig::udp());
    let name = "cart.shop.svc.clusterset.local.";
    let error = resolver.lookup(name, RecordType::A).await.unwrap_err();
    assert!(format!("{error:?}").contains("ServFail"), "{error:?}");
    table.store(Some(Arc::default()));
    let error = resolver.lookup(name, RecordType::A).await.unwrap_err();
    assert!(format!("{error:?}").contains("NXDomain"), "{error:?}");
    server.shut_down().await;
}
