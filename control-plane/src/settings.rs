//! From a MeshInstall to settings, with defaults that work on one machine.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
};

use isthmus_crds::{MeshInstallSpec, names::NAMESPACE};
use isthmus_ir::{InvalidIdentity, SpiffeId, TrustDomain};
use isthmus_world::fact::{MeshSettings, NameSettings, Place, ServiceScope};
use serde_json::Value;

/// What a cluster is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `spec.cluster.id`.
    pub cluster: Arc<str>,
    /// `spec.cluster.trustDomain`.
    pub trust_domain: TrustDomain,
    /// `spec.cluster.network`.
    pub network: Arc<str>,
    /// `spec.cluster.locality.zone`.
    pub zone: Option<Arc<str>>,
    /// Where the east-west gateway listens; there is none without a MeshInstall.
    pub east_west: Option<SocketAddr>,
    /// Where peers are told that it is.
    pub advertise: Vec<SocketAddr>,
    /// Where names are answered; nowhere without a MeshInstall.
    pub dns: Option<SocketAddr>,
    /// `spec.defaults.serviceScope`.
    pub service_scope: ServiceScope,
    /// `spec.proxy.threads`.
    pub threads: Option<u16>,
    /// `spec.proxy.accessLog`.
    pub access_log: bool,
}

/// A MeshInstall that its schema allows and that nevertheless makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidInstall {
    /// A field holds no IP address, or no address with a port.
    #[error("{field} {text:?} is not {what}")]
    Address {
        /// The field.
        field: &'static str,
        /// What it holds.
        text: String,
        /// What it should be.
        what: &'static str,
    },
    /// The trust domain is none.
    #[error("spec.cluster.trustDomain")]
    TrustDomain(#[from] InvalidIdentity),
    /// It is not a MeshInstall at all.
    #[error("the MeshInstall cannot be read: {0}")]
    Shape(String),
}

impl Settings {
    /// The settings that `install`, an object with its defaults filled in, declares; those of no
    /// MeshInstall when there is none.
    ///
    /// # Errors
    /// When an address or the trust domain is none.
    pub fn of(install: Option<&Value>) -> Result<Self, InvalidInstall> {
        let spec: MeshInstallSpec = match install.and_then(|install| install.get("spec")) {
            Some(spec) => {
                serde_json::from_value(spec.clone()).map_err(|e| InvalidInstall::Shape(e.to_string()))?
            }
            None => MeshInstallSpec::default(),
        };
        let cluster = &spec.cluster;
        let trust_domain = cluster.trust_domain().parse()?;
        let gateway = &spec.gateways.east_west;
        let listen = ip("spec.gateways.eastWest.address", gateway.address.as_deref())?;
        let listen = install.filter(|_| gateway.enabled).map(|_| SocketAddr::new(listen, gateway.port));
        let advertised = gateway.advertise.iter().filter(|_| gateway.enabled);
        let advertise: Vec<SocketAddr> = advertised
            .map(|text| socket("spec.gateways.eastWest.advertise", text))
            .collect::<Result<_, _>>()?;
        let dns = ip("spec.dns.address", spec.dns.address.as_deref())?;
        Ok(Self {
            cluster: cluster.id.as_str().into(),
            trust_domain,
            network: cluster.network.as_deref().unwrap_or(&cluster.id).into(),
            zone: cluster.locality.zone.as_deref().map(Into::into),
            advertise: if advertise.is_empty() { listen.into_iter().collect() } else { advertise },
            east_west: listen,
            dns: install.map(|_| SocketAddr::new(dns, spec.dns.port)),
            service_scope: match spec.defaults.service_scope {
                isthmus_crds::ServiceScope::Cluster => ServiceScope::Cluster,
                isthmus_crds::ServiceScope::ClusterSet => ServiceScope::ClusterSet,
            },
            threads: spec.proxy.threads,
            access_log: spec.proxy.access_log,
        })
    }

    /// Whether both are of the same cluster, which cannot become another one.
    pub fn same_cluster(&self, other: &Self) -> bool {
        (&self.cluster, &self.trust_domain) == (&other.cluster, &other.trust_domain)
    }

    /// What the World is told, `federation` being where this process takes peers' control planes.
    pub fn mesh(&self, federation: Option<SocketAddr>) -> MeshSettings {
        MeshSettings {
            cluster: self.cluster.clone(),
            trust_domain: self.trust_domain.clone(),
            network: self.network.clone(),
            zone: self.zone.clone(),
            east_west: self.east_west.into_iter().collect(),
            federation: federation.filter(|_| self.east_west.is_some()),
            gateway_identity: self.east_west.and_then(|_| self.identity("east-west")),
            service_scope: self.service_scope,
            names: self.dns.map(|dns| self.names(dns, federation)),
            place: Place::Host,
        }
    }

    /// What the World is told in a Kubernetes cluster.
    pub fn mesh_of_pods(&self) -> MeshSettings {
        MeshSettings {
            cluster: self.cluster.clone(),
            trust_domain: self.trust_domain.clone(),
            network: self.network.clone(),
            zone: self.zone.clone(),
            east_west: Vec::new(),
            federation: None,
            gateway_identity: None,
            service_scope: self.service_scope,
            names: None,
            place: Place::Pods,
        }
    }

    fn names(&self, dns: SocketAddr, federation: Option<SocketAddr>) -> NameSettings {
        let own = [Some(dns), self.east_west, federation];
        let own = own.iter().flatten().chain(&self.advertise).map(SocketAddr::port);
        NameSettings {
            address: reachable(dns.ip()),
            ports: NAME_PORTS,
            reserved: own.filter(|port| NAME_PORTS.contains(port)).collect(),
        }
    }

    /// The identity of a part of the mesh itself.
    pub fn identity(&self, part: &str) -> Option<SpiffeId> {
        SpiffeId::of_service_account(&self.trust_domain, NAMESPACE, part).ok()
    }
}

/// The address that names resolve to: the one on which they are answered, or loopback where that is every
/// address of the machine.
fn reachable(dns: IpAddr) -> IpAddr {
    match dns {
        IpAddr::V4(ip) if ip.is_unspecified() => LOOPBACK,
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// The address that a field names; loopback where it names none, since all of it is on one machine.
fn ip(field: &'static str, text: Option<&str>) -> Result<IpAddr, InvalidInstall> {
    let Some(text) = text else { return Ok(LOOPBACK) };
    let wrong = |_| InvalidInstall::Address { field, text: text.to_owned(), what: "an IP address" };
    text.parse().map_err(wrong)
}

fn socket(field: &'static str, text: &str) -> Result<SocketAddr, InvalidInstall> {
    let what = "an IP address with a port, such as 192.0.2.1:15443";
    text.parse().map_err(|_| InvalidInstall::Address { field, text: text.to_owned(), what })
}

/// The ports that are given out to imports, one to each of their ports: below those that systems take for
/// connections of their own.
pub const NAME_PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// Where this machine's own parts meet.
pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::Settings;

    #[test]
    fn without_a_mesh_install_there_is_no_mesh() {
        let settings = Settings::of(None).unwrap();
        expect![[r#"
            Settings {
                cluster: "local",
                trust_domain: local.isthmus.local,
                network: "local",
                zone: None,
                east_west: None,
                advertise: [],
                dns: None,
                service_scope: Cluster,
                threads: None,
                access_log: false,
            }
        "#]]
        .assert_debug_eq(&settings);
    }

    #[test]
    fn an_empty_mesh_install_has_defaults_that_work_on_one_machine() {
        let settings = Settings::of(Some(&json!({"spec": {}}))).unwrap();
        expect![[r#"
            Settings {
                cluster: "local",
                trust_domain: local.isthmus.local,
                network: "local",
                zone: None,
                east_west: Some(
                    127.0.0.1:15443,
                ),
                advertise: [
                    127.0.0.1:15443,
                ],
                dns: Some(
                    127.0.0.1:15353,
                ),
                service_scope: Cluster,
                threads: None,
                access_log: false,
            }
        "#]]
        .assert_debug_eq(&settings);
        let without = json!({"gateways": {"eastWest": {"enabled": false}}});
        let without = Settings::of(Some(&json!({ "spec": without }))).unwrap();
        assert_eq!((without.east_west, without.advertise), (None, vec![]));
    }

    #[test]
    fn what_is_declared_counts() {
        let spec = json!({
            "cluster": {"id": "east", "trustDomain": "east.example", "locality": {"zone": "a"}},
            "gateways": {"eastWest": {"address": "::1", "port": 1, "advertise": ["192.0.2.1:25443"]}},
            "dns": {"port": 53},
            "defaults": {"serviceScope": "ClusterSet"},
            "proxy": {"threads": 2, "accessLog": true},
        });
        let settings = Settings::of(Some(&json!({ "spec": spec }))).unwrap();
        expect![[r#"
            Settings {
                cluster: "east",
                trust_domain: east.example,
                network: "east",
                zone: Some(
                    "a",
                ),
                east_west: Some(
                    [::1]:1,
                ),
                advertise: [
                    192.0.2.1:25443,
                ],
                dns: Some(
                    127.0.0.1:53,
                ),
                service_scope: ClusterSet,
                threads: Some(
                    2,
                ),
                access_log: true,
            }
        "#]]
        .assert_debug_eq(&settings);
        expect![[r#"
            MeshSettings {
                cluster: "east",
                trust_domain: east.example,
                network: "east",
                zone: Some(
                    "a",
                ),
                east_west: [
                    [::1]:1,
                ],
                federation: Some(
                    127.0.0.1:9,
                ),
                gateway_identity: Some(
                    spiffe://east.example/ns/isthmus-system/sa/east-west,
                ),
                service_scope: ClusterSet,
                names: Some(
                    NameSettings {
                        address: 127.0.0.1,
                        ports: 20000..=29999,
                        reserved: {
                            25443,
                        },
                    },
                ),
                place: Host,
            }
        "#]]
        .assert_debug_eq(&settings.mesh("127.0.0.1:9".parse().ok()));
    }

    #[test]
    fn what_is_no_address_is_named() {
        let spec = json!({"gateways": {"eastWest": {"advertise": ["192.0.2.1:99999"]}}});
        let error = Settings::of(Some(&json!({ "spec": spec }))).unwrap_err();
        expect![[r#"spec.gateways.eastWest.advertise "192.0.2.1:99999" is not an IP address with a port, such as 192.0.2.1:15443"#]].assert_eq(&error.to_string());
    }
}
